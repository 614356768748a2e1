"""A sweep: axes in a TOML file, and the requests that their product makes."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import ByteSize, Field, ValidationError, model_validator

from diffusion_bench.bench.axes import Axes, Resolution, VoiceAxes
from diffusion_bench.records import (
    AnyQualityPlan,
    DevicesPlan,
    ImageRequest,
    MemoryBytes,
    QualityPlan,
    Record,
    Request,
    VoiceQualityPlan,
    VoiceRequest,
)
from diffusion_bench.records.toml_text import explain_toml, parse_toml, read_text
from diffusion_bench.reports.privacy import short_plan, without_home
from diffusion_bench.reports.schema import Plan, StopRule

MAX_CELLS = 10_000
TIME_LIMIT_S = 1800.0
LONGEST_CELL_S = 86_400.0
SMALLEST_VRAM, LARGEST_VRAM = ByteSize(2**20), ByteSize(2**50)


class Sweep(Record):
    """What to measure. `warmups` untimed and `repeats` timed calls a cell.

    The calls of a cell are spread over `rounds` through the whole sweep, so that a machine whose
    speed drifts within minutes does so within every cell. With a `stop` rule `repeats` is the least
    number of calls. Cells of more than `measured_steps` steps are timed on so many and
    extrapolated. A call, or the loading of a model, that takes longer than `time_limit_s` is ended.
    With `emulated_memory` the device gives out no more than that. `sustain_s` adds so many seconds
    of calls to each cell. With `voice_axes` it is a sweep of speech, and `axes` are not used; each
    of its steps is timed. With a `quality` table pictures of each cell are drawn and judged after
    its timed calls, outside of all that is measured; with `voice_quality` it is speech. With
    `devices` each request is measured on all of them at once, `repeats` times in each way of
    sharing it.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(max_length=2000)] = ""
    warmups: Annotated[int, Field(ge=1, le=100)] = 1
    repeats: Annotated[int, Field(ge=1, le=1000)] = 3
    rounds: Annotated[int, Field(ge=1, le=100)] = 1
    stop: StopRule | None = None
    measured_steps: Annotated[int, Field(ge=2, le=1000)] | None = None
    time_limit_s: Annotated[float, Field(gt=0, le=86_400)] = TIME_LIMIT_S
    emulated_memory: Annotated[MemoryBytes, Field(ge=SMALLEST_VRAM, le=LARGEST_VRAM)] | None = None
    sustain_s: Annotated[float, Field(gt=0, le=LONGEST_CELL_S)] | None = None
    prompt: str = "a cat on a blue background"
    negative_prompt: str = ""
    axes: Axes = Axes()
    voice_axes: VoiceAxes | None = None
    quality: QualityPlan | None = None
    voice_quality: VoiceQualityPlan | None = None
    devices: DevicesPlan | None = None

    @model_validator(mode="after")
    def _whole_calls_of_pictures_on_several_devices(self) -> Self:
        if self.devices is None:
            return self
        unfit = ("stop", "measured_steps", "sustain_s", "voice_axes", "quality")
        given = [name for name in unfit if getattr(self, name) is not None]
        given += ["rounds"] if self.rounds != 1 else []
        if given:
            raise ValueError(
                "several devices are measured in whole calls of pictures, `repeats` of them; "
                f"leave out {', '.join(given)}"
            )
        if "batch" in self.devices.share and min(self.axes.batch) < len(self.devices.names):
            raise ValueError(
                f"a batch of {min(self.axes.batch)} cannot be split over "
                f"{len(self.devices.names)} devices; make batch larger, or leave "
                '"batch" out of share'
            )
        return self

    @model_validator(mode="after")
    def _quality_of_what_is_made(self) -> Self:
        if self.quality is not None and self.voice_axes is not None:
            raise ValueError(
                "quality is judged of pictures; a sweep of speech has none: its table is "
                "[voice_quality]"
            )
        if self.voice_quality is not None and self.voice_axes is None:
            raise ValueError(
                "voice_quality is measured of speech; a sweep of pictures has none: its table is "
                "[quality]"
            )
        return self

    @property
    def judging(self) -> AnyQualityPlan | None:
        """Return what of each cell is judged after its timed calls, if anything is."""
        return self.quality or self.voice_quality

    @property
    def models(self) -> tuple[str, ...]:
        """Return the models that will be measured."""
        return (self.voice_axes or self.axes).model

    @property
    def num_cells(self) -> int:
        """Return how many cells a report of the sweep will have."""
        return len(self.requests()) * (len(self.devices.share) if self.devices else 1)

    def requests(self, most: int = MAX_CELLS) -> tuple[Request, ...]:
        """Return the cells, each once.

        The sampler varies fastest, so that a slow drift of the machine favours none. `eta` belongs
        to DDIM alone. A model in the home folder is named by a path from `~`. Raises ValueError
        for values that no request may have, and for axes of more than `most` combinations.
        """
        axes = self.voice_axes or self.axes
        names = axes.slowest_first()
        # Counted before they are made: a few long axes multiply to more than memory holds.
        if math.prod(map(axes.count, names)) > most:
            raise ValueError(f"the sweep has more than {most} cells; shorten an axis")
        values = [axes.values(name) for name in names]
        grid = (dict(zip(names, each, strict=True)) for each in itertools.product(*values))
        make = self._image_request if self.voice_axes is None else _voice_request
        return tuple(dict.fromkeys(without_home(make(each)) for each in grid))

    @property
    def emulated_memory_mib(self) -> float | None:
        """Return the memory the device is made to have, `None` for all it has."""
        return None if self.emulated_memory is None else self.emulated_memory / 2**20

    def exhaustive(self) -> Sweep:
        """Return the sweep with every step of every call timed, and no cell cut short by its time.

        A stop rule still says when the calls of a cell are enough.
        """
        stop = self.stop and self.stop.model_copy(update={"max_time_s": LONGEST_CELL_S})
        return self.model_copy(update={"measured_steps": None, "stop": stop})

    def _image_request(self, values: dict[str, Any]) -> ImageRequest:
        width, height = _sides(values.pop("resolution"))
        if values["sampler"] != "ddim":
            values["eta"] = 0.0
        return ImageRequest(
            prompt=self.prompt,
            negative_prompt=self.negative_prompt,
            width=width,
            height=height,
            **values,
        )


def _sides(resolution: Resolution) -> tuple[int, int]:
    width, _, height = str(resolution).partition("x")
    return int(width), int(height or width)


def _voice_request(values: dict[str, Any]) -> VoiceRequest:
    if values["sampler"] != "ddim":
        values["eta"] = 0.0
    return VoiceRequest(**values)


def sweep_of(plan: Plan) -> Sweep:
    """Return the sweep that a report's plan came from; raise ValueError if no grid makes it."""
    if not plan.cells:
        raise ValueError("this report plans no cells")
    sweep = Sweep(
        name=plan.name,
        description=plan.description,
        warmups=plan.warmups,
        repeats=plan.repeats,
        rounds=plan.rounds,
        stop=plan.stop,
        measured_steps=plan.measured_steps,
        time_limit_s=plan.time_limit_s or TIME_LIMIT_S,
        emulated_memory=_bytes(plan.emulated_memory_mib),
        sustain_s=plan.sustain_s,
        devices=plan.devices,
        **_judged(plan),
        **_grid_of(plan.cells),
    )
    if sweep.requests() != short_plan(plan).cells:
        raise ValueError("this report was not made from axes, so it is resumed by its own program")
    return sweep


def _grid_of(cells: Sequence[Request]) -> dict[str, Any]:
    """Return the axes, and the words of pictures, that hold every cell."""
    spoken = [cell for cell in cells if isinstance(cell, VoiceRequest)]
    drawn = [cell for cell in cells if isinstance(cell, ImageRequest)]
    if spoken:
        return {"voice_axes": VoiceAxes.model_validate(_values(spoken, VoiceAxes))}
    axes = _values(drawn, Axes) | {
        "resolution": tuple(dict.fromkeys(f"{cell.width}x{cell.height}" for cell in drawn)),
    }
    return {
        "prompt": drawn[0].prompt,
        "negative_prompt": drawn[0].negative_prompt,
        "axes": Axes.model_validate(axes),
    }


def _judged(plan: Plan) -> dict[str, AnyQualityPlan]:
    if plan.quality is None:
        return {}
    spoken = isinstance(plan.quality, VoiceQualityPlan)
    return {"voice_quality" if spoken else "quality": plan.quality}


def _values(cells: Sequence[Request], axes: type[Axes] | type[VoiceAxes]) -> dict[str, Any]:
    """Return the values of each axis in the order in which the cells have them."""
    names = [name for name in axes.model_fields if hasattr(cells[0], name)]
    values = {name: tuple(dict.fromkeys(getattr(c, name) for c in cells)) for name in names}
    etas = tuple(dict.fromkeys(cell.eta for cell in cells if cell.sampler == "ddim"))
    return values | {"eta": etas or (0.0,)}


def _bytes(mib: float | None) -> ByteSize | None:
    return None if mib is None else ByteSize(mib * 2**20)


def parse_sweep(text: str, source: str = "sweep", *, most_cells: int = MAX_CELLS) -> Sweep:
    """Return the sweep a TOML text describes, its cells checked; raise ValueError in one line."""
    document = parse_toml(text, source)
    try:
        sweep = Sweep.model_validate(document)
        sweep.requests(most_cells)
    except ValidationError as error:
        raise ValueError(f"{source}: {explain_toml(error, Sweep, document)}") from None
    except ValueError as error:  # too many cells
        raise ValueError(f"{source}: {error}") from None
    return sweep


def read_sweep(path: Path) -> Sweep:
    """Return the sweep in a file; raise ValueError for a file that cannot be read or used."""
    return parse_sweep(read_text(path, "TOML file"), str(path))
