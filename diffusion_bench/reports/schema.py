"""What a report holds: a JSON Lines file, a header line, then one line a measured cell.

Raw samples are stored, statistics are computed when read (`stats.py`). A metric that could not be
measured is `null`, with its reason under `missing`. No host or user name is stored (`privacy.py`).

Format history
    1   first version
    2   why a cell stopped, totals extrapolated from fewer steps, the state of the machine before a
        cell, labels, failures with stage and bytes, net energy and its uncertainty, the models'
        revisions in a cell's identity, a fitted line a shape; every field of 1 is still there
    3   cells of speech: their request, stages and seconds of sound; pictures are as before
    4   when each call began in its trace, and what arithmetic and copying reach on a processor;
        at which speed a cell ran and how long torch compiled for it; the GPU it ran on; energy of a
        whole module; requests with a speed, pictures to start from, variations, other samplers
    5   what a scorer found in pictures of a cell, where a plan asks for it; notes of a cell
    6   cells on several devices at once, where a plan names them; the machine's own speed beside
        every visit of a cell; the hash of the card that a sweep ran on; how a card's power is read;
        the steps of a whole call; how many calls were sustained, where not all are kept
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from diffusion_bench.records import (
    MAX_PROBES,
    DeviceShare,
    ImageRequest,
    MachineState,
    Memory,
    Quality,
    Record,
    Request,
    SpeedProbe,
    Stage,
    Stages,
    Trace,
    VoiceStage,
    VoiceStages,
    digest,
)
from diffusion_bench.reports.schema_machine import GpuCard, Machine, Short, Software
from diffusion_bench.reports.schema_plan import ModelFacts, Plan, StopRule

__all__ = [
    "MAX_CELL_NOTES",
    "PROTOCOL_VERSION",
    "SCHEMA_VERSION",
    "Ceiling",
    "Cell",
    "DeviceJob",
    "Energy",
    "Extrapolation",
    "Fit",
    "GpuCard",
    "Header",
    "Label",
    "Limit",
    "Machine",
    "ModelFacts",
    "Plan",
    "Report",
    "Sample",
    "SharedCell",
    "SharedLabel",
    "Software",
    "Status",
    "StopReason",
    "StopRule",
    "Sustained",
    "Visit",
]

SCHEMA_VERSION: Final = 6
MAX_CELL_NOTES = 20
MAX_CALL_STEPS = 10_000  # a tenth of them may be asked for, and no sampler takes so many a step
PROTOCOL_VERSION = 2  # how cells are measured; figures of two protocols are not compared

Status = Literal["ok", "oom", "crashed", "timeout", "failed", "cancelled"]
StopReason = Literal["stable", "time cap", "repeat cap", "fixed count"]
Label = Literal["extrapolated", "emulated", "throttled", "contended", "on battery"]
SharedLabel = Label | Literal["one processor"]  # the devices are one: a trial, no measure of two


class Header(Record):
    """The first line of a report."""

    kind: Literal["header"] = "header"
    schema_version: Literal[6] = SCHEMA_VERSION
    protocol_version: int = PROTOCOL_VERSION
    tool_version: Short
    report_id: Short
    created_utc: Short
    machine: Machine
    software: Software
    plan: Plan

    def cell_id(self, request: Request, *, as_written: bool = False) -> str:
        """Return 16 hexadecimal digits that name all that decides a cell's work.

        The request and its model's revision. Where the latter is not known, as in reports of
        format 1, the request alone. With `as_written` it is named by all the fields that it
        was read with, as in reports that were begun before later fields were left out.
        """
        revision = self.plan.revision(request.model)
        if revision is None:
            return request.workload_id()
        written = request.model_dump(mode="json", exclude_unset=True) if as_written else None
        return digest({"request": written or request.named_fields(), "revision": revision})

    def shared_id(self, request: Request, share: DeviceShare, *, as_written: bool = False) -> str:
        """Return 16 hexadecimal digits that name a cell of the plan's devices and one share."""
        names = self.plan.devices.names if self.plan.devices else ()
        cell_id = self.cell_id(request, as_written=as_written)
        return digest({"cell": cell_id, "devices": names, "share": share})

    def planned_ids(self) -> tuple[str, ...]:
        """Return the names of all cells of the plan, in its order."""
        shares = self.plan.devices.share if self.plan.devices else ()
        if not shares:
            return tuple(map(self.cell_id, self.plan.cells))
        return tuple(self.shared_id(cell, share) for cell in self.plan.cells for share in shares)

    def environment(self) -> dict[str, Any]:
        """Return as JSON the machine, its software and how it measures, apart from the work."""
        return {
            "machine": self.machine.identity(),
            "software": self.software.model_dump(mode="json"),
            "protocol_version": self.protocol_version,
        }


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
    short for one repeat may do for all of them. `method` is how it was measured and `scope` of
    what. `net_j` is `total_j` less `idle_power_w`, the power before the cell, over the window.
    `uncertainty_j` bounds the error of `total_j` from the window's edges and the sensor.
    """

    total_j: Annotated[float, Field(ge=0)]
    window_s: Annotated[float, Field(gt=0)]
    method: Short
    scope: Literal["gpu", "module", "cpu package"] = "gpu"
    idle_power_w: Annotated[float, Field(ge=0)] | None = None
    net_j: float | None = None
    uncertainty_j: Annotated[float, Field(ge=0)] | None = None


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
    speed and how far its pictures are off. `attention` is the denoiser's
    implementation, as diffusers names it, and `ceiling` is measured beside the loading. `gpu_index`
    is the driver's number of the GPU that the cell ran on, as in header and trace.
    `throttle_share` is the share of the readings during the cell with each reason for lower clocks.
    A cell is measured in `visits`, one a round; `before` is the state of the machine before the
    first one that found it busy, else before the first, `machine_speed` its own speed before each,
    and `trace` is of the last. Without a `stop_reason` more calls are to come. `quality` is of
    pictures drawn after the last of them, where the plan asks for it. `missing` gives the reason
    for every metric that is `None`.
    """

    kind: Literal["cell"] = "cell"
    cell_id: Short
    request: Request
    order: Annotated[int, Field(ge=0)]
    started_utc: Short
    status: Status
    message: Annotated[str, Field(max_length=4000)] = ""
    stage: Stage | VoiceStage | None = None
    asked_mib: float | None = None
    labels: tuple[Label, ...] = ()
    stop_reason: StopReason | None = None
    extrapolation: Extrapolation | None = None
    num_steps: Annotated[int, Field(ge=1, le=MAX_CALL_STEPS)] | None = None
    visits: tuple[Visit, ...] = ()
    before: MachineState | None = None
    throttle_share: dict[str, float] = {}
    sustained: Sustained | None = None
    attention: Short | None = None
    speed: Short | None = None
    compile_s: Annotated[float, Field(ge=0)] | None = None
    notes: Annotated[tuple[Short, ...], Field(max_length=MAX_CELL_NOTES)] = ()
    ceiling: Ceiling | None = None
    gpu_index: int | None = None
    load_s: float | None = None
    first_call_s: float | None = None
    warmup_s: tuple[float, ...] = ()
    machine_speed: Annotated[tuple[SpeedProbe, ...], Field(max_length=MAX_PROBES)] = ()
    samples: tuple[Sample, ...] = ()
    memory: Memory = Memory()
    energy: Energy | None = None
    quality: Quality | None = None
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


class DeviceJob(Record):
    """What one device did of a shared cell. `seed` is that of its first picture.

    In one start it makes `calls` calls of `batch` pictures. `alone_s` are calls of the whole
    request while the other devices rest; `begin_s` and `end_s` are of each start, from the moment
    that all devices were to begin at. Memory and energy are of the starts, not of the calls alone.
    """

    device: Short
    gpu_index: int | None = None
    status: Status
    message: Annotated[str, Field(max_length=4000)] = ""
    stage: Stage | None = None
    asked_mib: float | None = None
    batch: Annotated[int, Field(ge=1)]
    calls: Annotated[int, Field(ge=1)] = 1
    seed: int
    load_s: Annotated[float, Field(ge=0)] | None = None
    alone_s: tuple[Annotated[float, Field(gt=0)], ...] = ()
    begin_s: tuple[Annotated[float, Field(ge=0)], ...] = ()
    end_s: tuple[Annotated[float, Field(gt=0)], ...] = ()
    memory: Memory = Memory()
    energy: Energy | None = None
    missing: dict[str, str] = {}

    @model_validator(mode="after")
    def _an_end_a_start(self) -> Self:
        if len(self.begin_s) != len(self.end_s):
            raise ValueError(f"{len(self.begin_s)} starts and {len(self.end_s)} ends of a job")
        return self


class SharedCell(Record):
    """One request on several devices at once, a job a device; see `DevicesPlan` for the shares.

    `status` is that of the first job that did not end well, and its `message` names the device.
    """

    kind: Literal["shared"] = "shared"
    cell_id: Short
    request: ImageRequest
    share: DeviceShare
    order: Annotated[int, Field(ge=0)]
    started_utc: Short
    status: Status
    message: Annotated[str, Field(max_length=4000)] = ""
    labels: tuple[SharedLabel, ...] = ()
    before: MachineState | None = None
    jobs: Annotated[tuple[DeviceJob, ...], Field(min_length=2)]
    trace: Trace = Trace()

    @property
    def wall_s(self) -> tuple[float, ...]:
        """Return the seconds of each start, from the common one to the end of the last device."""
        if self.status != "ok":
            return ()
        return tuple(max(ends) for ends in zip(*(job.end_s for job in self.jobs), strict=True))

    @property
    def without_figures(self) -> str:
        """Return why it has no figures, "" where it has."""
        return "" if self.wall_s else self.status

    @property
    def pictures(self) -> int:
        """Return the pictures that one start draws."""
        if self.share == "model":  # every card has a part in every picture
            return self.request.batch
        return sum(job.batch * job.calls for job in self.jobs)


class Fit(Record):
    """A line of time over steps, as the sweep found it at its end: fixed + per step x steps.

    `shape` names the cells, which differ in their steps only. `worst_residual` is the largest
    distance of a median from the line, as a share of it; `off_line` are the cells too far from it.
    """

    kind: Literal["fit"] = "fit"
    shape: Short
    fixed_s: float
    per_step_s: float
    worst_residual: float
    points: int
    off_line: tuple[Short, ...] = ()


class Limit(Record):
    """The largest value of one axis that fits, and the smallest that was seen not to.

    Found by trying: each value tried is a cell of the report. `request` is the rest of the work.
    """

    kind: Literal["limit"] = "limit"
    axis: Literal["resolution", "batch"]
    request: ImageRequest
    largest_fit: int | None
    smallest_misfit: int | None


class Report(Record):
    """A report as read back: header, cells (the last line of each cell id), notes about damage."""

    header: Header
    cells: tuple[Cell, ...] = ()
    fits: tuple[Fit, ...] = ()
    limits: tuple[Limit, ...] = ()
    shared: tuple[SharedCell, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""

    @property
    def measured(self) -> tuple[Cell | SharedCell, ...]:
        """Return all cells, those of one device and those of several."""
        return (*self.cells, *self.shared)
