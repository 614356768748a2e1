"""Comparing reports cell by cell: only equal work, and only a clear difference gets a name.

The first report is the baseline. "faster" and "slower" need intervals of the medians that do not
overlap; "same" needs every ratio the intervals allow to lie within 5 percent of 1; else "unclear".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Literal

from diffusion_bench.records import ImageRequest, Record
from diffusion_bench.reports.labels import report_labels
from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.reports.stats import MIN_SAMPLES_FOR_INTERVAL, Interval, Summary, summarise

SAME_WITHIN = 0.05
MOST_REPEATS = 1000  # advice beyond this is "cannot be told apart"

Verdict = Literal["faster", "slower", "same", "unclear", "cannot compare"]


class Row(Record):
    """One workload in the baseline and in another report.

    `ratio` is the other's median over the baseline's: below 1 the other is faster.
    """

    cell_id: str
    request: ImageRequest
    baseline: str
    other: str
    baseline_s: float | None = None
    other_s: float | None = None
    ratio: float | None = None
    verdict: Verdict
    reason: str


def compare(reports: Sequence[Report]) -> list[Row]:
    """Return a row for every workload and every report but the first, which is the baseline."""
    if len(reports) < 2:
        return []
    labels = report_labels(reports)
    baseline = {cell.cell_id: cell for cell in reports[0].cells}
    rows = []
    for report, label in zip(reports[1:], labels[1:], strict=True):
        others = {cell.cell_id: cell for cell in report.cells}
        versions = (reports[0].header.protocol_version, report.header.protocol_version)
        for cell_id, cell in (baseline | others).items():
            found = _verdict(
                baseline.get(cell_id), others.get(cell_id), (labels[0], label), versions
            )
            names = {"cell_id": cell_id, "baseline": labels[0], "other": label}
            rows.append(Row(request=cell.request, **names, **found))
    return rows


def _verdict(
    baseline: Cell | None, other: Cell | None, labels: tuple[str, str], versions: tuple[int, int]
) -> dict[str, object]:
    """Return the fields of a row that the measurements decide."""
    old, new = (summarise(cell) if cell else None for cell in (baseline, other))
    times = {"baseline_s": old and old.median_s, "other_s": new and new.median_s}
    if versions[0] != versions[1]:
        reason = f"measured by protocols {versions[0]} and {versions[1]}"
        return {**times, "verdict": "cannot compare", "reason": reason}
    if old is None or new is None:
        cells = zip((baseline, other), labels, strict=True)
        reasons = [why for cell, label in cells if (why := _why_absent(cell, label))]
        return {**times, "verdict": "cannot compare", "reason": "; ".join(reasons)}
    verdict, reason = judge(old, new)
    return {**times, "ratio": new.median_s / old.median_s, "verdict": verdict, "reason": reason}


def judge(old: Summary, new: Summary) -> tuple[Verdict, str]:
    """Return whether `new` is faster than `old`, and why one may say so or may not."""
    if old.interval_s is None or new.interval_s is None:
        return "unclear", (
            f"{old.n} and {new.n} samples: below {MIN_SAMPLES_FOR_INTERVAL} a median has no "
            f"interval; repeat {MIN_SAMPLES_FOR_INTERVAL} times or more"
        )
    ratio = new.median_s / old.median_s
    lowest = new.interval_s.low / old.interval_s.high
    highest = new.interval_s.high / old.interval_s.low
    if lowest >= 1 / (1 + SAME_WITHIN) and highest <= 1 + SAME_WITHIN:
        return "same", f"the intervals allow no difference above {SAME_WITHIN:.0%}"
    if highest < 1:
        return "faster", f"{1 / ratio:.2f} times as fast; the intervals do not overlap"
    if lowest > 1:
        return "slower", f"{ratio:.2f} times the time; the intervals do not overlap"
    return "unclear", f"the intervals overlap; {_advice(old, new)}"


def _advice(old: Summary, new: Summary) -> str:
    """Return how many repeats would settle it: intervals shrink with the root of their number."""
    gap = abs(new.median_s - old.median_s)
    widths = sum(_reach(summary, summary.interval_s) for summary in (old, new))
    if gap == 0 or (needed := max(old.n, new.n) * (widths / gap) ** 2) > MOST_REPEATS:
        return "the medians are too close to be told apart by repeating"
    return f"about {max(math.ceil(needed), max(old.n, new.n) + 1)} repeats would settle it"


def _reach(summary: Summary, interval: Interval | None) -> float:
    """Return how far an interval goes from its median, on the longer side."""
    assert interval is not None
    return max(interval.high - summary.median_s, summary.median_s - interval.low)


def _why_absent(cell: Cell | None, label: str) -> str:
    """Return why a cell has no figures, "" where it has."""
    if cell is None:
        return f"not measured in {label}"
    if cell.status != "ok":
        return f"{cell.status} in {label}"
    return "" if cell.samples else f"no samples in {label}"
