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
    7   the machine's own speed by other products, before and after every visit of a cell; of how
        many calls a cell's energy is, where it is not that of the timed ones; what other programs
        did while a cell ran; the calls of visits before one that failed
    8   what was measured of candidates of a cell of speech, where a plan asks for it
"""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal, Self

from pydantic import Field, model_validator

from diffusion_bench.records import (
    DeviceShare,
    ImageRequest,
    MachineState,
    Memory,
    OtherLoad,
    Record,
    Request,
    Stage,
    Trace,
    digest,
)
from diffusion_bench.reports.schema_cell import (
    MAX_CELL_NOTES,
    Ceiling,
    Cell,
    Energy,
    Extrapolation,
    Label,
    Sample,
    Status,
    StopReason,
    Sustained,
    Visit,
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

SCHEMA_VERSION: Final = 8
PROTOCOL_VERSION = 2  # how cells are measured; figures of two protocols are not compared

SharedLabel = Label | Literal["one processor"]  # the devices are one: a trial, no measure of two


class Header(Record):
    """The first line of a report."""

    kind: Literal["header"] = "header"
    schema_version: Literal[8] = SCHEMA_VERSION
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
    `others` is what other programs did while all of them ran.
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
    others: OtherLoad | None = None
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
    """A report as read back: header, cells (the last line of each cell id), notes about damage.

    Cells are in the plan's order; `written` are their ids in the order of the file's lines.
    """

    header: Header
    cells: tuple[Cell, ...] = ()
    fits: tuple[Fit, ...] = ()
    limits: tuple[Limit, ...] = ()
    shared: tuple[SharedCell, ...] = ()
    written: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""

    @property
    def measured(self) -> tuple[Cell | SharedCell, ...]:
        """Return all cells, those of one device and those of several."""
        return (*self.cells, *self.shared)
