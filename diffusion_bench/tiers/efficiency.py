"""What was fitted to published speeds, with the errors on rows left out: efficiency.toml."""

from __future__ import annotations

import tomllib
from functools import cache
from pathlib import Path

from diffusion_bench.records import Record
from diffusion_bench.tiers.calibrate import Spreads
from diffusion_bench.tiers.roofline import Fit

EFFICIENCY = Path(__file__).parent / "efficiency.toml"


class Score(Record):
    """How wrong predictions are on `n` rows left out of the fit: |predicted / actual - 1|.

    `naive_median` and `naive_p90`: of sqrt(FP32 ratio x bandwidth ratio), where a ratio is asked.
    `coverage`: the share of the rows inside their 80 percent interval.
    """

    median: float
    p90: float
    n: int
    naive_median: float | None = None
    naive_p90: float | None = None
    coverage: float | None = None


class Efficiency(Record):
    """The fit, the spreads of its residuals and its scores by what was asked of it."""

    fit: Fit
    spreads: Spreads
    scores: dict[str, Score]
    rows: int


@cache
def shipped_efficiency() -> Efficiency:
    """Return the fit that ships with this program."""
    return Efficiency.model_validate(tomllib.loads(EFFICIENCY.read_text(encoding="utf-8")))
