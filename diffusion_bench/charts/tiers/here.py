"""What the machine at hand can run: on the first of its GPUs that is known, else on the first.

What CUDA_VISIBLE_DEVICES hides runs nothing, and its order is that of the GPUs. Without a GPU it
runs on its processor, and so it does on one whose memory is not told.
"""

from __future__ import annotations

from collections.abc import Sequence

from diffusion_bench.charts.tiers.measured import (
    Findings,
    Here,
    cells_on,
    cells_on_gpu,
    left_out_here,
)
from diffusion_bench.charts.tiers.runnable import Room, runnable_on
from diffusion_bench.charts.tiers.unlisted import runnable_on_processor, runnable_on_unknown_card
from diffusion_bench.hardware.machine import MachineInfo
from diffusion_bench.hardware.matching import cuda_settings, hidden_words, visible_gpus
from diffusion_bench.hardware.sensors import GpuInfo, uuid_hash
from diffusion_bench.reports.digests import ReportDigest
from diffusion_bench.tiers.cards import Card, CardMatch, find_card
from diffusion_bench.tiers.workload import Workload

NO_INSTANCE = "MIG is on and no instance is made, so that nothing runs on the GPU"


def room_here(
    machine: MachineInfo,
    here: Here,
    findings: Findings,
    digests: Sequence[ReportDigest] = (),
    *,
    cards: Sequence[Card] | None = None,
    workloads: Sequence[Workload] = (),
) -> tuple[Room, str]:
    """Return what a machine can run, and what is to be known of which of its parts that is."""
    ram_gib = machine.ram_mib / 1024
    # Of a card that MIG has split only the instances run anything.
    shown, hidden = _shown(machine.gpus)
    gpus = [gpu for gpu in shown if gpu.parent_index is not None or not gpu.mig_enabled]
    matches = [
        find_card(gpu.name or "unknown", cards, memory_mib=gpu.memory_total_mib) for gpu in gpus
    ]
    for gpu, match in zip(gpus, matches, strict=True):
        if match.card is not None:
            # Of Apple's the machine's memory is told: a user's `usable_mib` knows better.
            told_mib = None if gpu.vendor == "apple" else gpu.memory_total_mib
            card = match.card.giving(told_mib)
            room = runnable_on(card, findings, ram_gib=ram_gib, workloads=workloads)
            return room, "; ".join(filter(None, (hidden, _one_of(matches, card.name))))
    reasons = [match.reason for match in matches] or [machine.no_gpu or hidden or NO_INSTANCE]
    why = "; ".join(dict.fromkeys(reason for reason in reasons if reason))
    unknown = _unknown_room(machine, gpus, digests, workloads)
    if unknown is not None:
        return unknown, f"{why}; this goes by its memory, and by what was measured on it"
    room = runnable_on_processor(
        machine.cpu,
        cells_on(digests, here),
        ram_gib,
        workloads=workloads,
        left_out=left_out_here(digests, here),
    )
    return room, f"{why}; this is what the processor can run" if why else ""


def _shown(gpus: Sequence[GpuInfo]) -> tuple[Sequence[GpuInfo], str]:
    """Return the GPUs that programs here are shown, and in words what is hidden from them."""
    visible, order = cuda_settings()
    cards = {gpu.index: gpu for gpu in gpus if gpu.vendor == "nvidia"}
    if visible is None or not cards:
        return gpus, ""
    shown, _ = visible_gpus([*cards.values()], visible, order=order)
    words = hidden_words([*cards.values()], visible, order=order)
    if shown is None:
        return gpus, words
    return [*(cards[i] for i in shown), *(gpu for gpu in gpus if gpu.vendor != "nvidia")], words


def _unknown_room(
    machine: MachineInfo,
    gpus: Sequence[GpuInfo],
    digests: Sequence[ReportDigest],
    workloads: Sequence[Workload],
) -> Room | None:
    """Return what the first GPU can run whose memory is its own and told, `None` without one."""
    for gpu in gpus:
        if gpu.memory_total_mib is None or gpu.vendor == "apple":
            continue
        return runnable_on_unknown_card(
            gpu.name or "unknown",
            gpu.memory_total_mib,
            cells_on_gpu(digests, uuid_hash(gpu.uuid)) if gpu.uuid else [],
            ram_gib=machine.ram_mib / 1024,
            workloads=workloads,
        )
    return None


def _one_of(matches: Sequence[CardMatch], shown: str) -> str:
    """Return which of several GPUs is shown, and how the others can be."""
    if len(matches) < 2:
        return ""
    known = [match.card.name for match in matches if match.card is not None]
    others = [name for name in dict.fromkeys(known) if name != shown]
    told = [f"ask for {' or '.join(others)} by name"] if others else []
    told += [match.reason for match in matches if match.reason]
    each = f"{len(matches)} GPUs are in here, and this is what one {shown} can run alone"
    return "; ".join([each, *dict.fromkeys(told)])
