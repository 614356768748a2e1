"""Why no sweep can have written a line of a report: its counts, its times, its numbers."""

from __future__ import annotations

from typing import Any

from diffusion_bench.records import Record, VoiceRequest, VoiceStages
from diffusion_bench.reports.schema import Cell, Header, SharedCell
from diffusion_bench.reports.schema_cell import MAX_CALL_STEPS

MAX_SAMPLES = 1_000  # of one cell; no sweep repeats more often
SHORTEST_S, LONGEST_S = 1e-7, 1e9
# Above every seed, and below every rest of a subtraction: products and quotients of a few such
# numbers are still finite.
LARGEST, SMALLEST = 1e19, 1e-40


def why_impossible(cell: Cell | SharedCell, header: Header) -> str:
    """Return which count no sweep reaches, or which time no clock gave; "" where all can be.

    They would overflow later on.
    """
    return _why_no_calls(cell) if isinstance(cell, Cell) else _why_no_starts(cell, header)


def _why_no_calls(cell: Cell) -> str:
    if len(cell.samples) > MAX_SAMPLES:
        return f"more than {MAX_SAMPLES} samples in one cell"
    if cell.energy is not None and cell.energy.window_s < SHORTEST_S:
        return "energy: a window that cannot have been measured"
    is_speech = isinstance(cell.request, VoiceRequest)
    for sample in cell.samples:
        if isinstance(sample.stages, VoiceStages) != is_speech:
            return "samples: the stages of another kind of work"
        if not is_speech and len(sample.step_s) > MAX_CALL_STEPS:
            return f"samples: more than {MAX_CALL_STEPS} steps in one call"
        times = (sample.wall_s, *sample.step_s, *(time for _, time in sample.stages))
        backwards = min(sample.step_s, default=0.0) < 0
        if sample.wall_s < SHORTEST_S or backwards or any(abs(t) > LONGEST_S for t in times):
            return "samples: a time that cannot have been measured"
    return ""


def _why_no_starts(cell: SharedCell, header: Header) -> str:
    plan = header.plan.devices
    if plan is None or tuple(job.device for job in cell.jobs) != plan.names:
        return "jobs: their devices are not those of the plan"
    for job in cell.jobs:
        times = (*job.alone_s, *job.begin_s, *job.end_s)
        if len(times) > 3 * MAX_SAMPLES:
            return f"more than {MAX_SAMPLES} starts in one cell"
        backwards = any(e <= b for b, e in zip(job.begin_s, job.end_s, strict=True))
        if backwards or any(t > LONGEST_S for t in times):
            return "jobs: a time that cannot have been measured"
    if cell.status == "ok" and len({len(job.end_s) for job in cell.jobs}) > 1:
        return "jobs: not every device has every start"
    return ""


def why_extreme(record: Record) -> str:
    """Return that arithmetic on a number would be past what a float holds, "" where on none."""
    if not _has_extreme(record.model_dump()):
        return ""
    return f"a number above {LARGEST:.0e} or below {SMALLEST:.0e}, which nothing measures"


def _has_extreme(value: Any) -> bool:
    if isinstance(value, dict):
        return any(map(_has_extreme, value.values()))
    if isinstance(value, tuple | list):
        try:  # of numbers alone, as most of a report is
            sizes = list(filter(None, map(abs, value)))
            return bool(sizes) and not SMALLEST <= min(sizes) <= max(sizes) <= LARGEST
        except TypeError:
            return any(map(_has_extreme, value))
    if not isinstance(value, int | float) or not value:
        return False
    return not SMALLEST <= abs(value) <= LARGEST
