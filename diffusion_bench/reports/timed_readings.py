"""What was read of a cell's GPU during its timed calls, all of them together."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from statistics import fmean

from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.reports.sensor_reach import UTILIZATION_WINDOW_S
from diffusion_bench.reports.stage_readings import MIN_READINGS, cut_trace, gpu_of
from diffusion_bench.reports.stage_spans import timed_to_s


def power_w(cell: Cell, report: Report) -> float | None:
    """Return the mean power of the card during the timed calls."""
    gpu = gpu_of(cell, report.header)
    told = _timed(cell, gpu.power_w) if gpu else []
    return fmean(told) if len(told) >= MIN_READINGS else None


def busy_percent(cell: Cell, report: Report) -> float | None:
    """Return the GPU's utilisation while it denoised, or in all calls where that is too short."""
    cut = cut_trace(cell, report.header)
    for stage in cut.stages:
        if stage.name == "denoising" and stage.utilization_percent is not None:
            return stage.utilization_percent
    gpu, at_s = gpu_of(cell, report.header), cell.trace.at_s
    told = _timed(cell, gpu.utilization_percent) if gpu else []
    if len(told) < MIN_READINGS or min(at_s[-1], timed_to_s(cell)) - at_s[0] < UTILIZATION_WINDOW_S:
        return None
    return fmean(told)


def _timed(cell: Cell, values: Sequence[float | None]) -> list[float]:
    """Return what was read of a value during the timed calls: sustained ones are read thinner."""
    timed = bisect_right(cell.trace.at_s, timed_to_s(cell))
    return [value for value in values[:timed] if value is not None]
