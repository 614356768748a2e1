"""How far a cell's visits scatter, of which a few visits know little and many cells know more.

Two visits a side know a variance by two degrees of freedom, so that Student's interval is absurdly
wide where they happen to differ and too sure where they happen to agree. Cells of one report are
measured in the same minutes by the same rules: their variances are draws from one distribution,
which all of them together tell. Each is moderated by it (Smyth, 2004, "Linear models and empirical
Bayes methods for assessing differential expression in microarray experiments", section 3, and 6.2
for d0 and s0^2).

That holds for what each visit does by itself. What moves all cells of a round alike is no draw per
cell: pooled, it would be known no better and taken for known.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from statistics import fmean, variance
from typing import NamedTuple

FEWEST_CELLS = 6
# As many as cells tell whose own scatter differs threefold (trigamma(3) is the variance of log s^2
# then): a few visits may show cells alike that are not, and the unruliest pays for it.
MOST_LENT = 6.0
LEAST_LENT = 0.01  # lends nothing
HALVINGS = 60  # of the range between the two, past a float's last digit
ASYMPTOTIC_FROM = 8.0  # from here on the series below are right to eight digits


class Scatter(NamedTuple):
    """A variance of the logarithms of visits' medians, and by how many degrees of freedom."""

    variance: float
    freedom: float

    def moderated(self, prior: Scatter) -> Scatter:
        """Return it as known by itself and by the other cells: (d0 s0^2 + d s^2) / (d0 + d)."""
        freedom = self.freedom + prior.freedom
        squares = self.freedom * self.variance + prior.freedom * prior.variance
        return Scatter(squares / freedom, freedom)


def scatter_of(sides: Iterable[Sequence[float]]) -> Scatter:
    """Return what the medians of some sides' visits, of two or more each, scatter by, pooled."""
    logs = [[math.log(value) for value in side] for side in sides]
    freedom = sum(len(side) - 1 for side in logs)
    squares = sum((value - fmean(side)) ** 2 for side in logs for value in side)
    return Scatter(squares / freedom, freedom)


def prior_of(cells: Iterable[Scatter]) -> Scatter | None:
    """Return the variance s0^2 that cells have in common, and by how many d0 it is told.

    By the moments of log s^2. `None` of fewer than six cells. One whose visits agree to the last
    digit, as made-up ones do, has no logarithm and is left out.
    """
    known = [cell for cell in cells if cell.variance > 0]
    if len(known) < FEWEST_CELLS:
        return None
    centred = [
        math.log(cell.variance) - _digamma(cell.freedom / 2) + math.log(cell.freedom / 2)
        for cell in known
    ]
    # What their logarithms vary by beyond what so few visits make of one and the same variance.
    beyond = variance(centred) - fmean(_trigamma(cell.freedom / 2) for cell in known)
    half = _half_freedom(beyond)
    return Scatter(math.exp(fmean(centred) + _digamma(half) - math.log(half)), 2 * half)


def _half_freedom(beyond: float) -> float:
    """Return x with trigamma(x) = `beyond`, the nearest of half the degrees that are allowed."""
    low, high = LEAST_LENT / 2, MOST_LENT / 2
    for _ in range(HALVINGS):
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _trigamma(middle) > beyond else (low, middle)
    return math.sqrt(low * high)


def _digamma(x: float) -> float:
    """Return the derivative of log gamma: recurrence, then the asymptotic series."""
    below = 0.0
    while x < ASYMPTOTIC_FROM:
        below, x = below + 1 / x, x + 1
    y = 1 / x**2
    return math.log(x) - 1 / (2 * x) - y * (1 / 12 - y * (1 / 120 - y / 252)) - below


def _trigamma(x: float) -> float:
    """Return the second derivative of log gamma, in the same way."""
    below = 0.0
    while x < ASYMPTOTIC_FROM:
        below, x = below + 1 / x**2, x + 1
    y = 1 / x**2
    return below + 1 / x + y / 2 + y / x * (1 / 6 - y * (1 / 30 - y / 42))
