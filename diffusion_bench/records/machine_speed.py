"""How fast the machine itself was when a cell was measured."""

from __future__ import annotations

import math
from typing import Annotated

from pydantic import Field

from diffusion_bench.records.base import Record

MAX_PROBES = 1_000  # of one cell; no sweep visits one more often
MAX_RUNS = 20

Runs = Annotated[
    tuple[Annotated[float, Field(ge=1e-7, le=1e4)], ...],
    Field(min_length=1, max_length=MAX_RUNS),
]


class SpeedProbe(Record):
    """Seconds of a fixed piece of work, run just before a visit of a cell, on the cell's device.

    `work` says what it was and on how many threads; only equal work is compared. `product_s` and
    `copy_s` are the runs of a matrix product and of a copy of memory. `visit` counts from 0.
    """

    visit: Annotated[int, Field(ge=0, lt=MAX_PROBES)] = 0
    work: Annotated[str, Field(min_length=1, max_length=200)]
    product_s: Runs
    copy_s: Runs

    @property
    def pace_s(self) -> float:
        """Return the geometric mean of the shortest product and the shortest copy."""
        return math.sqrt(min(self.product_s) * min(self.copy_s))
