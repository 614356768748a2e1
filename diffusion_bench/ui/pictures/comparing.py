"""One prompt over a grid of samplers, guidance, steps and seeds, with the time of each picture."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any, NamedTuple

from diffusion_bench.backends.samplers import check_sampler
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.records import Generation, ImageRequest, Step
from diffusion_bench.ui.grids import WARMUP_STEPS, Grid, axis_words, make_grid
from diffusion_bench.ui.pictures.contact_sheet import Sheet, draw_sheet
from diffusion_bench.ui.pictures.drawing import Drawing, save_pictures
from diffusion_bench.ui.pictures.limits import check_limits, check_model

MAX_CELLS, SHARED_CELLS = 60, 12
MAX_PIXELS = 64 * 2**20  # of all pictures: they are in memory until the sheet is drawn
# What changes a picture and is in no sweep.
NOT_IN_SWEEPS = ("guidance_rescale", "variation_strength", "noise_seed")


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

    def grid(self, values: Mapping[str, Any], axes: Mapping[str, Any]) -> Grid[ImageRequest]:
        """Return the grid of the page's fields; raise ValueError for one that cannot be drawn."""
        request = self._drawing.to_request(dict(values) | {"batch": 1})
        most = SHARED_CELLS if self._drawing.shared else MAX_CELLS
        grid = make_grid(request, axes, most, "pictures")
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
        grid: Grid[ImageRequest],
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


def caption(grid: Grid[ImageRequest], generation: Generation) -> str:
    """Return what stands under a picture: the time it took, and its values where they vary."""
    words = grid.varied(generation.request)
    return f"{generation.wall_s:.2f} s" + (f": {words}" if words else "")


def sheet_of(grid: Grid[ImageRequest], drawn: Sequence[Generation]) -> Sheet:
    """Return a grid, drawn row by row, as a sheet."""
    across = len(grid.columns)
    return Sheet(
        title=f"{grid.request.prompt} ({grid.request.model})",
        rows=[axis_words(row) for row in grid.rows],
        columns=[axis_words(column) for column in grid.columns],
        cells={
            divmod(number, across): (each.images[0], f"{each.wall_s:.2f} s")
            for number, each in enumerate(drawn)
        },
        footer=f"{grid.request.width}x{grid.request.height}, {grid.request.precision}, on "
        f"{drawn[0].device}; each drawn once"
        if drawn
        else "",
    )


def sweep_text(grid: Grid[ImageRequest]) -> str:
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


def _step_words(step: Step, drawn: int, total: int) -> str:
    return f"Picture {drawn + 1} of {total}, step {step.index + 1} of {step.num_steps}."


def _save(generation: Generation, folder: Path, number: int, *, parameters: bool) -> str:
    own = folder / f"{number:03}"
    own.mkdir()
    return save_pictures(generation, own, parameters=parameters)[0].path
