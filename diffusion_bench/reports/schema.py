"""What a report holds: a JSON Lines file, a header line, then one line a measured cell.

Raw samples are stored, statistics are computed when read (`stats.py`). A metric that could not be
measured is `null`, with its reason under `missing`. No host or user name is stored.

Format history
    1   first version
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from diffusion_bench.records import ImageRequest, Memory, Record, Stages, Trace, digest

SCHEMA_VERSION: Final = 1
PROTOCOL_VERSION = 1  # how cells are measured; figures of two protocols are not compared

Status = Literal["ok", "oom", "failed", "cancelled"]
Short = Annotated[str, Field(max_length=500)]


class GpuCard(Record):
    """One GPU of the machine. `uuid_hash` tells two equal cards apart without naming them."""

    index: int
    name: Short
    uuid_hash: Short | None = None
    memory_total_mib: float | None = None
    power_limit_w: float | None = None
    driver: Short | None = None


class Machine(Record):
    """The hardware and operating system a report was measured on."""

    os: Short
    architecture: Short
    cpu: Short
    cores_physical: int | None = None
    cores_logical: int
    ram_mib: float
    gpus: tuple[GpuCard, ...] = ()
    no_gpu: Short | None = None


class Software(Record):
    """The versions that decide speed. `torch_threads` is the number of CPU threads torch used."""

    python: Short
    torch: Short | None = None
    cuda: Short | None = None
    diffusers: Short | None = None
    transformers: Short | None = None
    torch_threads: int | None = None


class Plan(Record):
    """What the sweep set out to do: its cells, in the order in which they are measured."""

    name: Short
    description: Annotated[str, Field(max_length=2000)] = ""
    device: Short
    warmups: Annotated[int, Field(ge=0)]
    repeats: Annotated[int, Field(ge=1)]
    cells: tuple[ImageRequest, ...]


class Header(Record):
    """The first line of a report."""

    kind: Literal["header"] = "header"
    schema_version: Literal[1] = SCHEMA_VERSION
    protocol_version: int = PROTOCOL_VERSION
    tool_version: Short
    report_id: Short
    created_utc: Short
    machine: Machine
    software: Software
    plan: Plan

    def environment_id(self) -> str:
        """Return 16 hexadecimal digits that name the machine and software, not the work."""
        environment = {
            "machine": self.machine.model_dump(mode="json"),
            "software": self.software.model_dump(mode="json"),
            "protocol": self.protocol_version,
        }
        return digest(environment)


class Sample(Record):
    """One timed repeat: the whole call, its stages, and every denoising step."""

    wall_s: Annotated[float, Field(gt=0)]
    stages: Stages
    step_s: tuple[float, ...]
    energy_j: float | None = None


class Energy(Record):
    """The energy of one GPU over all timed repeats of a cell together, in joules.

    Kept apart from the samples because counters move in tenths of a second: a window that is too
    short for one repeat may do for all of them. `method` is how it was measured.
    """

    total_j: Annotated[float, Field(ge=0)]
    window_s: Annotated[float, Field(gt=0)]
    method: Short


class Cell(Record):
    """One measured cell: a request, what happened, and the raw samples.

    `first_call_s` is the first call of this shape in its process, `load_s` the loading of the
    model, both `None` where an earlier cell paid for them. `missing` gives the reason for every
    metric that is `None`.
    """

    kind: Literal["cell"] = "cell"
    cell_id: Short
    request: ImageRequest
    order: Annotated[int, Field(ge=0)]
    started_utc: Short
    status: Status
    message: Annotated[str, Field(max_length=4000)] = ""
    load_s: float | None = None
    first_call_s: float | None = None
    warmup_s: tuple[float, ...] = ()
    samples: tuple[Sample, ...] = ()
    memory: Memory = Memory()
    energy: Energy | None = None
    trace: Trace = Trace()
    missing: dict[str, str] = {}


class Report(Record):
    """A report as read back: header, cells (the last line of each cell id), notes about damage."""

    header: Header
    cells: tuple[Cell, ...] = ()
    notes: tuple[str, ...] = ()
    source: str = ""
