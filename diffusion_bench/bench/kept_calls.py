"""The calls of a cell that is sustained: however many, as many of them as a report can hold."""

from __future__ import annotations

from diffusion_bench.records.even_choice import EvenChoice
from diffusion_bench.reports.schema import Sustained
from diffusion_bench.reports.sustained import BURST_S

# Of the first minute, and of what comes after it. Twice two numbers a call, beside the thousand
# steps of a thousand repeats, are still a line that is read (`reports.read.MAX_VALUES`).
KEPT = 40_000


class KeptCalls:
    """Starts and seconds of calls: each or, where they are too many, every second, fourth, eighth.

    What is read of them, the medians of the first minute and of the last third, stays the same.
    """

    def __init__(self, keep: int = KEPT) -> None:
        self._burst: EvenChoice[tuple[float, float]] = EvenChoice(keep)
        self._later: EvenChoice[tuple[float, float]] = EvenChoice(keep)

    def add(self, at_s: float, wall_s: float) -> None:
        """Take in the next call, which began `at_s` after the first."""
        (self._burst if at_s < BURST_S else self._later).add((at_s, wall_s))

    def sustained(self) -> Sustained:
        """Return what was kept, and how many there were where that is not all."""
        calls = self._burst.kept() + self._later.kept()
        count = self._burst.count + self._later.count
        return Sustained(
            at_s=tuple(at_s for at_s, _ in calls),
            wall_s=tuple(wall_s for _, wall_s in calls),
            calls=count if count > len(calls) else None,
        )
