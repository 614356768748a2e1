"""Lines over the number of steps, as several charts draw them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.style import (
    MARKS,
    Look,
    explain_series,
    is_wide,
    log_ticks,
    plain,
    style_figure,
)


class LinePoint(NamedTuple):
    """A value at a number of steps and its extremes; `basis` as `series.basis_of` has it."""

    steps: int
    value: float
    low: float
    high: float
    basis: str = ""


class DrawnLine(NamedTuple):
    """A line, what tells it apart, and how that looks."""

    name: str
    sampler: str
    resolution: str
    other: str
    points: Sequence[LinePoint]
    look: Look


def lines_figure(lines: Sequence[DrawnLine], y_title: str, unit: str) -> go.Figure:
    """Return a chart of lines over steps, logarithmic where the values are far apart.

    Points that were not measured whole are hollow or dotted. `unit` is said where one points.
    """
    figure = go.Figure()
    for line in lines:
        points = line.points
        figure.add_scatter(
            name=plain(line.name),
            x=[point.steps for point in points],
            y=[point.value for point in points],
            error_y={
                "type": "data",
                "array": [point.high - point.value for point in points],
                "arrayminus": [point.value - point.low for point in points],
                "thickness": 1,
            },
            mode="lines+markers",
            line={"dash": line.look.dash, "color": line.look.colour, "width": 2},
            marker={
                "symbol": [line.look.symbol + MARKS[point.basis] for point in points],
                "size": 8,
            },
            text=[point.basis or "measured" for point in points],
            showlegend=False,
            hovertemplate=f"%{{x}} steps: %{{y:.4~r}}{unit}, %{{text}}",
        )
    every = [point for line in lines for point in line.points]
    style_figure(figure, "steps", y_title)
    named = [(line.sampler, line.resolution, line.other, line.look) for line in lines]
    explain_series(figure, named, [point.basis for point in every])
    many_steps = is_wide(point.steps for point in every)
    if many_steps:
        ticks = sorted({point.steps for point in every})
        figure.update_xaxes(type="log", tickvals=ticks, ticktext=[str(tick) for tick in ticks])
    if many_steps or is_wide(point.value for point in every):
        figure.update_yaxes(**log_ticks(point.value for point in every))
    return figure
