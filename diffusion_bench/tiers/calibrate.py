"""Correct predictions by measurements: one report of any card improves the others.

A measurement's residual, log(measured / predicted seconds), is taken for a sum of

    what all of one user's measurements share      drivers, versions, the processor
    what one card's share                          what its specification does not say
    what near workloads share, on any card         what the counts do not say
    what near workloads share, on one card

each normally distributed with a spread fitted to published rows. The correction of another
prediction is the conditional mean, its spread the conditional one: a Gaussian process.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

from diffusion_bench.records import BUNDLED_MODEL, Record
from diffusion_bench.tiers.cards import is_geforce
from diffusion_bench.tiers.workload import Workload

MAX_POINTS = 32
ANOTHER_MODEL = 1.5
ANOTHER_PRECISION = 1.0
OCTAVES = 2.0  # of batch or pixels that make a workload another
# Cards and work whose ratios are scored, and differ least: the processor does not set the pace.
RECENT = re.compile(r"RTX [345]0[5-9]0\b")
SMALL_MODELS = ("sd15", "sd21", BUNDLED_MODEL)
MIN_BATCH = 4


def is_compared(card: str, workload: Workload) -> bool:
    """Return whether a card's speed at this work is one of those whose ratios are scored.

    GeForce cards of the 30, 40 and 50 series; batch 4 or more, or a model of SDXL's size or larger.
    """
    large = workload.batch >= MIN_BATCH or workload.model not in SMALL_MODELS
    return large and RECENT.match(card) is not None


class CardSpreads(Record):
    """Standard deviations of what one card's residuals share, at all workloads and at near ones."""

    card: float
    workload: float


class Spreads(Record):
    """Standard deviations of what residuals share, and of what they do not (`noise`).

    Workloads lie further apart on workstation and data-centre cards than on GeForce cards: capped
    power, and cooling. `ratio` is what a card brings into a ratio of two where `is_compared`.
    """

    source: float
    workload: float
    geforce: CardSpreads
    others: CardSpreads
    ratio: float = 0.0
    noise: float

    def of(self, card: str) -> CardSpreads:
        """Return the spreads of a card's own residuals."""
        return self.geforce if is_geforce(card) else self.others

    def in_ratio(self, card: str, workload: Workload) -> float:
        """Return the standard deviation that a card brings into a ratio of two, at one workload."""
        if is_compared(card, workload):
            return math.hypot(self.ratio, self.noise)
        own = self.of(card)
        return math.hypot(own.card, own.workload, self.noise)

    def total(self, card: str) -> float:
        """Return the standard deviation of a residual of which nothing is known."""
        own = self.of(card)
        return math.hypot(self.source, self.workload, own.card, own.workload, self.noise)


class Residual(Record):
    """One measurement: `log_ratio` is the logarithm of measured over predicted seconds.

    `seconds` is of the measured call, where it bounds others: of whole calls of one machine.
    `user` tells whose machine it was; empty: the machine at hand.
    """

    card: str
    workload: Workload
    log_ratio: float
    seconds: float | None = None
    user: str = ""


class Correction(Record):
    """What to add to the logarithm of predicted seconds, and the spread that remains.

    `measurements` counts those that were used, the nearest.
    """

    log_ratio: float
    spread: float
    measurements: int


def correct(
    card: str, workload: Workload, residuals: Sequence[Residual], spreads: Spreads
) -> Correction:
    """Return the correction for a card and a workload; without residuals, none but the spread."""
    prior = spreads.total(card) ** 2
    asked = Residual(card=card, workload=workload, log_ratio=0, user=_asker(residuals))
    near = sorted(residuals, key=lambda one: -shared(asked, one, spreads))[:MAX_POINTS]
    if not near:
        return Correction(log_ratio=0.0, spread=math.sqrt(prior), measurements=0)
    matrix = [
        [shared(a, b, spreads) + (spreads.noise**2 if i == j else 0) for j, b in enumerate(near)]
        for i, a in enumerate(near)
    ]
    common = [shared(asked, one, spreads) for one in near]
    weights = _solve(matrix, common)
    mean = sum(w * one.log_ratio for w, one in zip(weights, near, strict=True))
    told = sum(w * s for w, s in zip(weights, common, strict=True))
    spread = math.sqrt(max(prior - told, spreads.noise**2))
    return Correction(log_ratio=mean, spread=spread, measurements=len(near))


def _asker(residuals: Sequence[Residual]) -> str:
    """Return whose machine is asked about: the only one that was measured, else the one at hand."""
    users = {one.user for one in residuals}
    return users.pop() if len(users) == 1 else ""


def shared(a: Residual, b: Residual, spreads: Spreads) -> float:
    """Return the covariance of what two measurements share."""
    near = math.exp(-(_distance(a.workload, b.workload) ** 2) / 2)
    anywhere = spreads.source**2 * (a.user == b.user) + near * spreads.workload**2
    if a.card != b.card:
        return anywhere
    own = spreads.of(a.card)
    return anywhere + own.card**2 + near * own.workload**2


def _distance(a: Workload, b: Workload) -> float:
    """Return how far apart two workloads are; 1 is a workload that says little of the other."""
    batch = math.log2(a.batch / b.batch) / OCTAVES
    pixels = math.log2(a.width * a.height / (b.width * b.height)) / OCTAVES
    steps = math.log2(a.calls / b.calls) / OCTAVES / 4
    model = ANOTHER_MODEL * (a.model != b.model or a.guided != b.guided)
    precision = ANOTHER_PRECISION * (a.precision != b.precision)
    return math.hypot(batch, pixels, steps, model, precision)


def _solve(matrix: list[list[float]], right: list[float]) -> list[float]:
    """Return the solution of a positive definite system, by Cholesky's decomposition."""
    size = len(right)
    lower = [[0.0] * size for _ in range(size)]
    for i in range(size):
        for j in range(i + 1):
            left = matrix[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            lower[i][j] = math.sqrt(left) if i == j else left / lower[j][j]
    forward: list[float] = []
    for i in range(size):
        left = right[i] - sum(lower[i][k] * forward[k] for k in range(i))
        forward.append(left / lower[i][i])
    solution = [0.0] * size
    for i in reversed(range(size)):
        left = forward[i] - sum(lower[k][i] * solution[k] for k in range(i + 1, size))
        solution[i] = left / lower[i][i]
    return solution
