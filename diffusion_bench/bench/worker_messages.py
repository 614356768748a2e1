"""What a worker is asked and what it answers, a line of JSON each: commands in, events out."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, TypeAdapter

from diffusion_bench.bench.measure import Effort, Measurement
from diffusion_bench.records import AnyQuality, AnyQualityPlan, Record, Request, Stage, VoiceStage
from diffusion_bench.reports.schema import Ceiling


class Command(Record):
    """What the parent asks: measure one cell, a hub model at the revision that the plan names.

    With `quality`, pictures or speech are made and judged after the cell's last timed call. `speed`
    is what "auto" came to in earlier visits of the cell, in words: all its calls run at one.
    """

    request: Request
    effort: Effort
    revision: str | None = None
    speed: str | None = None
    quality: AnyQualityPlan | None = None


class Ready(Record):
    """The worker is up. `gpu_uuid` finds the device among NVML's; versions are those in use.

    `pid` is its own word for who it is: a virtual environment's python.exe starts another one.
    """

    event: Literal["ready"] = "ready"
    pid: int
    device: str
    gpu_uuid: str | None
    cuda: str | None
    torch_threads: int
    flags: dict[str, str]


class Loaded(Record):
    """A model was loaded; `load_s` is its cost, without that of finding the `ceiling`."""

    event: Literal["loaded"] = "loaded"
    load_s: float
    attention: str
    ceiling: Ceiling | None = None


class Alive(Record):
    """A warm-up, or a call or a loading of a trial of speeds, has ended: this is no hang."""

    event: Literal["alive"] = "alive"


class Repeated(Record):
    """So many timed repeats of the cell are done; where no more than before, it is sustained."""

    event: Literal["repeated"] = "repeated"
    done: int


class Measured(Record):
    """The cell is measured. Where `judging`, it is judged now, and `Judged` follows."""

    event: Literal["measured"] = "measured"
    measurement: Measurement
    judging: bool = False


class Judged(Record):
    """What was found in pictures or speech of the cell, or why nothing could be."""

    event: Literal["judged"] = "judged"
    quality: AnyQuality | None = None
    reason: Annotated[str, Field(max_length=400)] = ""


class Failed(Record):
    """The cell, or the worker's start, failed."""

    event: Literal["failed"] = "failed"
    status: Literal["oom", "crashed", "timeout", "failed"]
    message: str
    stage: Stage | VoiceStage | None = None
    asked_mib: float | None = None


Event = Ready | Loaded | Alive | Repeated | Measured | Judged | Failed
EVENTS: TypeAdapter[Event] = TypeAdapter(Event)
