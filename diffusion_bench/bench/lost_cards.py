"""Ends a run whose card fell off the bus: what is measured stays, and --resume goes on with it.

A worker on a lost card fails, or waits for an answer that never comes; either says nothing of the
cell, which is no result of that report.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from diffusion_bench.bench.progress import Progress
from diffusion_bench.bench.worker_process import WorkerFailed
from diffusion_bench.hardware.matching import same_gpu
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.sensors import GpuInfo, lost_reason
from diffusion_bench.records import Reading


class CardLost(WorkerFailed):
    """A card that the run measures on does not answer any more."""


def while_there(
    events: Iterator[Progress],
    sampler: Sampler,
    cards: Collection[GpuInfo],
    uuids: Collection[str | None],
) -> Iterator[Progress]:
    """Yield a run's events for as long as its cards, those of the `uuids`, answer the driver.

    Raises `CardLost`, in place of an event, once two readings in a row say that one is lost. Other
    cards of the machine may fall off without it.
    """
    used = {
        card.index: card.name or "unknown"
        for card in cards
        if any(uuid is not None and same_gpu(card.uuid, uuid) for uuid in uuids)
    }
    for progress in events:
        if used:
            ended = progress.cell is not None or progress.shared is not None
            _check(sampler, used, fresh=ended)
        yield progress


def _check(sampler: Sampler, used: dict[int, str], *, fresh: bool) -> None:
    """Raise where a card is lost; a `fresh` look sees what happened since the newest reading."""
    newest = sampler.look() if fresh else sampler.latest()
    if newest is None or not _lost(newest, used):
        return
    lost = _lost(sampler.look(), used)  # one answer may be a hiccup of the driver's
    for index, why in lost.items():
        raise CardLost(
            f"GPU {index} {used[index]} is lost while it is measured on: {why}. "
            "What is measured is saved: reboot, then finish it with --resume"
        )


def _lost(reading: Reading, used: Collection[int]) -> dict[int, str]:
    reasons = {gpu.index: lost_reason(gpu) for gpu in reading.gpus if gpu.index in used}
    return {index: why for index, why in reasons.items() if why is not None}
