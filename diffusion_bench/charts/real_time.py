"""Real-time factor of speech against steps: seconds of work for a second of sound."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.lines import DrawnLine, LinePoint, lines_figure
from diffusion_bench.charts.series import Failure, Series, basis_of, failure_rows, series_of
from diffusion_bench.charts.style import GRID, Look, empty_figure
from diffusion_bench.records import VoiceRequest
from diffusion_bench.reports.schema import Report
from diffusion_bench.reports.stats import summarise


class RealTimePoint(NamedTuple):
    """A cell of speech: median and extremes of work over sound, and the first sound in seconds."""

    steps: int
    real_time_factor: float
    low: float
    high: float
    first_audio_s: float | None
    audio_s: float
    basis: str = ""


class RealTimeLine(NamedTuple):
    """One line of the chart: cells that differ in their steps only."""

    name: str
    sampler: str
    resolution: str
    other: str
    points: tuple[RealTimePoint, ...]
    failures: tuple[Failure, ...]
    look: Look = Look()


def real_time_numbers(reports: Sequence[Report]) -> list[RealTimeLine]:
    """Return a line for every series of speech; none for those of pictures."""
    return [
        _line(series) for series in series_of(reports) if isinstance(series.request, VoiceRequest)
    ]


def real_time_figure(lines: list[RealTimeLine]) -> go.Figure:
    """Return the chart; below the line at 1 speech is made faster than it is heard."""
    drawn = [
        DrawnLine(
            line.name,
            line.sampler,
            line.resolution,
            line.other,
            [LinePoint(p.steps, p.real_time_factor, p.low, p.high, p.basis) for p in line.points],
            line.look,
        )
        for line in lines
        if line.points
    ]
    if not drawn:
        return empty_figure("No cell of speech with a measured time.")
    figure = lines_figure(drawn, "real-time factor (s of work / s of speech)", "")
    figure.add_hline(
        y=1.0,
        line={"color": GRID, "width": 2},
        annotation_text="real time",
        # Plotly takes the place of a line as a value, and that of a text as its logarithm.
        annotation_y=0.0 if figure.layout.yaxis.type == "log" else 1.0,
    )
    return figure


def real_time_table(lines: list[RealTimeLine]) -> tuple[list[str], list[list[Any]]]:
    """Return the chart as a table, failed cells below each line."""
    header = ["series", "steps", "real-time factor", "min", "max"]
    header += ["first sound (s)", "speech (s)", "status", "message"]
    rows: list[list[Any]] = []
    for line in lines:
        rows += [[line.name, *point[:-1], point.basis or "ok", ""] for point in line.points]
        rows += failure_rows([line.name], line.failures, len(header))
    return header, rows


def _line(series: Series) -> RealTimeLine:
    points = []
    for cell in series.cells:
        found = summarise(cell)
        if found is None or found.real_time_factor is None or not found.audio_s:
            continue
        points.append(
            RealTimePoint(
                cell.request.steps,
                found.real_time_factor,
                found.min_s / found.audio_s,
                found.max_s / found.audio_s,
                found.first_audio_s,
                found.audio_s,
                basis_of(cell),
            )
        )
    return RealTimeLine(
        series.name,
        series.sampler,
        series.resolution,
        series.other,
        tuple(points),
        series.failures(),
        series.look,
    )
