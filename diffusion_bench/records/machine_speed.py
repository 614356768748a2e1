"""How fast the machine itself was when a cell was measured."""

from __future__ import annotations

import math
from statistics import median
from typing import Annotated

from pydantic import Field, model_validator

from diffusion_bench.records.base import Record

MAX_PROBES = 1_000  # of one cell; no sweep visits one more often
MAX_RUNS = 20

Runs = Annotated[
    tuple[Annotated[float, Field(ge=1e-7, le=1e4)], ...],
    Field(min_length=1, max_length=MAX_RUNS),
]


class SpeedProbe(Record):
    """Seconds of a fixed piece of work, run around a visit of a cell, on the cell's device.

    `work` says what it was and on how many threads; only equal work is compared. `before_s` are
    the runs just before the visit's warm-ups, `after_s` those just after its last call, `None`
    where nobody looked. `visit` counts from 0. Reports up to format 6 have the runs of a matrix
    product and of a copy instead (`product_s`, `copy_s`), which cells were found not to follow.
    """

    visit: Annotated[int, Field(ge=0, lt=MAX_PROBES)] = 0
    work: Annotated[str, Field(min_length=1, max_length=200)]
    before_s: Runs | None = None
    after_s: Runs | None = None
    product_s: Runs | None = None
    copy_s: Runs | None = None

    @model_validator(mode="after")
    def _measured(self) -> SpeedProbe:
        if not (self.before_s or (self.product_s and self.copy_s)):
            msg = "a probe has runs: before_s, or product_s and copy_s"
            raise ValueError(msg)
        return self

    @property
    def pace_s(self) -> float | None:
        """Return the middle run, of those before and after each; `None` of an older format's."""
        sides = [median(runs) for runs in (self.before_s, self.after_s) if runs]
        return math.prod(sides) ** (1 / len(sides)) if self.before_s else None
