"""Whether a workload fits a card: as reports measured it, else as it is predicted.

    fits           it ran wherever it was measured, with memory to spare
    tight          it ran with next to none, spilled into the machine's memory, or ran out elsewhere
    does not fit   it ran out of memory wherever it was measured; remedies are then tried anew

What was measured stands for exactly the same work on the same card, whatever was predicted. Steps
and sampler are no part of that, since memory does not depend on them. This machine's reports go
before imported ones, and the two are never mixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import NamedTuple

from diffusion_bench.charts.tier_cells import (
    REMEMBERED,
    KnownCards,
    asked_workload,
    source_names,
)
from diffusion_bench.reports.index import CellDigest, FailedDigest, ReportDigest
from diffusion_bench.tiers.cards import Card
from diffusion_bench.tiers.evidence import RANKS, EvidenceKind
from diffusion_bench.tiers.memory import Fit, FitName, fit_of
from diffusion_bench.tiers.rows import fit_on, need_of
from diffusion_bench.tiers.workload import Software, Workload

# What makes a cell say nothing of the memory of the card it ran on.
UNFAIR_MEMORY = frozenset({"emulated", "contended"})
RAN_OUT = "out of memory"


class MeasuredFit(NamedTuple):
    """How a workload without any remedy fitted a card, by all reports of one kind.

    `peak_mib` is the highest, where it was measured.
    """

    kind: EvidenceKind
    card: str
    workload: Workload
    verdict: FitName
    peak_mib: float | None
    source: str

    @property
    def ran(self) -> bool:
        """Return whether it ran at all."""
        return self.verdict != "does not fit"

    @property
    def words(self) -> str:
        """Return what was measured, in a line."""
        peak = "" if self.peak_mib is None else f" at a peak of {self.peak_mib / 1024:.3g} GiB"
        told = f"ran without a remedy{peak}" if self.ran else "ran out of memory without a remedy"
        return f"{self.kind}: it {told} ({self.source})"


class ToldFit(NamedTuple):
    """A verdict with what it rests on; `measured` also where remedies make it a prediction."""

    fit: Fit
    kind: EvidenceKind
    measured: MeasuredFit | None

    @property
    def ran_out(self) -> bool:
        """Return whether it ran out of memory without a remedy wherever it was measured."""
        return self.measured is not None and not self.measured.ran


def verdict_words(fit: str | None, kind: EvidenceKind) -> str:
    """Return a verdict with its kind, so that what was measured and predicted look different."""
    return "cannot tell" if fit is None else f"{fit} ({kind})"


def fits_of(
    digests: Iterable[ReportDigest],
    gpu_hashes: frozenset[str],
    cards: Sequence[Card] | None = None,
) -> list[MeasuredFit]:
    """Return how workloads fitted known cards; `gpu_hashes` are of the cards of this machine."""
    known = KnownCards(cards)
    groups: dict[tuple[EvidenceKind, str, Workload], list[tuple[str, float | None, str]]] = {}
    for digest in digests:
        card = known.of(digest)
        if card is None:
            continue
        kind: EvidenceKind = "measured here" if digest.gpu_hash in gpu_hashes else "imported report"
        cells: list[CellDigest | FailedDigest] = [*digest.cells, *digest.failed]
        for cell in cells:
            workload = asked_workload(cell)
            if workload is None or UNFAIR_MEMORY & set(cell.labels.split(",")):
                continue
            key = (kind, card.name, _memory_work(workload))
            groups.setdefault(key, []).append((*_outcome(cell), digest.source))
    return [_merged(*key, group) for key, group in groups.items()]


def told_fit(
    card: Card, workload: Workload, measured: Iterable[MeasuredFit], ram_gib: float | None = None
) -> ToldFit:
    """Return how a workload fits a card; `ram_gib` of the machine holds what is offloaded.

    Raises ValueError for a model or a size that cannot be told of.
    """
    predicted = fit_on(card, workload, Software(), ram_gib)
    key = (card.name, _memory_work(workload))
    mine = (one for one in measured if (one.card, one.workload) == key)
    best = min(mine, key=lambda one: RANKS[one.kind], default=None)
    if best is None:
        return ToldFit(predicted, "predicted", None)
    need = need_of(workload, Software())
    if best.ran:
        fit = Fit(verdict=best.verdict, need=need, vram_mib=card.vram_mib)
        return ToldFit(fit, best.kind, best)
    # Too little was predicted, by as much at least as the card has more than the least of it.
    given_mib = min(card.vram_mib, need.low_mib - 1)
    fit = fit_of(need, given_mib, ram_mib=None if ram_gib is None else 1024 * ram_gib)
    fit = fit.model_copy(update={"vram_mib": card.vram_mib})
    return ToldFit(fit, "predicted" if fit.remedies else best.kind, best)


@lru_cache(maxsize=REMEMBERED)
def _memory_work(workload: Workload) -> Workload:
    """Return a workload without what its memory does not depend on."""
    return workload.model_copy(update={"steps": 1, "sampler": "any"})


def _outcome(cell: CellDigest | FailedDigest) -> tuple[str, float | None]:
    """Return how a cell ended for the memory, and its peak."""
    if isinstance(cell, FailedDigest):
        return RAN_OUT, None
    return cell.memory_fit or "fits", cell.peak_mib


def _merged(
    kind: EvidenceKind,
    card: str,
    workload: Workload,
    group: Sequence[tuple[str, float | None, str]],
) -> MeasuredFit:
    outcomes = {outcome for outcome, *_ in group}
    verdict: FitName = "tight"
    if outcomes == {RAN_OUT}:
        verdict = "does not fit"
    elif outcomes == {"fits"}:
        verdict = "fits"
    return MeasuredFit(
        kind=kind,
        card=card,
        workload=workload,
        verdict=verdict,
        peak_mib=max((peak for _, peak, _ in group if peak is not None), default=None),
        source=source_names([source for *_, source in group]),
    )
