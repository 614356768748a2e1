"""How long single denoising steps take: a box a sampler and resolution."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import quantiles
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.series import Failure, failure_rows, series_of
from diffusion_bench.charts.style import (
    PALE,
    Look,
    empty_figure,
    is_wide,
    log_ticks,
    plain,
    style_figure,
)
from diffusion_bench.reports.schema import Report

MIN_STEPS_FOR_P95 = 59  # the fewest whose maximum lies above the 95th percentile, 95 times in 100


class StepBox(NamedTuple):
    """The times of all steps of a series, in milliseconds, over all step counts and repeats.

    Whiskers are the 5th and 95th percentile, or the extremes below 59 steps, too few for those.
    """

    n: int
    min_ms: float
    low_whisker_ms: float
    quartile1_ms: float
    median_ms: float
    quartile3_ms: float
    high_whisker_ms: float
    max_ms: float


class StepTimes(NamedTuple):
    """The box of one series, `None` where no step was timed, and its failed cells."""

    name: str
    box: StepBox | None
    failures: tuple[Failure, ...]
    look: Look = Look()
    basis: str = ""

    @property
    def title(self) -> str:
        """Return its name, and what it is beside measured."""
        return ", ".join(filter(None, (self.name, self.basis)))


def step_times_numbers(reports: Sequence[Report]) -> list[StepTimes]:
    """Return the distribution of step times of every series of the reports."""
    found = []
    for series in series_of(reports):
        times = [
            1000 * step
            for cell in series.cells
            if not cell.without_figures
            for sample in cell.samples
            for step in sample.step_s
        ]
        box = _box(times) if times else None
        found.append(StepTimes(series.name, box, series.failures(), series.look, series.emulated))
    return found


def step_times_figure(numbers: list[StepTimes]) -> go.Figure:
    """Return the chart: horizontal boxes, so that long names can be read on a phone."""
    drawn = [item for item in numbers if item.box]
    boxes = [item.box for item in drawn if item.box]
    if not boxes:
        return empty_figure("No cell with timed steps.")
    figure = go.Figure()
    for place, (item, box) in enumerate(zip(drawn, boxes, strict=True)):
        figure.add_box(
            y=[place],
            name=plain(item.title),
            orientation="h",
            q1=[box.quartile1_ms],
            median=[box.median_ms],
            q3=[box.quartile3_ms],
            lowerfence=[box.low_whisker_ms],
            upperfence=[box.high_whisker_ms],
            marker={"color": item.look.colour},
            opacity=PALE if item.basis else 1,
            width=0.35,
            showlegend=False,
        )
    style_figure(figure, "time of a step (ms)", "", height=110 + 44 * len(boxes))
    figure.update_yaxes(
        range=[len(boxes) - 0.5, -0.8], showticklabels=False, showgrid=False, zeroline=False
    )
    # Above its box, a long name takes no width from the boxes.
    names = [
        {
            "text": plain(item.title),
            "font": {"size": 11},
            "showarrow": False,
            "xref": "paper",
            "x": 0,
            "xanchor": "left",
            "y": place,
            "yshift": 17,
        }
        for place, item in enumerate(drawn)
    ]
    # All at once: plotly copies those that are there for each that is added.
    figure.update_layout(margin_l=16, annotations=names)
    ends = [value for box in boxes for value in (box.low_whisker_ms, box.high_whisker_ms)]
    if is_wide(ends):
        figure.update_xaxes(**log_ticks(ends))
    return figure


def step_times_table(numbers: list[StepTimes]) -> tuple[list[str], list[list[Any]]]:
    """Return the figures of each box, or that there are none, and the failed cells."""
    header = ["series", "steps", "timed steps", "min (ms)", "low whisker (ms)", "quartile 1 (ms)"]
    header += ["median (ms)", "quartile 3 (ms)", "high whisker (ms)", "max (ms)"]
    header += ["status", "message"]
    rows: list[list[Any]] = []
    for item in numbers:
        if item.box:
            rows.append([item.name, None, *item.box, item.basis or "ok", ""])
        elif not item.failures:
            rows.append([item.name, *[None] * 9, item.basis or "ok", "no step was timed"])
        rows += failure_rows([item.name], item.failures, len(header))
    return header, rows


def _box(times_ms: list[float]) -> StepBox:
    low, high = min(times_ms), max(times_ms)
    if len(times_ms) >= MIN_STEPS_FOR_P95:
        hundredths = quantiles(times_ms, n=100, method="inclusive")
        low, high = hundredths[4], hundredths[94]
    # Of one value Python 3.11 and 3.12 refuse quantiles.
    alone = len(times_ms) == 1
    quartile1, middle, quartile3 = (
        3 * times_ms if alone else quantiles(times_ms, method="inclusive")
    )
    return StepBox(
        n=len(times_ms),
        min_ms=min(times_ms),
        low_whisker_ms=low,
        quartile1_ms=quartile1,
        median_ms=middle,
        quartile3_ms=quartile3,
        high_whisker_ms=high,
        max_ms=max(times_ms),
    )
