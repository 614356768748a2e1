"""One prompt over a grid of samplers, guidance, steps and seeds, with the time of each picture."""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_bench.backends.samplers import TITLES, check_sampler
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.records import Generation, ImageRequest, Step
from diffusion_bench.ui.pictures.contact_sheet import Sheet, draw_sheet
from diffusion_bench.ui.pictures.drawing import Drawing, save_pictures
from diffusion_bench.ui.pictures.limits import check_limits, check_model

ROW_AXES = ("sampler", "guidance_scale")
COLUMN_AXES = ("steps", "seed")
MAX_CELLS, SHARED_CELLS = 60, 12
MAX_AXIS_TEXT = 200  # characters of a list of numbers
MAX_PIXELS = 64 * 2**20  # of all pictures: they are in memory until the sheet is drawn
WARMUP_STEPS = 2  # of a picture that is thrown away: the first one of a process is slower
WORDS = {"guidance_scale": "guidance {:g}", "steps": "{} steps", "seed": "seed {}"}
# What changes a picture and is in no sweep.
NOT_IN_SWEEPS = ("guidance_rescale", "variation_strength", "noise_seed")

Values = Mapping[str, tuple[Any, ...]]


class Grid(NamedTuple):
    """A request, and the values that take the place of its own along the axes."""

    request: ImageRequest
    axes: Values

    @property
    def rows(self) -> list[dict[str, Any]]:
        """Return what each row changes."""
        return _product(self.axes, ROW_AXES)

    @property
    def columns(self) -> list[dict[str, Any]]:
        """Return what each column changes."""
        return _product(self.axes, COLUMN_AXES)

    def requests(self) -> list[ImageRequest]:
        """Return the request of each cell, row by row; raise ValueError for one that cannot be."""
        return [
            _changed(self.request, row | column)
            for row, column in itertools.product(self.rows, self.columns)
        ]


class CompareView(NamedTuple):
    """What the page shows next; `None` leaves what is there. `pictures` have their captions."""

    pictures: list[tuple[str, str]] | None = None
    done: int | None = None
    total: int = 0
    columns: int = 1
    status: str | None = None
    sheet: str | None = None
    sweep: str | None = None


class Comparing:
    """Draws grids."""

    def __init__(self, drawing: Drawing) -> None:
        self._drawing = drawing

    def grid(self, values: Mapping[str, Any], axes: Mapping[str, Any]) -> Grid:
        """Return the grid of the page's fields; raise ValueError for one that cannot be drawn.

        `axes` are a list of samplers and texts of numbers; an empty one is the field's own value.
        """
        own = dict(values) | {"batch": 1}
        given = {name: axis_values(name, axes.get(name)) for name in (*ROW_AXES, *COLUMN_AXES)}
        request = self._drawing.to_request(own)
        filled = {name: each or (getattr(request, name),) for name, each in given.items()}
        grid = Grid(request, filled)
        most = SHARED_CELLS if self._drawing.shared else MAX_CELLS
        # Counted before they are made: two long lists multiply to more than memory holds.
        rows, columns = (_count(filled, names) for names in (ROW_AXES, COLUMN_AXES))
        if rows * columns > most:
            raise ValueError(
                f"{rows} rows of {columns} pictures are more than {most}; shorten a list"
            )
        requests = grid.requests()
        if len(requests) * request.amount > MAX_PIXELS:
            raise ValueError(f"more than {MAX_PIXELS >> 20} megapixels together; make them smaller")
        entry = check_model(request.model, shared=self._drawing.shared)
        for each in requests:
            check_sampler(entry, each.sampler, each.steps)
            if self._drawing.shared:
                check_limits(each)
        return grid

    def draw(
        self,
        values: Mapping[str, Any],
        axes: Mapping[str, Any],
        kept: list[CompareView] | None = None,
    ) -> Iterator[CompareView]:
        """Draw a grid, yielding what to show; closing the iterator stops at the next step.

        However it ends, what is drawn by then is saved as one picture: its view goes into `kept`.
        """
        kept = [] if kept is None else kept
        grid = self.grid(values, axes)
        requests = grid.requests()
        drawn: list[Generation] = []
        shown: list[tuple[str, str]] = []
        total, columns = len(requests), len(grid.columns)
        parameters = bool(values.get("parameters", True))
        yield CompareView(
            pictures=[], done=0, total=total, columns=columns, status="Starting: a short warm-up."
        )
        warm_up = requests[0].model_copy(update={"steps": WARMUP_STEPS})
        with (
            self._drawing.outbox.lease(long=True) as folder,
            closing(self._drawing.watch([warm_up, *requests])) as events,
        ):
            try:
                for event in events:
                    if isinstance(event, Step):
                        yield CompareView(status=_step_words(event, len(drawn), total))
                    elif isinstance(event, str):
                        yield CompareView(status=event)
                    elif isinstance(event, tuple) and event[0] > 0:
                        drawn.append(event[1])
                        path = _save(event[1], folder, len(drawn), parameters=parameters)
                        shown.append((path, caption(grid, event[1])))
                        yield CompareView(
                            pictures=list(shown), done=len(drawn), total=total, columns=columns
                        )
                    else:
                        yield CompareView()  # a heartbeat: Gradio stops a grid only where it yields
            finally:
                if drawn:
                    kept.append(self._saved(grid, drawn, shown, folder))
        yield kept[-1]

    def _saved(
        self,
        grid: Grid,
        drawn: Sequence[Generation],
        shown: list[tuple[str, str]],
        folder: Path,
    ) -> CompareView:
        sheet = folder / "comparison.png"
        draw_sheet(sheet_of(grid, drawn)).save(sheet)
        sweep = self._drawing.outbox.place("comparison.toml", sweep_text(grid))
        total_s = sum(generation.wall_s for generation in drawn)
        return CompareView(
            pictures=shown,
            done=len(drawn),
            total=len(drawn),
            columns=len(grid.columns),
            status=f"{len(drawn)} pictures in {total_s:.1f} s on {drawn[0].device}. Each was drawn "
            "once: for times to rely on, run the sweep.",
            sheet=str(sheet),
            sweep=sweep,
        )


def axis_values(name: str, given: Any) -> tuple[Any, ...]:
    """Return the values of an axis, each once: from a list, or from the numbers in a text.

    Where semicolons part numbers that have fractions, a comma is a decimal one: "3,5; 7".
    """
    if not isinstance(given, str):
        return tuple(dict.fromkeys(given or ()))
    if len(given) > MAX_AXIS_TEXT:
        raise ValueError(f"{name}: a list of more than {MAX_AXIS_TEXT} characters; shorten it")
    make = float if name == "guidance_scale" else int
    if make is float and ";" in given:
        given = re.sub(r"(?<=\d),(?=\d)", ".", given)
    words = [word for word in re.split(r"[,;\s]+", given) if word]
    try:
        return tuple(dict.fromkeys(make(word) for word in words))
    except ValueError:
        raise ValueError(f"{name}: {given!r:.60} is no list of numbers, as in 10, 20, 50") from None


def caption(grid: Grid, generation: Generation) -> str:
    """Return what stands under a picture: the time it took, and its values where they vary."""
    varied = [name for name, values in grid.axes.items() if len(values) > 1]
    words = _words({name: getattr(generation.request, name) for name in varied})
    return f"{generation.wall_s:.2f} s" + (f": {words}" if words else "")


def sheet_of(grid: Grid, drawn: Sequence[Generation]) -> Sheet:
    """Return a grid, drawn row by row, as a sheet."""
    across = len(grid.columns)
    return Sheet(
        title=f"{grid.request.prompt} ({grid.request.model})",
        rows=[_words(row) for row in grid.rows],
        columns=[_words(column) for column in grid.columns],
        cells={
            divmod(number, across): (each.images[0], f"{each.wall_s:.2f} s")
            for number, each in enumerate(drawn)
        },
        footer=f"{grid.request.width}x{grid.request.height}, {grid.request.precision}, on "
        f"{drawn[0].device}; each drawn once"
        if drawn
        else "",
    )


def sweep_text(grid: Grid) -> str:
    """Return the grid as the TOML of a sweep that measures it; raise ValueError if none can."""
    request = grid.request
    # A sweep takes an eta above 0 for these two only, and drops it for DDPM as a grid does.
    eta_is_told = set(grid.axes["sampler"]) <= {"ddim", "ddpm"}
    axes: dict[str, Any] = {
        "model": [request.model],
        "sampler": list(grid.axes["sampler"]),
        "eta": [request.eta if eta_is_told else 0.0],
        "steps": list(grid.axes["steps"]),
        "resolution": [f"{request.width}x{request.height}"],
        "precision": [request.precision],
        "speed": [str(request.speed)],
        "guidance_scale": list(grid.axes["guidance_scale"]),
        "seed": list(grid.axes["seed"]),
    }
    lines = ['name = "comparison"', "repeats = 3", f"prompt = {_toml(request.prompt)}"]
    lines.append(f"negative_prompt = {_toml(request.negative_prompt)}")
    for name in NOT_IN_SWEEPS if eta_is_told else (*NOT_IN_SWEEPS, "eta"):
        if getattr(request, name):
            lines.append(f"# {name} was {getattr(request, name)}: no setting of a sweep")
    lines += ["", "[axes]", *(f"{name} = {_toml(values)}" for name, values in axes.items())]
    text = "\n".join(lines) + "\n"
    parse_sweep(text)
    return text


def _toml(value: Any) -> str:
    # A JSON string or list is one of TOML, but for DEL, which TOML wants written as an escape.
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _count(axes: Values, names: Sequence[str]) -> int:
    return math.prod(len(axes[name]) for name in names)


def _product(axes: Values, names: Sequence[str]) -> list[dict[str, Any]]:
    values = (axes[name] for name in names)
    return [dict(zip(names, each, strict=True)) for each in itertools.product(*values)]


def _changed(request: ImageRequest, values: Mapping[str, Any]) -> ImageRequest:
    fields = request.model_dump() | dict(values)
    if fields["sampler"] != "ddim":
        fields["eta"] = 0.0
    if fields["guidance_scale"] <= 1:
        fields["guidance_rescale"] = 0.0
    return ImageRequest.model_validate(fields)


def _words(values: Mapping[str, Any]) -> str:
    return ", ".join(
        TITLES[value] if name == "sampler" else WORDS[name].format(value)
        for name, value in values.items()
    )


def _step_words(step: Step, drawn: int, total: int) -> str:
    return f"Picture {drawn + 1} of {total}, step {step.index + 1} of {step.num_steps}."


def _save(generation: Generation, folder: Path, number: int, *, parameters: bool) -> str:
    own = folder / f"{number:03}"
    own.mkdir()
    return save_pictures(generation, own, parameters=parameters)[0].path
