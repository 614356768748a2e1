"""Medians, quartiles and intervals that assume nothing about how the values are distributed."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, quantiles, stdev

from diffusion_bench.records import Record

NORMAL_Z = 1.959964  # of a normal distribution, 95 percent lie within so many deviations
MAX_MISSES = 20  # one in 20 is 95 percent confidence
MIN_SAMPLES_FOR_INTERVAL = 5  # their whole range covers the median with 93.75 percent

# Student's t by degrees of freedom, by the share of both tails. Any table of it has them.
STUDENT_T = {
    0.05: {
        **{1: 12.706, 2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306},
        **{9: 2.262, 10: 2.228, 12: 2.179, 15: 2.131, 20: 2.086, 30: 2.042, 60: 2.000, 120: 1.980},
    },
    0.10: {
        **{1: 6.314, 2: 2.920, 3: 2.353, 4: 2.132, 5: 2.015, 6: 1.943, 7: 1.895, 8: 1.860},
        **{9: 1.833, 10: 1.812, 12: 1.782, 15: 1.753, 20: 1.725, 30: 1.697, 60: 1.671, 120: 1.658},
    },
}


class Interval(Record):
    """An interval of a median, and the confidence it really has (0.9375 for 5 samples)."""

    low: float
    high: float
    confidence: float


def interquartile_range(values: Sequence[float]) -> float | None:
    """Return the distance of the quartiles; `None` for a single value."""
    if len(values) < 2:
        return None
    low, _, high = quantiles(values, n=4, method="inclusive")
    return high - low


def median_interval(values: Sequence[float]) -> Interval | None:
    """Return the narrowest symmetric order-statistic interval with 95 percent confidence or more.

    The k-th smallest and k-th largest of n values enclose the median unless fewer than k of them
    fall on one of its sides: confidence 1 - 2 P(Binomial(n, 1/2) < k). For 5 values the best there
    is has 93.75 percent; below 5 there is none.
    """
    n = len(values)
    if n < MIN_SAMPLES_FOR_INTERVAL:
        return None
    # Counted in outcomes of n coin throws, as whole numbers: floats underflow above 1000 samples.
    outcomes, outside, rank, next_term = 2**n, 2, 1, n
    while outside + 2 * next_term <= outcomes // MAX_MISSES:
        outside += 2 * next_term
        rank += 1
        next_term = next_term * (n - rank + 1) // rank
    ordered = sorted(values)
    confidence = 1 - outside / outcomes
    return Interval(low=ordered[rank - 1], high=ordered[n - rank], confidence=confidence)


def wilson_interval(right: int, n: int) -> Interval:
    """Return the 95 percent interval of a share of `right` in `n`, 1 or more.

    Source: Wilson (1927), "Probable inference, the law of succession, and statistical inference".
    Unlike the normal one it stays within 0 and 1, and has a width where all are right.
    """
    share, z = right / n, NORMAL_Z
    middle = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    reach = z / (1 + z**2 / n) * math.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = 0.0 if right == 0 else max(0.0, middle - reach)
    high = 1.0 if right == n else min(1.0, middle + reach)
    return Interval(low=low, high=high, confidence=0.95)


def mean_reach(values: Sequence[float]) -> float:
    """Return how far Student's 95 percent interval of a mean goes to each side; 2 values at least.

    This one does assume that the values are about normal: means of many steps are.
    """
    freedom = len(values) - 1
    return student_t(freedom, 0.05) * stdev(values, fmean(values)) / math.sqrt(len(values))


def student_t(freedom: float, share: float) -> float:
    """Return how many standard errors leave `share` (0.05 or 0.10) in both tails together.

    Between two rows of the table the smaller count is taken, which errs towards a wider interval.
    """
    table = STUDENT_T[share]
    return table[max(known for known in table if known <= freedom)]
