"""Cells of reports from which nothing is learnt of a card: how many, and why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from diffusion_bench.charts.tiers.cells import KnownCards, asked_workload
from diffusion_bench.reports.digests import CellDigest, ReportDigest, SharedDigest
from diffusion_bench.tiers.cards import Card

# What makes a cell no measure of the card it ran on, and of two cards together.
UNFAIR = frozenset({"emulated", "throttled", "contended", "on battery"})
UNFAIR_TOGETHER = UNFAIR | {"one processor"}
UNKNOWN_CARD = "on a card that is not known"


class LeftOut(NamedTuple):
    """One cell that was left out: our name of its model, empty for one that was not counted."""

    model: str
    reason: str


def why_left_out(cell: CellDigest | SharedDigest) -> str | None:
    """Return why there is nothing to learn from a cell, `None` where there is something."""
    shared = isinstance(cell, SharedDigest)
    unfair = (UNFAIR_TOGETHER if shared else UNFAIR) & set(cell.labels.split(","))
    if unfair:
        return min(unfair)
    if isinstance(cell, CellDigest) and cell.denoising_s <= 0:
        return "without a time of its steps"
    return None if asked_workload(cell) else "of a model or size that is not counted"


def left_out_of(
    digests: Iterable[ReportDigest], cards: Sequence[Card] | None = None
) -> list[LeftOut]:
    """Return the cells of reports that were left out, in their order."""
    known, found = KnownCards(cards), []
    for digest in digests:
        foreign = digest.on_gpu and known.of(digest) is None
        for cell in _cells(digest):
            reason = why_left_out(cell)
            if reason is None and foreign and isinstance(cell, CellDigest):
                reason = UNKNOWN_CARD
            if reason is not None:
                workload = asked_workload(cell)
                found.append(LeftOut(workload.model if workload else "", reason))
    return found


def left_out_words(left_out: Sequence[LeftOut]) -> str:
    """Return how many cells were left out and why, nothing where none was."""
    if not left_out:
        return ""
    counted = Counter(one.reason for one in left_out).most_common()
    reasons = ", ".join(f"{count} {reason}" for reason, count in counted)
    return f"{counted_words(len(left_out), 'measured cell')} left out: {reasons}"


def counted_words(count: int, noun: str) -> str:
    """Return a count with its noun, as in "1 report" and "2 reports"."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def _cells(digest: ReportDigest) -> Iterator[CellDigest | SharedDigest]:
    yield from digest.cells
    yield from digest.shared
