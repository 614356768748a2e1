"""The doctor's checks of single cells, gathered into one finding for all the cells they concern.

Each check looks at one cell and says what is wrong with it, "" where nothing is; the table at the
end says how bad that is. `plausible_energy.py` and `plausible_quality.py` hold more of them.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Sequence
from itertools import pairwise
from statistics import median
from typing import NamedTuple

from diffusion_bench.records import (
    Finding,
    GpuTrace,
    Level,
    MachineState,
    Memory,
    Trace,
    VoiceRequest,
    VoiceStages,
)
from diffusion_bench.reports.findings import name_cells
from diffusion_bench.reports.plausible_energy import (
    net_above_gross,
    over_the_limit,
    short_window,
    zero_energy,
)
from diffusion_bench.reports.plausible_quality import (
    impossible_quality,
    unexplained_quality,
    unplanned_quality,
)
from diffusion_bench.reports.schema import Cell, Header, Report, Sample, SharedCell
from diffusion_bench.reports.stage_spans import timed_to_s

LARGE_GAP_S = 1.0
GAP_FACTOR = 5
BUSY_PERCENT = 20.0
SUM_SLACK = 0.02  # of the call: what a clock read between two events may miss
SUM_SLACK_S = 2e-3
MIN_EQUAL_SAMPLES = 3
NEW_IN_PROTOCOL_2 = {"nvml_idle_after_mib", "alloc_retries"}
GPU_COLUMNS = GpuTrace.model_fields.keys() - {"index", "name"}

UNEXPLAINED = "measure these cells again with this version, which tells why"
NOT_MEASURED = "use no figure of these cells; measure them again, and ask who changed the file"


class CellCheck(NamedTuple):
    """A question asked of every cell; called with a report, it answers with one finding or none.

    `shared` asks it of a cell that several devices shared; `None` where they store nothing of it.
    """

    level: Level
    title: str
    look: Callable[[Cell, Header], str]
    advice: str = NOT_MEASURED
    shared: Callable[[SharedCell, Header], str] | None = None

    def __call__(self, report: Report) -> list[Finding]:
        """Return a finding that names the first cell it concerns and counts the others."""
        told: list[tuple[Cell | SharedCell, str]] = []
        told += [(cell, self.look(cell, report.header)) for cell in report.cells]
        if self.shared is not None:
            told += [(cell, self.shared(cell, report.header)) for cell in report.shared]
        seen = [(cell, words) for cell, words in told if words]
        if not seen:
            return []
        first, words = seen[0]
        more = f" (and {len(seen) - 1} more cells)" if len(seen) > 1 else ""
        detail = f"{name_cells([first], report)}: {words}{more}"
        return [Finding(level=self.level, title=self.title, detail=detail, advice=self.advice)]


def trace_gaps(cell: Cell | SharedCell, header: Header) -> str:
    """Find times at which nobody looked at the machine."""
    looks = _looks(cell.trace)
    if any(later < earlier for earlier, later in pairwise(looks)):
        return "its readings go back in time"
    end_s = math.inf if isinstance(cell, SharedCell) else timed_to_s(cell)
    timed = bisect_right(looks, end_s)
    calls = [0.0, *looks[:timed], end_s] if looks and math.isfinite(end_s) else looks[:timed]
    for part in (calls, looks[max(0, timed - 1) :]):
        gaps = [later - earlier for earlier, later in pairwise(part)]
        if len(gaps) < 2:
            continue
        largest, usual = max(gaps), median(gaps)
        # Readings far apart by plan, as on a thinned trace, are no gap.
        if largest > max(GAP_FACTOR * usual, LARGE_GAP_S):
            return f"{largest:.2f} s without a reading, usually {usual:.2f} s"
    return ""


def disturbed(cell: Cell | SharedCell, header: Header) -> str:
    """Find what other programs did before and beside a cell, and labels the sweep gave it."""
    words = []
    if before := _at_work(cell.before, "busy"):
        words.append(f"before it {before}")
    if others := cell.others:
        load = MachineState(
            cpu_percent=others.cpu_percent, other_gpu_processes=others.gpu_processes
        )
        if beside := _at_work(load, "taken by others"):
            words.append(f"beside it {beside}")
    known = ("extrapolated", "emulated", *(["contended"] if words else []))
    return ", ".join([label for label in cell.labels if label not in known] + words)


def _at_work(seen: MachineState | None, how: str) -> str:
    """Return what was at work on a machine that was not at rest."""
    seen = seen or MachineState()
    words = []
    if (seen.cpu_percent or 0) > BUSY_PERCENT:
        words.append(f"processor {seen.cpu_percent:.0f} % {how}")
    if (seen.gpu_utilization_percent or 0) > BUSY_PERCENT:
        words.append(f"GPU {seen.gpu_utilization_percent:.0f} % {how}")
    if seen.other_gpu_processes:
        words.append(f"{seen.other_gpu_processes} other processes on the GPU")
    return " and ".join(words)


def sums(cell: Cell, header: Header) -> str:
    """Find steps and stages that do not add up to the call."""
    for number, sample in enumerate(cell.samples, start=1):
        words = _sum_of(sample)
        if words:
            return f"repeat {number}: {words}"
    return ""


def step_counts(cell: Cell, header: Header) -> str:
    """Find samples of fewer steps than were asked for, or others than a call is said to have."""
    if isinstance(cell.request, VoiceRequest):  # a step of each chunk, or of each token
        return ""
    rule, whole = cell.extrapolation, cell.whole_steps
    if whole < cell.request.steps:
        return f"{whole} steps in a whole call, {cell.request.steps} asked for"
    due = min(rule.measured_steps, whole) if rule else whole
    counts = {len(sample.step_s) for sample in cell.samples} - {due}
    if cell.num_steps is None and rule is None and cell.request.sampler == "native":
        # Reports did not always tell how many the model's own scheduler takes: PNDM one more.
        counts = {count for count in counts if count < due}
    return f"{min(counts)} steps in a sample, not {due}" if counts else ""


def labelled(cell: Cell, header: Header) -> str:
    """Find labels that contradict what the cell and the plan hold."""
    extrapolated = cell.extrapolation is not None
    if extrapolated != ("extrapolated" in cell.labels):
        return f"label and content disagree on whether it is extrapolated: {extrapolated}"
    emulated = header.plan.emulated_memory_mib is not None
    if emulated != ("emulated" in cell.labels) and cell.status == "ok":
        return f"label and plan disagree on whether it is emulated: {emulated}"
    return ""


def all_equal(cell: Cell, header: Header) -> str:
    """Find samples that are equal to the last digit, as no clock gives them."""
    walls = [sample.wall_s for sample in cell.samples]
    if len(walls) >= MIN_EQUAL_SAMPLES and len(set(walls)) == 1:
        return f"{len(walls)} repeats of exactly {walls[0]!r} s"
    steps = [step for sample in cell.samples for step in sample.step_s]
    if len(steps) >= 10 and len(set(steps)) == 1:
        return f"{len(steps)} steps of exactly {steps[0]!r} s"
    return ""


def equal_starts(cell: SharedCell, header: Header) -> str:
    """Find a device whose starts, or calls alone, took equal times to the last digit."""
    for job in cell.jobs:
        for what, times in (("starts", job.end_s), ("calls alone", job.alone_s)):
            if len(times) >= MIN_EQUAL_SAMPLES and len(set(times)) == 1:
                return f"{job.device}: {len(times)} {what} of exactly {times[0]!r} s"
    return ""


def unexplained(cell: Cell, header: Header) -> str:
    """Find metrics that are absent without a reason."""
    if cell.status != "ok":
        return ""
    memory = cell.memory
    names = set(Memory.model_fields) - {"missing", *memory.missing}
    if header.protocol_version < 2:
        names -= NEW_IN_PROTOCOL_2
    absent = sorted(name for name in names if getattr(memory, name) is None)
    if cell.energy is None and not any("energy" in name for name in cell.missing):
        absent.append("energy")
    return ", ".join(absent)


def no_figures(cell: Cell | SharedCell, header: Header) -> str:
    """Find cells that ended well without a sample, or badly with some and no message."""
    if cell.status == "ok" and cell.without_figures:
        return "ended well without a sample"
    if cell.status != "ok" and not cell.message:
        return f"ended as {cell.status} without a message"
    return ""


def _looks(trace: Trace) -> list[float]:
    """Return when something was told. A gap has a point in its middle that tells nothing."""
    columns = [trace.cpu_percent, trace.ram_used_mib, trace.rss_mib]
    columns += [getattr(gpu, name) for gpu in trace.gpus for name in GPU_COLUMNS]
    whole = [column for column in columns if len(column) == len(trace.at_s)]
    if not whole:
        return list(trace.at_s)
    told = zip(*whole, strict=True)
    return [at_s for at_s, values in zip(trace.at_s, told, strict=True) if set(values) != {None}]


def _sum_of(sample: Sample) -> str:
    """Return what does not add up in one sample."""
    slack_s = max(SUM_SLACK * sample.wall_s, SUM_SLACK_S)
    stages = [seconds for _, seconds in sample.stages]
    if min(stages) < -slack_s or min(sample.step_s, default=0.0) < 0:
        return "a negative time"
    whole_s, steps_s = math.fsum(stages), math.fsum(sample.step_s)
    if abs(whole_s - sample.wall_s) > slack_s:
        return f"stages of {whole_s:.4g} s in a call of {sample.wall_s:.4g} s"
    if isinstance(sample.stages, VoiceStages):  # its steps may be frames, with all that makes one
        too_long = steps_s > sample.wall_s + slack_s
        return f"steps of {steps_s:.4g} s in a call of {sample.wall_s:.4g} s" if too_long else ""
    if sample.step_s and abs(steps_s - sample.stages.denoising_s) > slack_s:
        return f"steps of {steps_s:.4g} s in {sample.stages.denoising_s:.4g} s of denoising"
    return ""


CELL_CHECKS: Sequence[CellCheck] = (
    CellCheck("problem", "energy that is zero or negative", zero_energy, shared=zero_energy),
    CellCheck(
        "problem",
        "net energy that does not follow from the gross",
        net_above_gross,
        shared=net_above_gross,
    ),
    CellCheck(
        "problem", "more power than the card may draw", over_the_limit, shared=over_the_limit
    ),
    CellCheck(
        "problem", "an energy window shorter than its calls", short_window, shared=short_window
    ),
    CellCheck("problem", "steps and stages do not add up to the call", sums),
    CellCheck("problem", "another number of steps than was asked for", step_counts),
    CellCheck("problem", "labels that contradict the content", labelled),
    CellCheck("problem", "samples too equal to have been measured", all_equal, shared=equal_starts),
    CellCheck("problem", "cells without what their status needs", no_figures, shared=no_figures),
    CellCheck("problem", "figures of quality that cannot be", impossible_quality),
    CellCheck("problem", "quality that is not the plan's", unplanned_quality),
    CellCheck(
        "warning",
        "measured in a state that spoils it",
        disturbed,
        "close other programs, let the machine cool, and measure again",
        shared=disturbed,
    ),
    CellCheck(
        "warning",
        "gaps in the readings of the hardware",
        trace_gaps,
        "trust the times; power, energy and memory may have missed a peak",
        shared=trace_gaps,
    ),
    CellCheck("note", "metrics are absent without a reason", unexplained, UNEXPLAINED),
    CellCheck("note", "quality is absent without a reason", unexplained_quality, UNEXPLAINED),
)
