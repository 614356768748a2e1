"""Throughput: images per second by resolution, a bar a sampler and batch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median_low
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.bars import Bar, bars_figure
from diffusion_bench.charts.series import Failure, basis_of, failure_rows, series_of
from diffusion_bench.charts.style import Look, empty_figure
from diffusion_bench.records import VoiceRequest
from diffusion_bench.reports.schema import Report
from diffusion_bench.reports.stats import summarise


class ThroughputPoint(NamedTuple):
    """The throughput at one number of steps; `steps_per_s` counts the denoising stage only."""

    steps: int
    images_per_s: float
    steps_per_s: float | None
    basis: str = ""


class ThroughputSeries(NamedTuple):
    """The throughput of one series. `drawn` is the point the chart shows, `None` for none.

    Images per second depend on the steps, so a chart shows one step count: the one most series
    have (the middle one of equals), or where a sampler lacks it, its own most usual one.
    """

    name: str
    sampler: str
    resolution: str
    other: str
    points: tuple[ThroughputPoint, ...]
    failures: tuple[Failure, ...]
    drawn: ThroughputPoint | None
    look: Look = Look()


def throughput_numbers(reports: Sequence[Report]) -> list[ThroughputSeries]:
    """Return the throughput of every series of pictures."""
    found = []
    for series in series_of(reports):
        if isinstance(series.request, VoiceRequest):
            continue
        points = tuple(
            ThroughputPoint(
                cell.request.steps, summary.images_per_s, summary.steps_per_s, basis_of(cell)
            )
            for cell in series.cells
            if (summary := summarise(cell)) and summary.images_per_s is not None
        )
        found.append(
            ThroughputSeries(
                series.name,
                series.sampler,
                series.resolution,
                series.other,
                points,
                series.failures(),
                None,
                series.look,
            )
        )
    usual = _usual_steps(found)
    return [item._replace(drawn=_at(item.points, usual.get(item.sampler))) for item in found]


def throughput_figure(numbers: list[ThroughputSeries]) -> go.Figure:
    """Return the chart: a bar for every series, at the step count its sampler is shown at."""
    bars = [
        Bar(
            item.sampler,
            item.resolution,
            item.other,
            item.drawn.images_per_s,
            item.look,
            f"{item.drawn.steps} steps",
            item.drawn.basis,
        )
        for item in numbers
        if item.drawn
    ]
    if not bars:
        return empty_figure("No cell with a measured time.")
    shown = {item.drawn.steps for item in numbers if item.drawn}
    at = f" at {min(shown)} steps" if len(shown) == 1 else ""
    return bars_figure(bars, f"images/s{at}", "%{y:.4~r} images/s")


def throughput_table(numbers: list[ThroughputSeries]) -> tuple[list[str], list[list[Any]]]:
    """Return every measured point, not only those of the chart, and the failed cells."""
    header = ["series", "steps", "images/s", "denoising steps/s", "status", "message"]
    rows: list[list[Any]] = []
    for item in numbers:
        rows += [[item.name, *point[:-1], point.basis or "ok", ""] for point in item.points]
        rows += failure_rows([item.name], item.failures, len(header))
    return header, rows


def _usual_steps(numbers: list[ThroughputSeries]) -> dict[str, int]:
    """Return the step count to show for each sampler."""
    counts = Counter(point.steps for item in numbers for point in item.points)
    usual = {}
    for sampler in {item.sampler for item in numbers}:
        own = {point.steps for item in numbers if item.sampler == sampler for point in item.points}
        if own:
            most = max(counts[steps] for steps in own)
            usual[sampler] = median_low(steps for steps in own if counts[steps] == most)
    return usual


def _at(points: tuple[ThroughputPoint, ...], steps: int | None) -> ThroughputPoint | None:
    return next((point for point in points if point.steps == steps), None)
