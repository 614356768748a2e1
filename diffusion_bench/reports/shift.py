"""By what factor one set of times is longer than another, and an interval of that factor.

The estimate is the median of all quotients of a new and an old value (Hodges and Lehmann, 1963, on
logarithms of times), the interval lies between two of the sorted quotients, which ones follows from
the distribution of Mann and Whitney's U (1947), exact for few samples. Neither assumes a
distribution, a single interrupted call moves neither far, and the interval is shorter than what two
separate intervals of medians allow.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache
from statistics import NormalDist, median

from diffusion_bench.records import Record

EXACT_UP_TO = 2_500  # pairs of samples; above, U is normal to any digit that matters
MOST_PAIRS = 1_000_000


class Ratio(Record):
    """New over old. The intervals' bounds are `None` where the samples are too few for them.

    `low` and `high` bound it with 95 percent confidence; `same_low` and `same_high` with 90, which
    is what two one-sided tests for equivalence at 5 percent need (Schuirmann, 1987). `visits` is
    how many the side with fewer has where they, not the calls, say how wide it is, else 0, and
    `lent` by how many degrees of freedom other cells tell their scatter. `floor` is the part of its
    reach to either side, as a logarithm, that measuring again does not narrow.
    """

    middle: float
    low: float | None = None
    high: float | None = None
    same_low: float | None = None
    same_high: float | None = None
    visits: int = 0
    lent: float = 0.0
    floor: float = 0.0

    def reaching(self, far: Callable[[float], float], near: Callable[[float], float]) -> Ratio:
        """Return it with bounds at other distances from the middle, on a logarithmic scale.

        `far` makes the new distance of one of the 95 percent bounds, `near` of the 90 percent ones.
        """

        def bound(value: float | None, reach: Callable[[float], float], way: int) -> float | None:
            if value is None:
                return None
            return self.middle * math.exp(way * reach(way * math.log(value / self.middle)))

        bounds = {
            "low": bound(self.low, far, -1),
            "high": bound(self.high, far, 1),
            "same_low": bound(self.same_low, near, -1),
            "same_high": bound(self.same_high, near, 1),
        }
        return self.model_copy(update=bounds)


def ratio_of_samples(old: Sequence[float], new: Sequence[float]) -> Ratio:
    """Return the factor between two sets of positive times; larger sets are thinned evenly."""
    old, new = _thinned(old), _thinned(new)
    quotients = sorted(b / a for a in old for b in new)
    low, high = _bounds(quotients, (len(old), len(new)), 0.05)
    same_low, same_high = _bounds(quotients, (len(old), len(new)), 0.10)
    return Ratio(
        middle=median(quotients), low=low, high=high, same_low=same_low, same_high=same_high
    )


def ratio_of_intervals(
    old: tuple[float, float, float],
    new: tuple[float, float, float],
    *,
    visits: int = 0,
    floor: float = 0.0,
) -> Ratio | None:
    """Return the factor between two medians (low, median, high) with 95 percent intervals.

    For totals that were extrapolated, whose intervals say more than their spread. On a logarithmic
    scale independent errors add in squares. `visits` and `floor` as in `Ratio`. `None` where an
    interval reaches down to nothing.
    """
    if min(*old, *new) <= 0:
        return None
    middle = new[1] / old[1]
    up = math.hypot(math.log(new[2] / new[1]), math.log(old[1] / old[0]))
    down = math.hypot(math.log(new[1] / new[0]), math.log(old[2] / old[1]))
    low, high = middle * math.exp(-down), middle * math.exp(up)
    # Part of these intervals is no spread, so the one for equivalence is made no narrower.
    return Ratio(
        middle=middle,
        low=low,
        high=high,
        same_low=low,
        same_high=high,
        visits=visits,
        floor=floor,
    )


def misses(sizes: tuple[int, int], share: float) -> int | None:
    """Return how many quotients each end of the interval leaves out, `None` where none will do.

    The largest k with 2 P(U < k) at most `share`, U of two samples of `sizes`.
    """
    smaller, larger = sorted(sizes)
    pairs = smaller * larger
    if pairs > EXACT_UP_TO:
        spread = math.sqrt(pairs * (smaller + larger + 1) / 12)
        return math.floor(pairs / 2 - NormalDist().inv_cdf(1 - share / 2) * spread)
    outcomes, outside, k = math.comb(smaller + larger, smaller), 0, 0
    for ways in _ways(smaller, larger):
        outside += 2 * ways
        if outside > share * outcomes:
            break
        k += 1
    return k or None


def _bounds(
    ordered: Sequence[float], sizes: tuple[int, int], share: float
) -> tuple[float | None, float | None]:
    k = misses(sizes, share)
    return (None, None) if k is None else (ordered[k - 1], ordered[-k])


@lru_cache(maxsize=256)
def _ways(smaller: int, larger: int) -> tuple[int, ...]:
    """Return in how many orders of two samples U is 0, 1, 2 ... up to half its largest value.

    The coefficients of the Gaussian binomial: the product of (1 - x**(n+i)) / (1 - x**i), i = 1..m.
    """
    top = smaller * larger // 2
    ways = [1] + [0] * top
    for i in range(1, smaller + 1):
        for u in range(top, larger + i - 1, -1):
            ways[u] -= ways[u - larger - i]
        for u in range(i, top + 1):
            ways[u] += ways[u - i]
    return tuple(ways)


def _thinned(values: Sequence[float]) -> Sequence[float]:
    most = math.isqrt(MOST_PAIRS)
    if len(values) <= most:
        return values
    return [values[i * len(values) // most] for i in range(most)]
