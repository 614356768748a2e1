"""Burst and sustained speed of a cell that went on for minutes: before and after it grew warm."""

from __future__ import annotations

from statistics import median

from diffusion_bench.records import Record
from diffusion_bench.reports.schema import Cell

BURST_S = 60.0  # from the first call on
LAST_SHARE = 1 / 3  # of the whole time: by then a card has its temperature


class BurstAndSustained(Record):
    """Median seconds of a call in the first minute and in the last third, and of how many kept."""

    burst_s: float
    burst_calls: int
    sustained_s: float
    sustained_calls: int

    @property
    def slowdown(self) -> float:
        """Return by what share a sustained call takes longer than one of the burst."""
        return self.sustained_s / self.burst_s - 1


def burst_and_sustained(cell: Cell) -> BurstAndSustained | None:
    """Return both, or `None` where the cell did not go on long enough for them to be two.

    The two windows must not overlap, and each must hold a call.
    """
    if cell.sustained is None or not cell.sustained.at_s:
        return None
    calls = list(zip(cell.sustained.at_s, cell.sustained.wall_s, strict=True))
    end_s = calls[-1][0] + calls[-1][1]
    late_from_s = end_s * (1 - LAST_SHARE)
    if late_from_s < BURST_S:
        return None
    burst = [wall_s for at_s, wall_s in calls if at_s < BURST_S]
    late = [wall_s for at_s, wall_s in calls if at_s >= late_from_s]
    if not burst or not late:
        return None
    return BurstAndSustained(
        burst_s=median(burst),
        burst_calls=len(burst),
        sustained_s=median(late),
        sustained_calls=len(late),
    )
