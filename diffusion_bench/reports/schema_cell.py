"""What a report holds of one measured cell: its request, what happened, and the raw samples."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from diffusion_bench.records import (
    MAX_PROBES,
    AnyQuality,
    MachineState,
    Memory,
    OtherLoad,
    Record,
    Request,
    SpeedProbe,
    Stage,
    Stages,
    Trace,
    VoiceStage,
    VoiceStages,
)
from diffusion_bench.reports.schema_machine import Short

MAX_CELL_NOTES = 20
MAX_MESSAGE = 4000  # characters
MAX_METERED = 100_000  # calls for a cell's energy alone, which take two seconds together
MAX_CALL_STEPS = 10_000  # a tenth of them may be asked for, and no sampler takes so many a step
Status = Literal["ok", "oom", "crashed", "timeout", "failed", "cancelled"]
StopReason = Literal["stable", "time cap", "repeat cap", "fixed count"]
Label = Literal["extrapolated", "emulated", "throttled", "contended", "on battery"]


class Sample(Record):
    """One timed repeat: the whole call, its stages, and every denoising step.

    Of speech also the seconds of sound, and of the call until the first of it could be heard.
    `start_s` is when the call began, from the first call of its visit: the clock of a trace.
    """

    wall_s: Annotated[float, Field(gt=0)]
    stages: Stages | VoiceStages
    step_s: tuple[float, ...]
    energy_j: float | None = None
    audio_s: Annotated[float, Field(gt=0)] | None = None
    first_audio_s: Annotated[float, Field(gt=0)] | None = None
    start_s: Annotated[float, Field(ge=0)] | None = None


class Ceiling(Record):
    """What a processor reached in two short tests: a 32-bit matrix product, and a copy of memory.

    `copy_gbs` is in 10**9 bytes a second, those read and those written together.
    """

    gflops: Annotated[float, Field(gt=0)]
    copy_gbs: Annotated[float, Field(gt=0)]


class Energy(Record):
    """The energy over all timed repeats of a cell together, in joules.

    Kept apart from the samples because counters move in tenths of a second: a window that is too
    short for one repeat may do for all of them. Where the last visit's were too short, it is that
    of so many `calls` like them, made after them for nothing else. `method` is how it was measured
    and `scope` of what. `net_j` is `total_j` less `idle_power_w`, the power before the cell, over
    the window. `uncertainty_j` bounds the error of `total_j` from the window's edges and the
    sensor.
    """

    total_j: Annotated[float, Field(ge=0)]
    window_s: Annotated[float, Field(gt=0)]
    method: Short
    scope: Literal["gpu", "module", "cpu package"] = "gpu"
    idle_power_w: Annotated[float, Field(ge=0)] | None = None
    net_j: float | None = None
    uncertainty_j: Annotated[float, Field(ge=0)] | None = None
    calls: Annotated[int, Field(ge=1, le=MAX_METERED)] | None = None


class Extrapolation(Record):
    """How a total of more steps than were timed is had, and the rule in words.

    Samples of such a cell hold `measured_steps` steps of those of a whole call, and everything
    that comes once. The rest of the steps is added at the measured pace when it is read.
    """

    measured_steps: Annotated[int, Field(ge=2)]
    rule: Short


class Visit(Record):
    """One round's calls of a cell: when they began, and how many of the samples are theirs."""

    started_utc: Short
    calls: Annotated[int, Field(ge=0)]


class Sustained(Record):
    """Calls one after the other for minutes: each call's start, from the first, and seconds.

    Of very many an even choice is kept, of the first minute and of the rest; `calls` says of how
    many. `None` where each is there.
    """

    at_s: tuple[float, ...]
    wall_s: tuple[Annotated[float, Field(gt=0)], ...]
    calls: Annotated[int, Field(ge=1)] | None = None

    @model_validator(mode="after")
    def _a_start_a_call(self) -> Self:
        if len(self.at_s) != len(self.wall_s):
            raise ValueError(f"{len(self.at_s)} starts of {len(self.wall_s)} calls")
        return self


class Cell(Record):
    """One measured cell: a request, what happened, and the raw samples.

    `num_steps` are the steps that a whole call takes: with some samplers others than were asked for
    (PNDM one more, Heun nearly twice as many). `None` of speech, and where nobody has told.
    `first_call_s` is the first call of this shape in its process, `load_s` the loading of the
    model, both `None` where an earlier cell paid for them. A cell that failed names the `stage` and
    the memory it asked for, where they are known. `speed` is the one it ran at, also where "auto"
    was asked, and `compile_s` how long torch compiled for it. `notes` say how "auto" came to its
    speed, how far its pictures are off, and where the machine stood still while calls ran.
    `attention` is the denoiser's implementation, as diffusers names it, and `ceiling` is measured
    beside the loading. `gpu_index` is the driver's number of the GPU that the cell ran on, as in
    header and trace. `throttle_share` is the share of the readings during the cell with each reason
    for lower clocks.
    A cell is measured in `visits`, one a round; `before` is the state of the machine before the
    first one that found it busy, else before the first, `others` what other programs did while its
    calls ran, `machine_speed` the machine's own speed around each visit,
    and `trace` is of the last. Without a `stop_reason` more calls are to come. `quality` is of
    pictures or speech made after the last of them, where the plan asks for it. `missing` gives the
    reason for every metric that is `None`.
    """

    kind: Literal["cell"] = "cell"
    cell_id: Short
    request: Request
    order: Annotated[int, Field(ge=0)]
    started_utc: Short
    status: Status
    message: Annotated[str, Field(max_length=MAX_MESSAGE)] = ""
    stage: Stage | VoiceStage | None = None
    asked_mib: float | None = None
    labels: tuple[Label, ...] = ()
    stop_reason: StopReason | None = None
    extrapolation: Extrapolation | None = None
    num_steps: Annotated[int, Field(ge=1, le=MAX_CALL_STEPS)] | None = None
    visits: tuple[Visit, ...] = ()
    before: MachineState | None = None
    others: OtherLoad | None = None
    throttle_share: dict[str, float] = {}
    sustained: Sustained | None = None
    attention: Short | None = None
    speed: Short | None = None
    compile_s: Annotated[float, Field(ge=0)] | None = None
    notes: Annotated[tuple[Short, ...], Field(max_length=MAX_CELL_NOTES)] = ()
    ceiling: Ceiling | None = None
    gpu_index: int | None = None
    load_s: Annotated[float, Field(ge=0)] | None = None
    first_call_s: Annotated[float, Field(ge=0)] | None = None
    warmup_s: tuple[Annotated[float, Field(ge=0)], ...] = ()
    machine_speed: Annotated[tuple[SpeedProbe, ...], Field(max_length=MAX_PROBES)] = ()
    samples: tuple[Sample, ...] = ()
    memory: Memory = Memory()
    energy: Energy | None = None
    quality: AnyQuality | None = None
    trace: Trace = Trace()
    missing: dict[str, str] = {}

    @property
    def whole_steps(self) -> int:
        """Return how many steps a whole call takes; as many as asked for where nobody has told."""
        return self.num_steps or self.request.steps

    @property
    def without_figures(self) -> str:
        """Return why it has no figures, "" where it has."""
        if self.status != "ok":
            return self.status
        return "" if self.samples else "no samples"
