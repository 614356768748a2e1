"""What a tier's two cards can do together, predicted: each way of using them, or why it is none."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial

from diffusion_bench.charts.tiers.fits import told_fit
from diffusion_bench.charts.tiers.measured import Findings
from diffusion_bench.tiers.cards import Card
from diffusion_bench.tiers.cost import crossing_bytes
from diffusion_bench.tiers.memory import CONTEXT_MIB, MIB, RAM_SHARE, Ram
from diffusion_bench.tiers.remedy_price import remedied
from diffusion_bench.tiers.rows import need_of
from diffusion_bench.tiers.two_gpus import (
    WAYS,
    Job,
    SplitModel,
    TwoGpus,
    one_batch,
    one_model,
    two_jobs,
)
from diffusion_bench.tiers.workload import Software, Workload


def untold_ways(reason: str) -> tuple[TwoGpus, ...]:
    """Return every way of using two cards with the reason why none of them can be told."""
    return tuple(TwoGpus(way=way, reason=reason) for way in WAYS)


def ways_of_two(
    cards: Sequence[Card], workload: Workload, findings: Findings, ram: Ram
) -> tuple[TwoGpus, ...]:
    """Return every way of using two cards; both jobs share the GiB of `ram` for what they offload.

    Raises ValueError for a card that the workload cannot be told of.
    """
    first, second = (partial(_job, card, workload, findings, ram) for card in cards)
    batch = workload.batch
    room_gib = math.inf if ram.gib is None else RAM_SHARE * ram.gib
    return (
        two_jobs(first(batch), second(batch), batch, room_gib=room_gib),
        one_batch(first, second, batch, room_gib=room_gib),
        one_model(_split(workload, cards, findings), batch),
    )


def _job(card: Card, workload: Workload, findings: Findings, ram: Ram, batch: int) -> Job | None:
    """Return what a card takes for a batch, remedies paid; `None` where it does not fit."""
    part = workload.model_copy(update={"batch": batch})
    fit = told_fit(card, part, findings.fits, ram).fit
    if fit.verdict == "does not fit":
        return None
    found = remedied(findings.knowledge.predict(card, part), fit, card, ram.gbs)
    return Job(
        seconds=found.seconds,
        margin=found.seconds_high / found.seconds,
        ram_gib=fit.need.ram_mib / 1024,
        remedies=fit.remedies,
    )


def _split(workload: Workload, cards: Sequence[Card], findings: Findings) -> SplitModel:
    """Return a workload's model over two cards."""
    need = need_of(workload, Software())
    needed_mib = need.peak_mib
    for card in cards:
        measured = told_fit(card, workload, findings.fits).measured
        if measured is not None and measured.ran is not None:
            given = card.vram_mib
            needed_mib = min(needed_mib, given) if measured.ran else max(needed_mib, given + 1)
    first, second = (findings.knowledge.predict(card, workload) for card in cards)
    faster = min(first, second, key=lambda one: one.seconds)
    return SplitModel(
        alone_s=(first.seconds, second.seconds),
        margin=faster.seconds_high / faster.seconds,
        calls=workload.calls,
        crossing_mib=crossing_bytes(**workload.work) / MIB,
        needed_mib=needed_mib,
        beside_mib=need.activations_mib + CONTEXT_MIB,
        memory_mib=(cards[0].vram_mib, cards[1].vram_mib),
    )
