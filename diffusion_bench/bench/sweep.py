"""A sweep: axes in a TOML file, and the requests that their product makes."""

from __future__ import annotations

import itertools
import math
import tomllib
from pathlib import Path
from typing import Annotated, Any

from pydantic import ByteSize, Field, ValidationError

from diffusion_bench.records import (
    BUNDLED_MODEL,
    ImageRequest,
    PrecisionName,
    Record,
    SamplerName,
    Seed,
    explain,
)
from diffusion_bench.reports.schema import Plan, StopRule

MAX_CELLS = 10_000
TIME_LIMIT_S = 1800.0
LONGEST_CELL_S = 86_400.0
SLOWEST_FIRST = (
    "model",
    "precision",
    "guidance_scale",
    "resolution",
    "batch",
    "seed",
    "steps",
    "eta",
    "sampler",
)

Resolution = int | Annotated[str, Field(pattern=r"^\d{1,5}x\d{1,5}$")]


class Axes(Record):
    """The values of each axis. `resolution` is a side, or "WIDTHxHEIGHT"."""

    model: Annotated[tuple[str, ...], Field(min_length=1)] = (BUNDLED_MODEL,)
    sampler: Annotated[tuple[SamplerName, ...], Field(min_length=1)] = ("ddim", "ddpm")
    eta: Annotated[tuple[float, ...], Field(min_length=1)] = (0.0,)
    steps: Annotated[tuple[int, ...], Field(min_length=1)] = (20,)
    resolution: Annotated[tuple[Resolution, ...], Field(min_length=1)] = (64,)
    batch: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    precision: Annotated[tuple[PrecisionName, ...], Field(min_length=1)] = ("fp32",)
    guidance_scale: Annotated[tuple[float, ...], Field(min_length=1)] = (3.0,)
    seed: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)


class Sweep(Record):
    """What to measure. `warmups` untimed and `repeats` timed calls a cell.

    The calls of a cell are spread over `rounds` through the whole sweep, so that a machine whose
    speed drifts within minutes does so within every cell. With a `stop` rule `repeats` is the least
    number of calls. Cells of more than `measured_steps` steps are timed on so many and
    extrapolated. A call, or the loading of a model, that takes longer than `time_limit_s` is ended.
    With `emulated_memory` the device gives out no more than that. `sustain_s` adds so many seconds
    of calls to each cell.
    """

    name: Annotated[str, Field(min_length=1, max_length=100)]
    description: Annotated[str, Field(max_length=2000)] = ""
    warmups: Annotated[int, Field(ge=1, le=100)] = 1
    repeats: Annotated[int, Field(ge=1, le=1000)] = 3
    rounds: Annotated[int, Field(ge=1, le=100)] = 1
    stop: StopRule | None = None
    measured_steps: Annotated[int, Field(ge=2, le=1000)] | None = None
    time_limit_s: Annotated[float, Field(gt=0, le=86_400)] = TIME_LIMIT_S
    emulated_memory: Annotated[ByteSize, Field(ge=2**20, le=2**50)] | None = None
    sustain_s: Annotated[float, Field(gt=0, le=86_400)] | None = None
    prompt: str = "a cat on a blue background"
    negative_prompt: str = ""
    axes: Axes = Axes()

    def requests(self) -> tuple[ImageRequest, ...]:
        """Return the cells, each once.

        The sampler varies fastest, so that a slow drift of the machine favours none. `eta` belongs
        to DDIM alone. Raises ValueError for values that no request may have.
        """
        axes = [getattr(self.axes, name) for name in SLOWEST_FIRST]
        # Counted before they are made: a few long axes multiply to more than memory holds.
        if math.prod(map(len, axes)) > MAX_CELLS:
            raise ValueError(f"the sweep has more than {MAX_CELLS} cells; shorten an axis")
        grid = (
            dict(zip(SLOWEST_FIRST, values, strict=True)) for values in itertools.product(*axes)
        )
        return tuple(dict.fromkeys(map(self._request, grid)))

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

    def _request(self, values: dict[str, Any]) -> ImageRequest:
        width, height = _sides(values.pop("resolution"))
        if values["sampler"] == "ddpm":
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


def sweep_of(plan: Plan) -> Sweep:
    """Return the sweep that a report's plan came from; raise ValueError if no grid makes it."""
    cells = plan.cells
    if not cells:
        raise ValueError("this report plans no cells")
    ddim_etas = tuple(dict.fromkeys(cell.eta for cell in cells if cell.sampler == "ddim"))

    def values(name: str) -> tuple[Any, ...]:
        return tuple(dict.fromkeys(getattr(cell, name) for cell in cells))

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
        prompt=cells[0].prompt,
        negative_prompt=cells[0].negative_prompt,
        axes=Axes(
            model=values("model"),
            sampler=values("sampler"),
            eta=ddim_etas or (0.0,),
            steps=values("steps"),
            resolution=tuple(dict.fromkeys(f"{cell.width}x{cell.height}" for cell in cells)),
            batch=values("batch"),
            precision=values("precision"),
            guidance_scale=values("guidance_scale"),
            seed=values("seed"),
        ),
    )
    if sweep.requests() != cells:
        raise ValueError("this report was not made from axes, so it is resumed by its own program")
    return sweep


def _bytes(mib: float | None) -> ByteSize | None:
    return None if mib is None else ByteSize(mib * 2**20)


def parse_sweep(text: str, source: str = "sweep") -> Sweep:
    """Return the sweep a TOML text describes, its cells checked; raise ValueError in one line."""
    try:
        sweep = Sweep.model_validate(tomllib.loads(text))
        sweep.requests()
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{source} is not TOML: {error}") from None
    except ValidationError as error:
        raise ValueError(f"{source}: {explain(error)}") from None
    except RecursionError:
        raise ValueError(f"{source}: nested too deeply") from None
    except ValueError as error:  # too many cells, or an integer longer than Python converts
        raise ValueError(f"{source}: {error}") from None
    return sweep


def read_sweep(path: Path) -> Sweep:
    """Return the sweep in a file; raise ValueError for a file that cannot be read or used."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # editors on Windows add a mark
    except OSError as error:
        raise ValueError(f"cannot read {path}: {error.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError(f"cannot read {path}: it is not text") from None
    return parse_sweep(text, str(path))
