"""Whether a workload fits a card: as reports measured it, else as it is predicted.

    fits           it ran wherever it was measured, with memory to spare
    tight          it ran with next to none, or spilled or ran out elsewhere
    spilled        it ran nowhere but by spilling into the machine's memory, which takes its time
    does not fit   it ran out of memory wherever it was measured
    cannot tell    it ran where nobody read the memory, which it may have spilled: as predicted

After spilling and not fitting remedies are tried anew: the card alone does not do. What was
measured stands for exactly the same work on the same card, whatever was predicted. Steps and
sampler are no part of that, since memory does not depend on them. Other batches are predicted
within it: what ran at a batch needs no remedy at a smaller one, and what did not run at it does at
a larger one. This machine's reports go before imported ones, if they can tell, and the two are
never mixed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from diffusion_bench.charts.tiers.cells import (
    REMEMBERED,
    KnownCards,
    asked_workload,
    source_names,
)
from diffusion_bench.reports.digests import CellDigest, FailedDigest, ReportDigest
from diffusion_bench.tiers.cards import Card
from diffusion_bench.tiers.evidence import RANKS, EvidenceKind
from diffusion_bench.tiers.memory import Fit, FitName, Ram
from diffusion_bench.tiers.rows import fit_on, need_of
from diffusion_bench.tiers.workload import Software, Workload

# What makes a cell say nothing of the memory of the card it ran on.
UNFAIR_MEMORY = frozenset({"emulated", "contended"})
RAN_OUT, UNREAD = "out of memory", "cannot tell"
# Verdicts of `reports/memory_fit.py` by how a cell of each ended.
ENDED = {
    "ran": ("fits", "tight"),
    "spilled into the machine's memory": ("spilled",),
    "ran out of memory": (RAN_OUT,),
    "ran with its memory unread, and may have spilled,": (UNREAD,),
}

# What is said under every table with such a verdict.
TIGHT = (
    "tight: it may run out of memory. If predicted, what the card has lies within the interval of "
    "what is needed; where the figure itself is above it, that is as likely as not: of 12 such "
    "published cases 7 ran. If measured, it ran with little left, or not everywhere."
)

MeasuredVerdict = Literal["fits", "tight", "spilled", "does not fit"]


class Outcome(NamedTuple):
    """How a cell of a report ended for the memory: its verdict, and its peak where measured."""

    verdict: str
    peak_mib: float | None
    source: str


class MeasuredFit(NamedTuple):
    """How a workload without any remedy fitted a card, by all reports of one kind.

    `work` is the workload but for its batch and what its memory does not depend on. The verdict is
    `None` where that cannot be told.
    """

    kind: EvidenceKind
    card: str
    work: Workload
    batch: int
    verdict: MeasuredVerdict | None
    outcomes: tuple[Outcome, ...]

    @property
    def ran(self) -> bool | None:
        """Return whether it ran anywhere in the card's memory alone; `None`: cannot tell."""
        return None if self.verdict is None else self.verdict in ("fits", "tight")

    @property
    def peak_mib(self) -> float | None:
        """Return the largest peak that was measured, of where it ran if it did anywhere."""
        told = [one for one in self.outcomes if not self.ran or one.verdict in ENDED["ran"]]
        return max((one.peak_mib for one in told if one.peak_mib is not None), default=None)

    @property
    def words(self) -> str:
        """Return what was measured, each outcome with its reports, in a line."""
        found = []
        for ended, verdicts in ENDED.items():
            mine = [one for one in self.outcomes if one.verdict in verdicts]
            if mine:
                peaks = [one.peak_mib for one in mine if one.peak_mib is not None]
                peak = f" (peak {max(peaks) / 1024:.3g} GiB)" if peaks else ""
                found.append(f"{ended} in {source_names([one.source for one in mine])}{peak}")
        return f"{self.kind}: at batch {self.batch}, without a remedy, it {', '.join(found)}"

    def bounds(self, card: str, work: Workload, batch: int) -> bool:
        """Return whether it tells of a batch: a smaller one needs less, a larger one more."""
        if (self.card, self.work) != (card, work):
            return False
        if self.ran is None:
            return batch == self.batch
        return batch <= self.batch if self.ran else batch >= self.batch


class ToldFit(NamedTuple):
    """A verdict with what it rests on; `measured` also where that makes it a prediction."""

    fit: Fit
    kind: EvidenceKind
    measured: MeasuredFit | None

    @property
    def ran(self) -> bool | None:
        """Return whether it runs in the card's memory without a remedy, as far as measured."""
        return None if self.measured is None else self.measured.ran

    @property
    def peak_mib(self) -> float | None:
        """Return the measured peak, where the verdict is measured too."""
        return None if self.kind == "predicted" or not self.measured else self.measured.peak_mib

    def allows(self, kind: EvidenceKind) -> bool:
        """Return whether a time can be of this card: what ran only elsewhere runs not so here."""
        if self.ran is not False or self.measured is None:
            return True
        return kind in ("predicted", self.measured.kind)  # the latter of what spilled


def verdict_words(fit: str | None, kind: EvidenceKind) -> str:
    """Return a verdict with its kind, so that what was measured and predicted look different."""
    return "cannot tell" if fit is None else f"{fit} ({kind})"


def tight_lines(fits: Iterable[str | None]) -> list[str]:
    """Return what "tight" means where one of the verdicts says it."""
    return [TIGHT] if any((fit or "").startswith("tight") for fit in fits) else []


def fits_of(
    digests: Iterable[ReportDigest],
    gpu_hashes: frozenset[str],
    cards: Sequence[Card] | None = None,
) -> list[MeasuredFit]:
    """Return how workloads fitted known cards; `gpu_hashes` are of the cards of this machine."""
    known = KnownCards(cards)
    groups: dict[tuple[EvidenceKind, str, Workload, int], list[Outcome]] = {}
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
            key = (kind, card.name, _memory_work(workload), workload.batch)
            groups.setdefault(key, []).append(_outcome(cell, digest.source))
    return [MeasuredFit(*key, _merged(group), tuple(group)) for key, group in groups.items()]


def told_fit(
    card: Card, workload: Workload, measured: Iterable[MeasuredFit], ram: Ram | None = None
) -> ToldFit:
    """Return how a workload fits a card; `ram` of the machine holds what is offloaded.

    Raises ValueError for a model or a size that cannot be told of.
    """
    predicted = fit_on(card, workload, Software(), ram)
    key = (card.name, _memory_work(workload), workload.batch)
    mine = (one for one in measured if one.bounds(*key))
    best = min(mine, key=lambda one: _nearness(one, workload.batch), default=None)
    if best is None or best.verdict is None:
        return ToldFit(predicted, "predicted", best)
    exact = best.batch == workload.batch
    kind = best.kind if exact else "predicted"
    need = need_of(workload, Software())
    if best.ran:
        roomy = best.verdict == "fits" or (not exact and predicted.verdict == "fits")
        verdict: FitName = "fits" if roomy else "tight"
        return ToldFit(Fit(verdict=verdict, need=need, vram_mib=card.vram_mib), kind, best)
    # Too little was predicted, by as much at least as the card has more than the least of it.
    given_mib = min(card.vram_mib, need.low_mib - 1)
    fit = fit_on(card, workload, Software(), ram, given_mib=given_mib)
    fit = fit.model_copy(update={"vram_mib": card.vram_mib})
    return ToldFit(fit, "predicted" if fit.remedies else kind, best)


def _nearness(one: MeasuredFit, batch: int) -> tuple[bool, bool, int, int]:
    """Return what goes first: a verdict, the batch itself, this machine's, the nearest batch."""
    return one.verdict is None, one.batch != batch, RANKS[one.kind], abs(one.batch - batch)


@lru_cache(maxsize=REMEMBERED)
def _memory_work(workload: Workload) -> Workload:
    """Return a workload without its batch and without what its memory does not depend on."""
    return workload.model_copy(update={"steps": 1, "sampler": "any", "batch": 1})


def _outcome(cell: CellDigest | FailedDigest, source: str) -> Outcome:
    """Return how a cell ended for the memory."""
    if isinstance(cell, FailedDigest):
        return Outcome(RAN_OUT, None, source)
    return Outcome(cell.memory_fit or UNREAD, cell.peak_mib, source)


def _merged(outcomes: Sequence[Outcome]) -> MeasuredVerdict | None:
    """Return the verdict of all outcomes of one work, `None` where they leave it open."""
    verdicts = {one.verdict for one in outcomes}
    if verdicts & {"fits", "tight"}:
        return "fits" if verdicts <= {"fits", UNREAD} else "tight"
    if "spilled" in verdicts:
        return "spilled"
    return None if UNREAD in verdicts else "does not fit"
