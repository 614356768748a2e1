"""Whether a table of distances by sampler and steps has the shape that the DDIM paper claims."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import NamedTuple

from diffusion_bench.training.quality_table.rows import DDIM, DDPM

FEW_STEPS = 20
CLOSE = 1.2  # DDIM in few steps against its own best
TIMES = 10  # as many steps at least that DDPM needs for what DDIM does in few


class Distance(NamedTuple):
    """A Frechet distance and its interval; published ones come without, so of no width."""

    value: float
    low: float
    high: float


# By the setting's name, then by steps.
Distances = Mapping[str, Mapping[int, Distance]]


class Finding(NamedTuple):
    """One claim: `None` where the table lacks what it needs."""

    claim: str
    holds: bool | None
    why: str


def findings(table: Distances) -> list[Finding]:
    """Return each claim of Song et al. (2021), section 5.1, as the table has it."""
    return [few_steps(table), more_steps(table), *(monotone(table, name) for name in table)]


def few_steps(table: Distances) -> Finding:
    """Return whether DDIM in 20 steps comes within 20 percent of its own best."""
    claim = f"DDIM at {FEW_STEPS} steps is within {CLOSE - 1:.0%} of its own best"
    own = table.get(DDIM, {})
    if FEW_STEPS not in own or len(own) < 2:
        return Finding(claim, None, "not measured")
    best = min(own, key=lambda steps: own[steps].value)
    ratio = own[FEW_STEPS].value / own[best].value if own[best].value > 0 else float("inf")
    return Finding(claim, ratio <= CLOSE, f"{ratio:.2f} times the best, at {best} steps")


def more_steps(table: Distances) -> Finding:
    """Return whether DDPM needs ten times the steps for what DDIM comes to in 20."""
    claim = f"DDPM needs {TIMES} times the steps of DDIM at {FEW_STEPS}"
    theirs = table.get(DDPM, {})
    target = table.get(DDIM, {}).get(FEW_STEPS)
    if target is None or not theirs:
        return Finding(claim, None, "not measured")
    enough = [steps for steps in sorted(theirs) if theirs[steps].value <= target.value]
    most = max(theirs)
    if enough:
        return Finding(claim, enough[0] >= TIMES * FEW_STEPS, f"{enough[0]} steps are enough")
    told = f"{most} steps, the most measured, are not enough"
    return Finding(claim, True if most >= TIMES * FEW_STEPS else None, told)


def monotone(table: Distances, setting: str) -> Finding:
    """Return whether no number of steps is worse than a smaller one beyond both intervals."""
    claim = f"{setting}: more steps are never worse, within the intervals"
    own = table[setting]
    if len(own) < 2:
        return Finding(claim, None, "not measured")
    worse = [
        f"{many} steps against {few}"
        for few, many in pairwise(sorted(own))
        if own[many].low > own[few].high
    ]
    return Finding(claim, not worse, ", ".join(worse) or "at every step")
