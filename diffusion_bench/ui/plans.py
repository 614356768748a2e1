"""Sweeps before they run: the files there are, how many cells, and about how long."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any

import diffusion_bench
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.voice.voices import find_voice
from diffusion_bench.bench.cell_run import rest_s, visits_of
from diffusion_bench.bench.estimate import (
    TimedRequest,
    estimate_s,
    family,
    judging_s,
    step_work,
    timed_call,
    timed_calls,
)
from diffusion_bench.bench.measure import warmup_call
from diffusion_bench.bench.sweep import MAX_CELLS, TIME_LIMIT_S, Sweep, parse_sweep
from diffusion_bench.bench.wording import in_words
from diffusion_bench.hardware.machine import MachineInfo
from diffusion_bench.records import BUNDLED_SIDE, Request, VoiceRequest
from diffusion_bench.reports.schema import Report
from diffusion_bench.ui.jobs import Done, Job, Jobs
from diffusion_bench.ui.pictures.limits import (
    SHARED_LIMITS,
    check_is_here,
    check_limits,
    check_model,
)
from diffusion_bench.ui.report_files import ReportFolder
from diffusion_bench.ui.voice.limits import (
    MAX_SHARED_TEXT,
    SHARED_VOICE_LIMITS,
    check_voice_is_here,
    check_voice_limits,
    check_voice_model,
    check_voice_name,
)
from diffusion_bench.ui.waiting_line import WAIT_S, Waiting, waiting_words

SWEEPS_FOLDER = Path(diffusion_bench.__file__).parents[1] / "benchmarks"
FIRST = "quick"  # of the sweeps to choose from
PROBE_STEPS = (2, 6)
NOT_FOR_GUESTS = {
    "devices": "take several devices ([devices])",
    "stop": "go on until it is steady (stop)",
    "sustain_s": "sustain its cells (sustain_s)",
    "quality": "draw pictures to judge (quality)",
    "voice_quality": "say something to judge (voice_quality)",
}
MAX_SHARED_SWEEP = 20_000  # characters of a guest's sweep: each key that is typed reads them
MAX_SHARED_CALLS = 240
MAX_SHARED_CELLS = 1000  # made to be counted: some are the same, and each takes half a millisecond
LARGEST_SHARED = 8  # a guest's sweep may be as much work as so many of the largest requests

SMALLEST_SWEEP = f"""name = "mine"
repeats = 3

[axes]
sampler = ["ddim", "ddpm"]
steps = [5, 10]
resolution = [{BUNDLED_SIDE}]
batch = [1]
"""


class Planning:
    """Says what a sweep would do, and times a few steps where no report tells how long."""

    def __init__(
        self,
        engine: Engine,
        jobs: Jobs,
        reports: ReportFolder,
        here: Callable[[], MachineInfo],
        *,
        shared: bool,
    ) -> None:
        self._engine = engine
        self._jobs = jobs
        self._reports = reports
        self._here = here
        self._shared = shared

    def describe(self, text: str) -> str:
        """Return how many cells a text describes and about how long they take, in one line.

        Raises ValueError for a text that is no sweep.
        """
        sweep = read_plan(text, shared=self._shared)
        timed = known_times(self._reports.measured_with(self._here().cpu), self._here())
        return plan_line(sweep, self._duration_s(sweep, timed), "the saved reports")

    def probe(self, text: str) -> Iterator[str]:
        """Time two tiny generations of each `family` of cells; yield the plan's line."""
        sweep = read_plan(text, shared=self._shared)
        yield "Probing: two tiny generations of each model."
        with closing(self._jobs.watch(partial(self._time, sweep))) as events:
            for event in events:
                match event:
                    case Done(timed):
                        duration = self._duration_s(sweep, timed)
                        yield plan_line(sweep, duration, "a probe of a few steps")
                    case Waiting():
                        yield waiting_words(event)
                    case str():
                        yield event
                    case _:
                        yield ""

    def _duration_s(self, sweep: Sweep, timed: Sequence[TimedRequest]) -> float | None:
        return duration_s(sweep, timed, on_gpu=self._engine.device.startswith("cuda"))

    def _time(self, sweep: Sweep, job: Job) -> list[TimedRequest]:
        smallest: dict[tuple[str, ...], Request] = {}
        for cell in sorted(sweep.requests(), key=step_work):
            smallest.setdefault(family(cell), cell)
        timed = []
        # One turn for all: a job in between would have the next call load its model again.
        with self._jobs.turn(job, "an estimate") as turn:
            for cell in smallest.values():
                for steps in (1, *PROBE_STEPS):  # the first one loads the model and is not counted
                    job.tell(f"Probing {cell.model}, {cell.precision}.")
                    tiny = cell.model_copy(update={"steps": steps})
                    wall_s = self._probe_s(tiny, job, turn.on_wait)
                    if steps in PROBE_STEPS:
                        timed.append(TimedRequest(tiny, wall_s))
        return timed

    def _probe_s(self, request: Request, job: Job, on_wait: Callable[[], None]) -> float:
        watch: dict[str, Any] = {"wait_s": WAIT_S, "on_wait": on_wait}
        if isinstance(request, VoiceRequest):
            voice = find_voice(request.voice, request.model)
            speech = self._engine.speak(request, voice, lambda _: job.check(), **watch)
            return speech.wall_s
        return self._engine.generate(request, lambda _: job.check(), **watch).wall_s


def sweep_files() -> dict[str, Path]:
    """Return the sweeps that come with the project by file name; an installed package has none."""
    paths = sorted(SWEEPS_FOLDER.glob("*.toml"), key=lambda path: (path.stem != FIRST, path.name))
    return {path.name: path for path in paths}


def sweep_text(name: str) -> str:
    """Return the text of one of `sweep_files`; raise ValueError for another name."""
    files = sweep_files()
    if name not in files:
        raise ValueError(f"there is no sweep {name!r:.80}")
    return files[name].read_text(encoding="utf-8")


def read_plan(text: str, *, shared: bool) -> Sweep:
    """Return the sweep a TOML text describes; raise ValueError for one that cannot run here.

    On a shared app a cell is called `repeats` times, whatever its stop rule: calls are counted.
    """
    if shared and len(text) > MAX_SHARED_SWEEP:
        raise ValueError(f"this app is shared: a sweep has {MAX_SHARED_SWEEP} characters at most")
    sweep = parse_sweep(text, most_cells=MAX_SHARED_CELLS if shared else MAX_CELLS)
    if shared:
        sweep = sweep.model_copy(update={"stop": None})
    check_plan(sweep, shared=shared)
    return sweep


def check_plan(sweep: Sweep, *, shared: bool) -> None:
    """Raise ValueError for a sweep that cannot run here, or that is not for visitors."""
    for model in sweep.models:
        if sweep.voice_axes is None:
            check_model(model, shared=shared)
        else:
            check_voice_model(model, shared=shared)
    if shared:
        _check_shared(sweep)
        _check_models_are_here(sweep)


def _check_shared(sweep: Sweep) -> None:
    """Refuse what would keep a shared machine from its owner and the other visitors."""
    for name, deed in NOT_FOR_GUESTS.items():
        if getattr(sweep, name) is not None:
            raise ValueError(f"this app is shared: a sweep may not {deed}")
    if sweep.time_limit_s > TIME_LIMIT_S:
        raise ValueError(
            f"this app is shared: a call may take {TIME_LIMIT_S:g} s at most (time_limit_s)"
        )
    cells = sweep.requests()
    for cell in cells:
        if isinstance(cell, VoiceRequest):
            check_voice_limits(cell)
            check_voice_name(cell.voice)  # a sweep has no recording of its own
        else:
            check_limits(cell)
    warmups = _warmups(sweep)
    calls = len(cells) * (sweep.repeats + warmups)
    if calls > MAX_SHARED_CALLS:
        raise ValueError(
            f"this app is shared: a sweep may make {MAX_SHARED_CALLS} calls at most, and this one "
            f"makes {calls} ({len(cells)} cells, {sweep.repeats} repeats, {warmups} warm-ups)"
        )
    _check_work(sweep, cells)


def _check_work(sweep: Sweep, cells: Sequence[Request]) -> None:
    """Refuse calls that are together too much work, though each is within its limits."""
    if sweep.voice_axes is None:
        steps, amount = SHARED_LIMITS["steps"], SHARED_LIMITS["width"] * SHARED_LIMITS["height"]
        largest = f"pictures of {amount} pixels"
    else:
        steps, amount = SHARED_VOICE_LIMITS["steps"], MAX_SHARED_TEXT
        largest = f"texts of {amount} characters"
    most = LARGEST_SHARED * steps * amount * 2  # with guidance
    once, warmups = (sum(map(step_work, calls)) for calls in _calls(sweep, cells))
    work = sweep.repeats * once + _warmups(sweep) * warmups
    if work > most:
        raise ValueError(
            f"this app is shared: a sweep may be as much work as {LARGEST_SHARED} {largest} in "
            f"{steps} steps, and this one is {work / most:.1f} times that; shorten an axis"
        )


def _check_models_are_here(sweep: Sweep) -> None:
    """Refuse to fetch what is measured: that is for the owner."""
    cells = sweep.requests()
    for model, precision in sorted({(cell.model, cell.precision) for cell in cells}):
        if sweep.voice_axes is None:
            check_is_here(check_model(model, shared=True), precision)
        else:
            check_voice_is_here(check_voice_model(model, shared=True))


def known_times(reports: Sequence[Report], here: MachineInfo) -> list[TimedRequest]:
    """Return the timed calls of this machine's reports, newest first, all of one kind of device.

    The kind is that of the newest one, since times of a CPU say nothing about a GPU.
    """
    ours = [report for report in reports if _is_of(report, here)]
    kinds = [report.header.plan.device.partition(":")[0] for report in ours]
    return [
        timed
        for report, kind in zip(ours, kinds, strict=True)
        if kind == kinds[0]
        for cell in report.cells
        for timed in timed_calls(cell)
    ]


def _is_of(report: Report, here: MachineInfo) -> bool:
    there = report.header.machine
    gpus = [card.name for card in there.gpus]
    return there.cpu == here.cpu and gpus == [gpu.name or "unknown" for gpu in here.gpus]


def duration_s(sweep: Sweep, timed: Sequence[TimedRequest], *, on_gpu: bool) -> float | None:
    """Return the seconds a sweep takes at least, with the warm-ups and rests of every round.

    `None` where a model was never timed. A stop rule may ask for more calls than `repeats`.
    """
    if sweep.devices is not None:
        return None  # what several devices do at once does not follow from what one did
    cells = sweep.requests()
    once, warmups = _calls(sweep, cells)
    once_s, warmup_s = estimate_s(once, timed), estimate_s(warmups, timed)
    if once_s is None or warmup_s is None:
        return None
    rests_s = rest_s(len(cells) * visits_of(sweep.repeats, sweep.rounds), on_gpu=on_gpu)
    beside_s = rests_s + len(cells) * (sweep.sustain_s or 0.0)
    beside_s += judging_s(cells, sweep.judging, timed)
    return sweep.repeats * once_s + _warmups(sweep) * warmup_s + beside_s


def _warmups(sweep: Sweep) -> int:
    """Return the warm-ups of a cell: each of its visits has its own."""
    return sweep.warmups * visits_of(sweep.repeats, sweep.rounds)


def _calls(sweep: Sweep, cells: Sequence[Request]) -> tuple[list[Request], list[Request]]:
    """Return one timed call of each cell, and one warm-up of each, with the steps they run."""
    return [timed_call(cell, sweep.measured_steps) for cell in cells], list(map(warmup_call, cells))


def plan_line(sweep: Sweep, duration: float | None, source: str) -> str:
    """Return what a sweep will do, in one line."""
    count = sweep.num_cells
    repeats = f"{sweep.repeats} repeats{' or more' if sweep.stop else ''}"
    calls = f"{count} cell{'s' if count != 1 else ''}, {repeats} each"
    if duration is None and sweep.devices is not None:
        return f"{calls}, on {sweep.devices.words} at once. How long is not known beforehand."
    if duration is None:
        return f"{calls}. How long is not known yet: press Estimate for a short probe."
    return f"{calls}: about {in_words(duration)}, judged by {source}."
