"""Lines of time over steps as a report stores them at a sweep's end, and the cells off them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from diffusion_bench.reports.schema import Cell, Fit
from diffusion_bench.reports.stats import StepFit, fit_steps, median_s, without_steps

MOST_POINTS = 20  # no sweep has as many step counts; trying each would take a square of them
OFF_LINE_ABOVE = 0.10  # of the line; noise that a cell may have without a warning (`stats.py`)


def off_line(cells: Sequence[Cell], fit: StepFit) -> tuple[str, ...]:
    """Return the ids of the cells whose median is more than 10 percent of the line away from it."""
    return tuple(cell.cell_id for cell in cells if abs(_beyond(cell, fit)) > OFF_LINE_ABOVE)


def beyond_lines(cells: Sequence[Cell]) -> dict[str, float]:
    """Return by id how far cells off their line are beyond it, as a share: below 0 faster."""
    known = {cell.cell_id: cell for cell in cells}
    return {name: _beyond(known[name], line) for line in fit_lines(cells) for name in line.off_line}


def above_line(cells: Sequence[Cell]) -> set[str]:
    """Return the ids of the cells that are off their line for being slower than it."""
    return {name for name, beyond in beyond_lines(cells).items() if beyond > 0}


def _beyond(cell: Cell, line: StepFit | Fit) -> float:
    """Return how far beyond a line a median is, as a share of the line; 0 where there is none."""
    found_s, expected_s = median_s(cell), line.fixed_s + line.per_step_s * cell.request.steps
    if found_s is None:
        return 0.0
    return (found_s - expected_s) / abs(expected_s) if expected_s else math.inf


def fit_lines(cells: Sequence[Cell]) -> tuple[Fit, ...]:
    """Return a line for every shape, that is all but the steps, that has 3 step counts or more.

    Extrapolated cells take part with their totals; cells that failed take no part. Where all
    cells but one lie on a line, it is theirs, and the one is named in `off_line`: a cell that
    spilled over the GPU's memory would otherwise pull the line away from the sound ones.
    """
    shapes: dict[str, list[Cell]] = {}
    for cell in cells:
        shapes.setdefault(without_steps(cell), []).append(cell)
    lines = []
    for shape, members in shapes.items():
        fit = _fit_most(members)
        if fit is not None:
            far = off_line(members, fit)
            lines.append(Fit(shape=shape, off_line=far, **fit.model_dump()))
    return tuple(lines)


def _fit_most(cells: Sequence[Cell]) -> StepFit | None:
    """Return the line of all cells, or of all but one where that leaves the others on it."""
    fit = fit_steps(cells)
    if fit is None or fit.points > MOST_POINTS or not off_line(cells, fit):
        return fit
    fewer = [[cell for cell in cells if cell is not left_out] for left_out in cells]
    candidates = [(found, rest) for rest in fewer if (found := fit_steps(rest))]
    sound = [found for found, rest in candidates if not off_line(rest, found)]
    # With few points several may be left out so; the best line of the others decides.
    return min(sound, key=lambda found: found.worst_residual, default=fit)
