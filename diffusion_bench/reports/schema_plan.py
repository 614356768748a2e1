"""What a sweep set out to do, as the header of its report has it."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from diffusion_bench.records import AnyQualityPlan, DevicesPlan, Record, Request
from diffusion_bench.reports.schema_machine import Short

MAX_PLANNED, MAX_MODELS = 100_000, 1_000  # more than any sweep has: a file is anybody's


class StopRule(Record):
    """When the repeats of a cell may end, after the plan's least number of them.

    A cell is stable once it was timed for `min_time_s` together and the interval of its median
    reaches at most `noise` of the median to either side. It is given up at `max_time_s` or
    `max_repeats`, whichever comes first.
    """

    noise: Annotated[float, Field(gt=0, le=1)] = 0.03
    min_time_s: Annotated[float, Field(ge=0, le=3600)] = 0.5
    max_time_s: Annotated[float, Field(gt=0, le=86_400)] = 60.0
    max_repeats: Annotated[int, Field(ge=1, le=1000)] = 100


class ModelFacts(Record):
    """What a model's name stood for when it was measured; part of every cell's identity.

    `revision` is the commit of a hub model, or a digest of the files of a folder. `schedule` is a
    digest of the noise schedule's settings that the model came with.
    """

    name: Annotated[str, Field(max_length=500)]
    revision: Short | None = None
    pipeline: Short | None = None
    schedule: Short | None = None
    missing: dict[str, str] = {}


class Plan(Record):
    """What the sweep set out to do: its cells, in the order in which they are measured.

    `repeats` is the number of timed calls of a cell, the least one where there is a `stop` rule.
    They are spread over `rounds` through all cells; cells that are not done then get more rounds.
    Cells of more than `measured_steps` steps are timed on that many and extrapolated. With
    `devices` every cell is measured on all of them at once, in each way of sharing it.
    `gpu_uuid_hash` is of the card that `device` was, whose number for torch is not the driver's.
    """

    name: Short
    description: Annotated[str, Field(max_length=2000)] = ""
    device: Short
    gpu_uuid_hash: Short | None = None
    warmups: Annotated[int, Field(ge=0)]
    repeats: Annotated[int, Field(ge=1)]
    rounds: Annotated[int, Field(ge=1)] = 1
    stop: StopRule | None = None
    measured_steps: Annotated[int, Field(ge=2)] | None = None
    time_limit_s: Annotated[float, Field(gt=0)] | None = None
    emulated_memory_mib: Annotated[float, Field(gt=0)] | None = None
    sustain_s: Annotated[float, Field(gt=0)] | None = None
    quality: AnyQualityPlan | None = None
    devices: DevicesPlan | None = None
    models: Annotated[tuple[ModelFacts, ...], Field(max_length=MAX_MODELS)] = ()
    cells: Annotated[tuple[Request, ...], Field(max_length=MAX_PLANNED)]

    def revision(self, model: str) -> str | None:
        """Return the revision of a model of the plan, `None` where it is not known."""
        return {facts.name: facts.revision for facts in self.models}.get(model)
