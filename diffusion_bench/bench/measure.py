"""How one cell is measured: warm up the shape, then time calls until they are enough.

1. Where asked for, a look at the machine's own speed, and another one after the last timed call.
2. `warmups` calls of the same shape and code path, with few steps, never counted. The first
   one of a shape in a process is kept as `first_call_s`.
3. Calls, timed whole, by stage and by step, and nothing else inside the timing: no preview, no
   file, no progress bar, no reading of sensors. A call of many steps may be stopped after some of
   them; its decoder runs all the same.
4. Where asked for, more calls for minutes after all of those, of which only the seconds are kept.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from statistics import median
from typing import Any, Protocol

from diffusion_bench.bench.kept_calls import KeptCalls
from diffusion_bench.records import (
    CpuSpent,
    Generation,
    Memory,
    Record,
    Request,
    Speech,
    SpeedProbe,
    Stages,
    VoiceRequest,
    VoiceStages,
)
from diffusion_bench.reports.schema import StopReason, StopRule, Sustained
from diffusion_bench.reports.stats import median_interval

WARMUP_STEPS = 3
SPIN_S = 0.002


class Generate(Protocol):
    """What is timed; `ImageBackend.generate` is one."""

    def __call__(self, request: Any, *, stop_after: int | None = None) -> Generation | Speech:
        """Return what came of a request, its steps cut after `stop_after`."""


class Effort(Record):
    """How much of a cell to run now; see `reports.schema.Plan`, whose fields most of these are.

    At most `calls` are made, `None` for as many as it takes. `done_s` are the seconds of the calls
    that earlier rounds made, which count for the stop rule. After the last call of all, calls are
    made for `metered_s` where the timed ones of this visit took less, and for `sustain_s`. With
    `probed` the machine's own speed is looked at around them. The first timed call waits for the
    moment `start_at_s` of `time.perf_counter`, at which other devices begin too.
    """

    warmups: int
    repeats: int
    calls: int | None = None
    done_s: tuple[float, ...] = ()
    stop: StopRule | None = None
    measured_steps: int | None = None
    metered_s: float | None = None
    sustain_s: float | None = None
    probed: bool = False
    start_at_s: float | None = None


class Timed(Record):
    """One timed call and when it ran, in `time.perf_counter` seconds, which processes share."""

    start_s: float
    end_s: float
    wall_s: float
    stages: Stages | VoiceStages
    step_s: tuple[float, ...]
    audio_s: float | None = None
    first_audio_s: float | None = None


class Metered(Record):
    """Calls that were made for their energy alone, as the timed ones were, and when."""

    start_s: float
    end_s: float
    calls: int


class Measurement(Record):
    """What the worker tells the runner of a cell. No `stop_reason`: more calls are to come.

    `num_steps` are those of a whole call. `speed` is the one that pictures were drawn at, also
    where "auto" was asked, and `notes` how that came about. `compile_s` is how long torch compiled
    in the warm-ups and the timed calls, `None` where it was not to. The look at the machine's own
    speed after these ended at `probed_to_s`, by the same clock. `spent` is this process's processor
    time over the timed calls and, where there are any, over those made after them.
    """

    warmup_s: tuple[float, ...]
    timed: tuple[Timed, ...]
    stop_reason: StopReason | None
    memory: Memory
    metered: Metered | None = None
    sustained: Sustained | None = None
    num_steps: int | None = None
    speed: str | None = None
    compile_s: float | None = None
    notes: tuple[str, ...] = ()
    machine_speed: SpeedProbe | None = None
    probed_to_s: float | None = None
    spent: tuple[CpuSpent, ...] = ()


def measure(
    request: Request,
    generate: Generate,
    effort: Effort,
    *,
    clock: Callable[[], float],
    on_repeat: Callable[[int], None],
    on_warmup: Callable[[], None] = lambda: None,
    probe: Callable[[], SpeedProbe | None] = lambda: None,
) -> Measurement:
    """Warm up, then time calls of `generate`.

    `on_warmup` hears of each warm-up that has ended, and `on_repeat` of how many timed calls are
    done, those of earlier rounds among them. `probe` looks at the machine's own speed, before the
    warm-ups, which undo what it does to the caches, and after the last call.
    """
    machine_speed = probe() if effort.probed else None
    warmup_request = warmup_call(request)
    warmup_s = []
    compiled_s: list[float | None] = []
    num_steps: int | None = None
    speed: str | None = None
    notes: tuple[str, ...] = ()
    for _ in range(effort.warmups):
        start_s = clock()
        compiled_s.append(getattr(generate(warmup_request), "compile_s", None))
        warmup_s.append(clock() - start_s)
        on_warmup()
    stop_after = cut(request, effort.measured_steps)
    if effort.start_at_s is not None:
        _wait_until(effort.start_at_s, clock)
    timed: list[Timed] = []
    cpu_from_s = time.process_time()
    memories = []
    reason: StopReason | None = None
    while reason is None and len(timed) != effort.calls:
        start_s = clock()
        generation = generate(request, stop_after=stop_after)
        timed.append(_timed(generation, start_s, clock()))
        memories.append(generation.memory)
        compiled_s.append(getattr(generation, "compile_s", None))
        num_steps = getattr(generation, "num_steps", None)
        speed, notes = _speed(generation), getattr(generation, "notes", ())
        on_repeat(len(effort.done_s) + len(timed))
        reason = stop_reason([*effort.done_s, *(call.wall_s for call in timed)], effort)
    spent = (_spent(timed[0].start_s, timed[-1].end_s, cpu_from_s),) if timed else ()
    probed_to_s: float | None = None
    if machine_speed is not None:
        after = probe()
        machine_speed = machine_speed.model_copy(update={"after_s": after and after.before_s})
        probed_to_s = clock()
    go_on = partial(_go_on, request, generate, effort, timed, clock=clock, on_repeat=on_repeat)
    return Measurement(
        warmup_s=tuple(warmup_s),
        timed=tuple(timed),
        stop_reason=reason,
        memory=largest_memory(memories),
        num_steps=num_steps,
        speed=speed,
        compile_s=None if None in compiled_s else sum(filter(None, compiled_s)),
        notes=notes,
        machine_speed=machine_speed,
        probed_to_s=probed_to_s,
        **(go_on(spent=spent) if reason is not None else {"spent": spent}),
    )


def warmup_call(request: Request) -> Request:
    """Return a request with the steps of a warm-up of it."""
    return request.model_copy(update={"steps": min(request.steps, WARMUP_STEPS)})


def _spent(start_s: float, end_s: float, cpu_from_s: float) -> CpuSpent:
    return CpuSpent(start_s=start_s, end_s=end_s, cpu_s=time.process_time() - cpu_from_s)


def _wait_until(at_s: float, clock: Callable[[], float]) -> None:
    """Return at a moment, or at once where it has passed."""
    while (left_s := at_s - clock()) > 0:
        if left_s > SPIN_S:  # a sleep may end late, so that its last part is spent awake
            time.sleep(left_s - SPIN_S)


def _speed(generation: Generation | Speech) -> str | None:
    return str(generation.request.speed) if isinstance(generation, Generation) else None


def cut(request: Request, measured_steps: int | None) -> int | None:
    """Return after how many steps a call is stopped, `None` where it runs to its end.

    Speech does: its steps are short, and a voice that is not denoised has no length to be timed.
    """
    if measured_steps is None or isinstance(request, VoiceRequest):
        return None
    return measured_steps if request.steps > measured_steps else None


def stop_reason(walls: list[float], effort: Effort) -> StopReason | None:
    """Return why a cell's calls are enough, `None` while they are not.

    Before the next call, not after it, time is compared with the cap: a cell stays below it.
    """
    rule = effort.stop
    if rule is None:
        return "fixed count" if len(walls) >= effort.repeats else None
    total_s = sum(walls)
    if len(walls) >= effort.repeats and total_s >= rule.min_time_s and _steady(walls, rule.noise):
        return "stable"
    if len(walls) >= max(rule.max_repeats, effort.repeats):
        return "repeat cap"
    return "time cap" if total_s + total_s / len(walls) > rule.max_time_s else None


def _steady(walls: list[float], noise: float) -> bool:
    """Return whether the interval of the median reaches at most `noise` of it to either side."""
    interval = median_interval(walls)
    if interval is None:
        return False
    middle = median(walls)
    return max(interval.high - middle, middle - interval.low) <= noise * middle


def _go_on(
    request: Request,
    generate: Generate,
    effort: Effort,
    timed: list[Timed],
    *,
    clock: Callable[[], float],
    on_repeat: Callable[[int], None],
    spent: tuple[CpuSpent, ...],
) -> dict[str, Any]:
    """Call on after the last timed call of all, for energy and heat; return the fields of it.

    `spent` is the processor time of the timed calls.
    """
    # Who listens takes a worker that says nothing for long for one that hangs.
    on_call = partial(on_repeat, len(effort.done_s) + len(timed))
    found: dict[str, Any] = {"spent": spent}
    start_s, cpu_from_s = clock(), time.process_time()
    if effort.metered_s and timed[-1].end_s - timed[0].start_s < effort.metered_s:
        call = partial(generate, request, stop_after=cut(request, effort.measured_steps))
        found["metered"] = _meter(call, effort.metered_s, clock, on_call)
    if effort.sustain_s is not None:
        found["sustained"] = _sustain(request, generate, effort.sustain_s, clock, on_call)
    if len(found) > 1:
        found["spent"] += (_spent(start_s, clock(), cpu_from_s),)
    return found


def _meter(
    call: Callable[[], object],
    for_s: float,
    clock: Callable[[], float],
    on_call: Callable[[], None],
) -> Metered:
    """Call on until `for_s` seconds are over; `on_call` hears as that of `_sustain` does."""
    on_call()
    calls, start_s = 0, clock()
    while (now_s := clock()) < start_s + for_s:
        call()
        calls += 1
        on_call()
    return Metered(start_s=start_s, end_s=now_s, calls=calls)


def _sustain(
    request: Request,
    generate: Generate,
    for_s: float,
    clock: Callable[[], float],
    on_call: Callable[[], None],
) -> Sustained:
    """Call on for `for_s` seconds, every step of every call.

    `on_call` hears of each call and, before the first one, that what is timed has ended.
    """
    on_call()
    began_s = clock()
    kept = KeptCalls()
    while (start_s := clock()) < began_s + for_s:
        kept.add(start_s - began_s, generate(request).wall_s)
        on_call()
    return kept.sustained()


def _timed(generation: Generation | Speech, start_s: float, end_s: float) -> Timed:
    return Timed(
        start_s=start_s,
        end_s=end_s,
        wall_s=generation.wall_s,
        stages=generation.stages,
        step_s=generation.step_s,
        audio_s=getattr(generation, "audio_s", None),
        first_audio_s=getattr(generation, "first_audio_s", None),
    )


def largest_memory(memories: list[Memory]) -> Memory:
    """Return the largest value of each field; one that no call could tell stays `None`."""
    largest = {}
    for name in Memory.model_fields:
        if name != "missing":
            known = [value for memory in memories if (value := getattr(memory, name)) is not None]
            largest[name] = max(known, default=None)
    missing = {
        name: reason
        for memory in memories
        for name, reason in memory.missing.items()
        if largest.get(name) is None
    }
    return Memory(**largest, missing=missing)
