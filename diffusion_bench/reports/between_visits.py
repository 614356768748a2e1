"""How far apart the times of one cell are from visit to visit, and what that does to a ratio.

The calls of a visit follow each other and share what the machine did in that minute; those of
another round are of another minute. So calls are no independent samples of a machine that drifts,
and an interval that takes them for such is too narrow by as much as visits differ. Where both sides
have two visits or more, a ratio's interval is made no narrower than Student's of the logarithms of
their visits' medians, with the variance of both sides pooled.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median

from diffusion_bench.reports.intervals import student_t
from diffusion_bench.reports.schema import Cell
from diffusion_bench.reports.shift import Ratio

FEWEST_VISITS = 2


def with_visits(ratio: Ratio, old: Sequence[float], new: Sequence[float]) -> Ratio:
    """Return a ratio whose intervals allow for what the visits of both sides differ by.

    `old` and `new` are the medians of the visits. Unchanged where a side has fewer than two.
    """
    if min(len(old), len(new)) < FEWEST_VISITS:
        return ratio
    logs = [[math.log(value) for value in side] for side in (old, new)]
    freedom = sum(len(side) - 1 for side in logs)
    squares = sum((value - fmean(side)) ** 2 for side in logs for value in side)
    error = math.sqrt(squares / freedom * sum(1 / len(side) for side in logs))
    wide, narrow = (student_t(freedom, share) * error for share in (0.05, 0.10))

    def reached(value: float | None, half: float, way: int) -> float | None:
        if value is None:
            return None
        furthest = max(way * math.log(value / ratio.middle), half)
        return ratio.middle * math.exp(way * furthest)

    return Ratio(
        middle=ratio.middle,
        low=reached(ratio.low, wide, -1),
        high=reached(ratio.high, wide, 1),
        same_low=reached(ratio.same_low, narrow, -1),
        same_high=reached(ratio.same_high, narrow, 1),
        visits=min(len(old), len(new)) if _decide(ratio, wide) else 0,
    )


def _decide(ratio: Ratio, half: float) -> bool:
    """Return whether the visits' interval is the wider one."""
    if ratio.low is None or ratio.high is None:
        return False
    return half > math.log(ratio.high / ratio.low) / 2


def visit_medians(cell: Cell, times: Sequence[float]) -> list[float]:
    """Return the median of each visit's times; all are one visit where it is not known whose."""
    if sum(visit.calls for visit in cell.visits) != len(times):
        return [median(times)]
    found, start = [], 0
    for visit in cell.visits:
        if visit.calls:
            found.append(median(times[start : start + visit.calls]))
        start += visit.calls
    return found
