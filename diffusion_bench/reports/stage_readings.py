"""The readings of a cell's trace, cut by stage and by step.

Where a stage lies in it `stage_spans.py` says. A figure is told where enough readings fell into
stages that last longer than the sensor's own memory, and else it is `None`, with the reason.

Seconds are the median of all calls, as in every table; what was read is of the calls of the last
visit, and `Cut.readings_of` says so.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import accumulate, pairwise
from statistics import fmean, median, stdev
from typing import Literal, NamedTuple

from diffusion_bench.records import GpuTrace, Record
from diffusion_bench.reports.labels import card_of, is_gpu
from diffusion_bench.reports.schema import Cell, Header, Sample
from diffusion_bench.reports.sensor_reach import UTILIZATION_WINDOW_S, power_reach_s
from diffusion_bench.reports.stage_spans import (
    STAGES,
    Span,
    StageName,
    readings_of,
    shown_samples,
    stage_spans,
    stages_of,
    timed_to_s,
)

MIN_READINGS = 3  # a mean of two says nothing of its own error
SENSOR_ERROR = 0.05  # of a card's power, as in hardware/energy.py
TWO_SIGMA = 2.0

UNTOLD = "no reading tells it"  # as none of Apple's GPU
NO_GPU_POWER = "the energy of a processor is counted for all calls together only"


class Seen(Record):
    """What the readings say of one stage or step, over all calls of the trace.

    `seconds` is the median of all the cell's calls; all else is of the `calls` that the trace
    shows. `memory_of` is whose memory: the GPU's, all programs together, or the process's.
    `utilization_percent` is the GPU's or, where the cell ran on none, the processor's. `energy_j`
    is of one call that was read, mean power times its mean seconds; `energy_error_j` bounds it at
    two standard errors of the readings and the sensor's own 5 percent. `of_steps` says how many of
    a call's steps it holds, empty where all: seconds and energy are of those. `missing` has the
    reason of each `None`.
    """

    name: str
    of_steps: str = ""
    seconds: float
    calls: int
    readings: int
    memory_of: Literal["GPU", "process"]
    peak_memory_mib: float | None = None
    mean_memory_mib: float | None = None
    utilization_percent: float | None = None
    power_w: float | None = None
    energy_j: float | None = None
    energy_error_j: float | None = None
    missing: dict[str, str] = {}

    @property
    def title(self) -> str:
        """Return its name, with the steps that it holds where they are not all of a call."""
        return f"{self.name}, {self.of_steps}" if self.of_steps else self.name


class Cut(Record):
    """A cell's trace cut up. `steps` is empty where `no_steps` says why.

    `a_step` is the mean step: the denoising stage over its steps, told also where single ones are
    too short. Where the stage tells no power, its power is that of all calls, as its name says.
    `readings_of` says of which calls the readings are, empty where they are of all.
    `reason` says why there is nothing at all.
    """

    stages: tuple[Seen, ...] = ()
    a_step: Seen | None = None
    steps: tuple[Seen, ...] = ()
    no_steps: str = ""
    readings_of: str = ""
    reason: str = ""


class _Columns(NamedTuple):
    """The columns that a cut reads."""

    at_s: tuple[float, ...]
    interval_s: float
    on_gpu: bool
    memory: Sequence[float | None]
    utilization: Sequence[float | None]
    power: Sequence[float | None]
    power_reach_s: float
    no_power: str


def cut_trace(cell: Cell, header: Header) -> Cut:
    """Return what the readings say of each stage and step of a cell."""
    spans, reason = stage_spans(cell)
    if reason:
        return Cut(reason=reason)
    columns = _columns(cell, header)
    stages = tuple(
        _seen(
            name,
            [span for span in spans if span.name == name],
            median(_stage_s(cell.samples, name)),
            fmean(_stage_s(shown_samples(cell), name)),
            columns,
        )
        for name in STAGES
        if median(_stage_s(cell.samples, name)) > 0
    )
    denoising = next((stage for stage in stages if stage.name == "denoising"), None)
    steps, no_steps = _steps(cell, columns)
    timed = {"of_steps": _of_steps(cell)}
    return Cut(
        stages=tuple(s.model_copy(update=timed) if s is denoising else s for s in stages),
        a_step=denoising and _a_step(denoising, cell),
        steps=steps,
        no_steps=no_steps,
        readings_of=readings_of(cell),
    )


def gpu_of(cell: Cell, header: Header) -> GpuTrace | None:
    """Return the trace of the GPU that a cell ran on, `None` where it ran on none or is unknown."""
    gpus = cell.trace.gpus
    if not is_gpu(header) or not gpus:
        return None
    if len(gpus) == 1 and cell.gpu_index is None:
        return gpus[0]
    card = card_of(cell, header)
    return next((gpu for gpu in gpus if card and gpu.index == card.index), None)


def _of_steps(cell: Cell) -> str:
    """Return how many steps of a whole call were timed, empty where all were."""
    rule = cell.extrapolation
    return f"{rule.measured_steps} of {cell.whole_steps} steps" if rule else ""


def _steps(cell: Cell, columns: _Columns) -> tuple[tuple[Seen, ...], str]:
    """Return each step over all calls, or none and why they cannot be told apart."""
    calls = [
        (sample, span)
        for sample in shown_samples(cell)
        for span in stages_of(sample)
        if span.name == "denoising"
    ]
    times = [step for sample, _ in calls for step in sample.step_s]
    if not times:
        return (), "no step was timed"
    if median(times) < 2 * columns.interval_s:
        return (), (
            f"a step takes {1000 * median(times):.3g} ms and the machine was looked at every "
            f"{1000 * columns.interval_s:.3g} ms: single steps cannot be told apart"
        )
    by_step: dict[int, list[tuple[Span, float]]] = {}
    for sample, span in calls:
        unsure_s = max(0.0, sample.stages.other_s)
        ends = [span.start_s - unsure_s + done for done in accumulate(sample.step_s, initial=0.0)]
        for index, (start_s, end_s) in enumerate(pairwise(ends)):
            certain = Span(f"step {index + 1}", start_s + unsure_s, end_s)
            by_step.setdefault(index, []).append((certain, end_s - start_s))
    return tuple(
        _seen(
            f"step {index + 1}",
            [span for span, _ in found if span.end_s > span.start_s],
            median(s.step_s[index] for s in cell.samples if len(s.step_s) > index),
            fmean(seconds for _, seconds in found),
            columns,
        )
        for index, found in sorted(by_step.items())
    ), ""


def _a_step(denoising: Seen, cell: Cell) -> Seen | None:
    """Return the mean step. Powers and memory are the stage's, energy is shared out evenly."""
    steps = fmean(len(sample.step_s) for sample in cell.samples)
    if not steps:
        return None
    shared = {
        name: value / steps
        for name in ("seconds", "energy_j", "energy_error_j")
        if (value := getattr(denoising, name)) is not None
    }
    step = denoising.model_copy(update={"name": "a step, on average", **shared})
    return step if step.energy_j is not None else _at_mean_power(step, cell)


def _at_mean_power(step: Seen, cell: Cell) -> Seen:
    """Return a step at the power of all calls, where the energy of those was measured."""
    energy = cell.energy
    if energy is None:
        return step
    share = step.seconds / energy.window_s
    unsure_j = energy.uncertainty_j
    known = {"power_w": energy.total_j / energy.window_s, "energy_j": energy.total_j * share}
    missing = {field: why for field, why in step.missing.items() if field not in known}
    update = {
        "name": "a step, on average, at the power of all calls",
        **known,
        "energy_error_j": None if unsure_j is None else unsure_j * share,
        "missing": missing,
    }
    return step.model_copy(update=update)


def _seen(
    name: str, spans: Sequence[Span], seconds: float, read_s: float, columns: _Columns
) -> Seen:
    """Return what was read in the spans. `read_s` are the mean seconds of the calls they are of."""
    inside: list[int] = []
    for span in spans:  # one after the other; in a file that says otherwise no reading counts twice
        first, last = (
            bisect_left(columns.at_s, span.start_s),
            bisect_right(columns.at_s, span.end_s),
        )
        inside += range(max(first, inside[-1] + 1 if inside else 0), last)
    found: dict[str, float | None] = {}
    missing: dict[str, str] = {}
    window_s = UTILIZATION_WINDOW_S if columns.on_gpu else columns.interval_s
    for field, column, reach_s in (
        ("mean_memory_mib", columns.memory, 0.0),
        ("utilization_percent", columns.utilization, window_s),
        ("power_w", columns.power, columns.power_reach_s),
    ):
        values = [value for index in inside if (value := column[index]) is not None]
        is_told = any(value is not None for value in column)
        missing[field] = _why_not(values, read_s, reach_s) if is_told else UNTOLD
        found[field] = None if missing[field] else fmean(values)
        if field == "mean_memory_mib" and not missing[field]:
            found["peak_memory_mib"] = max(values)
        if field == "power_w" and not missing[field]:
            found["energy_j"] = fmean(values) * read_s
            found["energy_error_j"] = _error_w(values) * read_s
    if columns.no_power:
        missing["power_w"] = columns.no_power
    for field, cause in (("peak_memory_mib", "mean_memory_mib"), ("energy_j", "power_w")):
        missing[field] = missing[cause]
    return Seen(
        name=name,
        seconds=seconds,
        calls=len(spans),
        readings=len(inside),
        memory_of="GPU" if columns.on_gpu else "process",
        **found,
        missing={field: why for field, why in missing.items() if why},
    )


def _why_not(values: Sequence[float], read_s: float, reach_s: float) -> str:
    """Return why readings carry no figure, empty where they do."""
    if read_s < reach_s:
        return f"it lasted {read_s:.3g} s when read; the sensor tells of the last {reach_s:.3g} s"
    if len(values) < MIN_READINGS:
        return f"{len(values)} of {MIN_READINGS} needed readings fell into it"
    return ""


def _error_w(powers: Sequence[float]) -> float:
    """Return the bound of a mean power's error: chance at two standard errors, and the sensor."""
    chance_w: float = TWO_SIGMA * stdev(powers) / len(powers) ** 0.5
    return chance_w + SENSOR_ERROR * fmean(powers)


def _columns(cell: Cell, header: Header) -> _Columns:
    trace, gpu = cell.trace, gpu_of(cell, header)
    nothing = (None,) * len(trace.at_s)
    timed = trace.at_s[: bisect_right(trace.at_s, timed_to_s(cell)) + 1]
    gaps = [later - earlier for earlier, later in pairwise(timed)]
    on_gpu = is_gpu(header)
    if on_gpu:
        columns = (
            (gpu.memory_used_mib, gpu.utilization_percent, gpu.power_w) if gpu else (nothing,) * 3
        )
    else:
        columns = (trace.rss_mib, trace.cpu_percent, nothing)
    memory, utilization, power = (c if len(c) == len(trace.at_s) else nothing for c in columns)
    interval_s, reach_s = median(gaps) if gaps else 0.0, power_reach_s(card_of(cell, header))
    no_power = "" if on_gpu else _why_no_power(cell)
    return _Columns(trace.at_s, interval_s, on_gpu, memory, utilization, power, reach_s, no_power)


def _why_no_power(cell: Cell) -> str:
    """Return why a stage has no power on a processor: the cell's own reason where it has none."""
    return NO_GPU_POWER if cell.energy else cell.missing.get("energy", NO_GPU_POWER)


def _stage_s(samples: Sequence[Sample], name: StageName) -> list[float]:
    field = f"{name.replace(' ', '_')}_s"
    return [getattr(sample.stages, field) for sample in samples]
