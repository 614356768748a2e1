"""Burst and sustained speed of a cell that went on for minutes: before and after it grew warm."""

from __future__ import annotations

from statistics import median

from diffusion_bench.records import Record
from diffusion_bench.reports.schema import Cell

BURST_S = 60.0  # from the first call on
LAST_SHARE = 1 / 3  # of the whole time: by then a card has its temperature
LEAST_S = BURST_S / (1 - LAST_SHARE)  # of the whole time: in less the two windows overlap


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


def burst_and_sustained(cell: Cell) -> tuple[BurstAndSustained | None, str]:
    """Return both, or `None` and why they are not two: no reason where it was not asked for.

    The two windows must not overlap, and each must hold a call.
    """
    if cell.sustained is None:
        return None, ""
    if not cell.sustained.at_s:
        return None, "no call was sustained"
    calls = list(zip(cell.sustained.at_s, cell.sustained.wall_s, strict=True))
    end_s = calls[-1][0] + calls[-1][1]
    if end_s < LEAST_S:
        return None, f"the cell went on for {end_s:.3g} s; {too_short_words()}"
    burst = [wall_s for at_s, wall_s in calls if at_s < BURST_S]
    late = [wall_s for at_s, wall_s in calls if at_s >= end_s * (1 - LAST_SHARE)]
    if not burst:
        return None, "no call began in the first minute"
    if not late:
        return None, "no call began in the last third of the time: go on for longer"
    return BurstAndSustained(
        burst_s=median(burst),
        burst_calls=len(burst),
        sustained_s=median(late),
        sustained_calls=len(late),
    ), ""


def too_short_words() -> str:
    """Return from how long on the two figures are told apart, and why."""
    return (
        f"from {LEAST_S:g} s on the first {BURST_S:g} s (burst) end before the last third "
        "(sustained) begins"
    )
