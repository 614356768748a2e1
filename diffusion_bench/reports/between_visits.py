"""How far apart the times of one cell are from visit to visit, and what intervals make of that.

The calls of a visit follow each other and share what the machine did in that minute; those of
another round are of another minute. So calls are no independent samples of a machine that drifts,
and an interval that takes them for such is too narrow by as much as visits differ. Where both sides
have two visits or more, a ratio's interval is made no narrower than Student's of the logarithms of
their visits' medians, with the variance of both sides pooled. So is that of one cell's median.
Where other cells tell how far visits scatter (`scatter.py`), that variance is moderated by them.
Eight visits on both sides are enough for Mann and Whitney's of the same medians, which one visit
beside a busy neighbour does not move: that takes the place of Student's then.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from diffusion_bench.reports.intervals import Interval, mean_reach, student_t
from diffusion_bench.reports.scatter import Scatter, scatter_of
from diffusion_bench.reports.schema import Cell
from diffusion_bench.reports.shift import Ratio, ratio_of_samples

FEWEST_VISITS = 2
RANKED_VISITS = 8  # of 6, one that is far off still is a bound
CONFIDENCE = 0.95


def ratio_of_calls(
    pair: tuple[Cell, Cell],
    times: tuple[Sequence[float], Sequence[float]],
    prior: Scatter | None = None,
) -> Ratio:
    """Return the ratio of the times of two cells' calls, its intervals as wide as visits ask.

    `prior` is what other cells tell of how far visits scatter.
    """
    medians = [visit_medians(cell, own) for cell, own in zip(pair, times, strict=True)]
    return with_visits(ratio_of_samples(times[0], times[1]), medians[0], medians[1], prior)


def with_visits(
    ratio: Ratio, old: Sequence[float], new: Sequence[float], prior: Scatter | None = None
) -> Ratio:
    """Return a ratio whose intervals allow for what the visits of both sides differ by.

    `old` and `new` are the medians of the visits. Unchanged where a side has fewer than two. By
    `prior`, where there is one, their variance is moderated.
    """
    fewest = min(len(old), len(new))
    if fewest < FEWEST_VISITS:
        return ratio
    if fewest >= RANKED_VISITS:
        return _around(ratio, ratio_of_samples(old, new), fewest)
    scatter = scatter_of((old, new))
    if prior is not None:
        scatter = scatter.moderated(prior)
    error = math.sqrt(scatter.variance * (1 / len(old) + 1 / len(new)))
    wide, narrow = (student_t(scatter.freedom, share) * error for share in (0.05, 0.10))

    calls = ratio.high / ratio.low if ratio.low and ratio.high else math.inf
    found = ratio.reaching(lambda reach: max(reach, wide), lambda reach: max(reach, narrow))
    if wide <= math.log(calls) / 2:
        return found
    return found.model_copy(update={"visits": fewest, "lent": prior.freedom if prior else 0.0})


def _around(ratio: Ratio, ranked: Ratio, visits: int) -> Ratio:
    """Return a ratio whose intervals reach as far as those of its visits' medians, too."""
    bounds: dict[str, float | None] = {}
    for name, farther in (("low", min), ("high", max), ("same_low", min), ("same_high", max)):
        calls, medians = getattr(ratio, name), getattr(ranked, name)
        bounds[name] = None if None in (calls, medians) else farther(calls, medians)
    is_wider = (bounds["low"], bounds["high"]) != (ratio.low, ratio.high)
    return ratio.model_copy(update=bounds | {"visits": visits if is_wider else 0})


def interval_over_visits(
    found: Interval | None, cell: Cell, times: Sequence[float]
) -> Interval | None:
    """Return an interval of the median of a cell's calls, as wide as its visits ask.

    `found` is that of the calls alone. Unchanged of fewer than two visits.
    """
    medians = visit_medians(cell, times)
    if found is None or len(medians) < FEWEST_VISITS:
        return found
    reach, middle = mean_reach([math.log(value) for value in medians]), median(times)
    low, high = middle * math.exp(-reach), middle * math.exp(reach)
    if found.low <= low and high <= found.high:
        return found
    confidence = min(found.confidence, CONFIDENCE)
    return Interval(low=min(found.low, low), high=max(found.high, high), confidence=confidence)


def visit_medians(cell: Cell, times: Sequence[float]) -> list[float]:
    """Return the median of each visit's times."""
    visits: dict[int | None, list[float]] = {}
    for at, time in zip(visit_of_each(cell, times), times, strict=True):
        visits.setdefault(at, []).append(time)
    return list(map(median, visits.values()))


def visit_of_each(cell: Cell, times: Sequence[float]) -> list[int] | list[None]:
    """Return which visit of a cell each of its times is of, `None` where that is not known."""
    if sum(visit.calls for visit in cell.visits) != len(times):
        return [None] * len(times)
    return [number for number, visit in enumerate(cell.visits) for _ in range(visit.calls)]
