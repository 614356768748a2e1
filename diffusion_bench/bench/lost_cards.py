"""Ends a run whose card fell off the bus: what is measured stays, and --resume goes on with it.

A worker on a lost card fails, or waits for an answer that never comes; either says nothing of the
cell, which is no result of that report.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping

from diffusion_bench.bench.progress import Progress
from diffusion_bench.bench.worker_process import WorkerFailed
from diffusion_bench.hardware.matching import same_gpu
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import LOST_AGAIN_S, GpuInfo, lost_gpus
from diffusion_bench.records import Reading

# A card that was lost at one look is asked anew only then: any sooner it is told to be lost still.
LOOK_AGAIN_S = LOST_AGAIN_S + 0.5


class CardLost(WorkerFailed):
    """A card that the run measures on does not answer any more."""


def while_there(
    events: Iterator[Progress],
    sampler: Sampler,
    cards: Collection[GpuInfo],
    uuids: Collection[str | None],
    *,
    then: str = "finish it with --resume",
    rest: Callable[[float], object] = time.sleep,
) -> Iterator[Progress]:
    """Yield a run's events for as long as its cards, those of the `uuids`, answer the driver.

    Raises `CardLost`, in place of an event, where one is lost and still is when the driver has been
    asked for it anew; `rest` waits for that, and `then` is what to do after a reboot. Other cards
    of the machine may fall off without it.
    """
    used = {
        card.index: card.name or "unknown"
        for card in cards
        if any(uuid is not None and same_gpu(card.uuid, uuid) for uuid in uuids)
    }
    for progress in events:
        if used:
            ended = progress.cell is not None or progress.shared is not None
            # What happened since the newest reading counts too for what is to be kept.
            newest = sampler.look() if ended else sampler.latest()
            if newest is not None and _lost(newest, used):
                rest(LOOK_AGAIN_S)  # one answer may be a hiccup of the driver's
                if lost := _lost(sampler.look(), used):
                    raise CardLost(f"{lost}. What is measured is saved: reboot, then {then}")
        yield progress


def _lost(reading: Reading, used: Mapping[int, str]) -> str:
    """Return in words which of the cards in use, named by index, is lost; "" where none is."""
    lost = lost_gpus(gpu for gpu in reading.gpus if gpu.index in used)
    told = (f"GPU {i} {used[i]} is lost while it is measured on: {why}" for i, why in lost.items())
    return next(told, "")
