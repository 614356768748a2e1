"""Latency against steps: a line a sampler, resolution and batch, with the fitted cost of a step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.lines import DrawnLine, LinePoint, lines_figure
from diffusion_bench.charts.series import Failure, Series, basis_of, failure_rows, series_of
from diffusion_bench.charts.style import Look, empty_figure
from diffusion_bench.reports.fits import fit_lines
from diffusion_bench.reports.schema import Fit, Report
from diffusion_bench.reports.stats import summarise


class LatencyPoint(NamedTuple):
    """The whole call at one number of steps: median and extremes of `n` samples.

    `basis` is "" for what was measured whole, else what it is besides; see `basis_of`.
    """

    steps: int
    median_s: float
    min_s: float
    max_s: float
    n: int
    basis: str = ""


class LatencyLine(NamedTuple):
    """One line of the chart. `off_line` are the steps of cells that are off the `fit`.

    It is the report's own, which may leave out a cell; `None` below 3 step counts, and where a step
    would take no time.
    """

    name: str
    sampler: str
    resolution: str
    other: str
    points: tuple[LatencyPoint, ...]
    failures: tuple[Failure, ...]
    fit: Fit | None
    off_line: tuple[int, ...] = ()
    look: Look = Look()


def latency_numbers(reports: Sequence[Report]) -> list[LatencyLine]:
    """Return a line for every series of the reports, also where no cell of it ended well."""
    return [_line(series) for series in series_of(reports)]


def latency_figure(lines: list[LatencyLine]) -> go.Figure:
    """Return the chart: dashes tell samplers apart, colours sizes, if several, markers the rest."""
    drawn = [
        DrawnLine(
            line.name,
            line.sampler,
            line.resolution,
            line.other,
            [LinePoint(p.steps, p.median_s, p.min_s, p.max_s, p.basis) for p in line.points],
            line.look,
        )
        for line in lines
        if line.points
    ]
    if not drawn:
        return empty_figure("No cell with a measured time.")
    return lines_figure(drawn, "time of a call (s)", " s")


def latency_table(lines: list[LatencyLine]) -> tuple[list[str], list[list[Any]]]:
    """Return the chart as a table; the fit of a line is in its rows, failed cells below it."""
    header = ["series", "steps", "median (s)", "min (s)", "max (s)", "n"]
    header += ["fixed (s)", "per step (s)", "largest misfit (%)", "status", "message"]
    rows: list[list[Any]] = []

    def status(line: LatencyLine, point: LatencyPoint) -> str:
        return (point.basis or "ok") + (", off the line" if point.steps in line.off_line else "")

    for line in lines:
        fit = line.fit
        fitted: list[float | None] = [None] * 3
        if fit:
            fitted = [fit.fixed_s, fit.per_step_s, 100 * fit.worst_residual]
        rows += [
            [line.name, *point[:-1], *fitted, status(line, point), ""] for point in line.points
        ]
        rows += failure_rows([line.name], line.failures, len(header))
    return header, rows


def _line(series: Series) -> LatencyLine:
    points = tuple(
        LatencyPoint(
            cell.request.steps,
            summary.median_s,
            summary.min_s,
            summary.max_s,
            summary.n,
            basis_of(cell),
        )
        for cell in series.cells
        if (summary := summarise(cell))
    )
    fit = next((line for line in fit_lines(series.cells) if line.per_step_s > 0), None)
    off = [cell.request.steps for cell in series.cells if fit and cell.cell_id in fit.off_line]
    return LatencyLine(
        name=series.name,
        sampler=series.sampler,
        resolution=series.resolution,
        other=series.other,
        points=points,
        failures=series.failures(),
        fit=fit,
        off_line=tuple(off),
        look=series.look,
    )
