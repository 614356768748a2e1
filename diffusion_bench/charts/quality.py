"""Quality against time: what a second more of sampling buys, by sampler, and the Pareto front."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.series import Series, basis_of, series_of
from diffusion_bench.charts.style import (
    MARKS,
    TEXT,
    Look,
    empty_figure,
    explain_series,
    is_wide,
    log_ticks,
    plain,
    style_figure,
)
from diffusion_bench.records import AnyQuality, Estimate, Quality, Share
from diffusion_bench.reports.quality import figure_of, figures_in
from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.reports.stats import summarise

FRONT = "Pareto front"
FRONT_DASH = "longdashdot"
# The first that half of each sampler's cells have or more is drawn, else the last of its kind.
# Whether less of it is better, and of what the seconds are told.
METRICS = {
    "frechet": ("Frechet distance (less is better)", True, "picture"),
    "objects": ("share with the objects asked for (more is better)", False, "picture"),
    "caption_score": ("caption score (more is better)", False, "picture"),
    "mel_distance_db": ("mel distance from more steps (dB, less is better)", True, "candidate"),
    "timbre_similarity": ("timbre similarity (MFCC, more is better)", False, "candidate"),
}


class QualityPoint(NamedTuple):
    """A cell: seconds of one picture or candidate, and the figure with its interval and number.

    `on_front`: no cell of its report and size is both as fast and as good, and better in one.
    """

    steps: int
    seconds: float
    value: float
    low: float
    high: float
    n: int
    on_front: bool = False
    basis: str = ""


class QualitySeries(NamedTuple):
    """The points of one series, all by one `metric` of one scorer.

    `front` names the points that compete: those of one report and size. `missing` holds steps and
    reason of each cell that was to be judged, and is not in this chart.
    """

    name: str
    sampler: str
    resolution: str
    other: str
    metric: str
    front: str
    points: tuple[QualityPoint, ...]
    missing: tuple[tuple[int, str], ...] = ()
    look: Look = Look()


def quality_numbers(reports: Sequence[Report]) -> list[QualitySeries]:
    """Return every series that has quality; none where no cell has any.

    Figures of two scorers, or of other captions or numbers of pictures, do not compare, nor those
    of speech with either: drawn is what most cells have, and the others are named as missing.
    """
    judged = [
        (cell.request.sampler, cell.quality)
        for report in reports
        for cell in report.cells
        if cell.quality
    ]
    if not judged:
        return []
    usual = Counter(_kind(quality) for _, quality in judged).most_common(1)[0][0]
    metric = _metric([one for one in judged if _kind(one[1]) == usual])
    found = [_series(series, metric, usual) for series in series_of(reports)]
    found = [series for series in found if series.points or series.missing]
    return [series._replace(points=_marked(series, found)) for series in found]


def quality_figure(numbers: list[QualitySeries]) -> go.Figure:
    """Return the chart: a line a series over the seconds of a picture, and the fronts."""
    drawn = [series for series in numbers if series.points]
    if not drawn:
        return empty_figure("No cell that was judged and has a measured time.")
    figure = go.Figure()
    for series in drawn:
        line = {"dash": series.look.dash, "color": series.look.colour, "width": 2}
        figure.add_scatter(**_trace(series), line=line)
    for front in dict.fromkeys(series.front for series in drawn):
        figure.add_scatter(**_front_trace([s for s in drawn if s.front == front]))
    style_figure(figure, f"seconds a {METRICS[drawn[0].metric][2]}", METRICS[drawn[0].metric][0])
    points = [point for series in drawn for point in series.points]
    named = [(series.sampler, series.resolution, series.other, series.look) for series in drawn]
    bases = [point.basis for point in points]
    explain_series(figure, named, bases, dashes={FRONT: FRONT_DASH})
    if is_wide(point.seconds for point in points):
        figure.update_xaxes(**log_ticks(point.seconds for point in points))
    if is_wide(point.value for point in points):
        figure.update_yaxes(**log_ticks(point.value for point in points))
    return figure


def quality_table(numbers: list[QualitySeries]) -> tuple[list[str], list[list[Any]]]:
    """Return every point, and each cell that is not one with the reason."""
    each = METRICS[numbers[0].metric][2] if numbers else "picture"
    header = ["series", "steps", f"seconds a {each}", "figure", "value", "low", "high", "n"]
    header += [FRONT, "status"]
    rows: list[list[Any]] = []
    for series in numbers:
        metric = METRICS[series.metric][0]
        for point in series.points:
            numbers_of = [point.value, point.low, point.high, point.n]
            front = "yes" if point.on_front else "no"
            rows.append([series.name, point.steps, point.seconds, metric, *numbers_of])
            rows[-1] += [front, point.basis or "ok"]
        for steps, reason in series.missing:
            rows.append([series.name, steps, None, metric, None, None, None, None, "", reason])
    return header, rows


def _metric(judged: Sequence[tuple[str, AnyQuality]]) -> str:
    """Return what is drawn of samplers and their figures, all of one kind.

    A metric that one of two samplers has not would compare nothing.
    """
    by_sampler: dict[str, list[dict[str, Share | Estimate | None]]] = {}
    for sampler, quality in judged:
        by_sampler.setdefault(sampler, []).append(figures_in(quality))
    names = [name for name in METRICS if name in figures_in(judged[0][1])]

    def is_told(name: str) -> bool:
        told = ([found[name] is not None for found in each] for each in by_sampler.values())
        return all(2 * sum(each) >= len(each) for each in told)

    return next(filter(is_told, names), names[-1])


def _kind(quality: AnyQuality) -> tuple[object, ...]:
    """Return what figures must share to be compared."""
    if not isinstance(quality, Quality):
        return "speech", quality.candidates, quality.against_steps
    return quality.scorer, quality.scorer_digest, quality.prompts, quality.pictures


def _judge(quality: AnyQuality) -> str:
    if isinstance(quality, Quality):
        return f"{quality.scorer}, {quality.pictures} pictures"
    steps = f" against {quality.against_steps} steps" if quality.against_steps else ""
    return f"{quality.candidates} candidates{steps}"


def _series(series: Series, metric: str, usual: tuple[object, ...]) -> QualitySeries:
    points, missing = [], []
    for cell in series.cells:
        point = _point(cell, metric, usual)
        if isinstance(point, QualityPoint):
            points.append(point)
        elif point:
            missing.append((cell.request.steps, point))
    return QualitySeries(
        series.name,
        series.sampler,
        series.resolution,
        series.other,
        metric,
        f"{series.report}, {series.resolution}",
        tuple(points),
        tuple(missing),
        series.look,
    )


def _point(cell: Cell, metric: str, usual: tuple[object, ...]) -> QualityPoint | str:
    """Return the point of a cell, or why there is none, "" where its quality was not asked for."""
    summary, quality = summarise(cell), cell.quality
    if quality is None:
        return cell.missing.get("quality", "")
    if summary is None:
        return f"{cell.status}: {cell.message}"
    if _kind(quality) != usual:
        return f"judged otherwise: {_judge(quality)}"
    figure = figure_of(figures_in(quality)[metric])
    if figure is None:
        return quality.missing.get(metric, "not measured")
    seconds = summary.median_s / cell.request.batch
    return QualityPoint(cell.request.steps, seconds, *figure, basis=basis_of(cell))


def _marked(series: QualitySeries, every: Sequence[QualitySeries]) -> tuple[QualityPoint, ...]:
    """Return the points of a series with those on the front marked."""
    rivals = [point for other in every if other.front == series.front for point in other.points]
    sign = 1 if METRICS[series.metric][1] else -1

    def is_beaten(point: QualityPoint) -> bool:
        mine = (point.seconds, sign * point.value)
        theirs = ((rival.seconds, sign * rival.value) for rival in rivals)
        return any(t[0] <= mine[0] and t[1] <= mine[1] and t != mine for t in theirs)

    return tuple(point._replace(on_front=not is_beaten(point)) for point in series.points)


def _trace(series: QualitySeries) -> dict[str, Any]:
    points = series.points
    return {
        "name": plain(series.name),
        "x": [point.seconds for point in points],
        "y": [point.value for point in points],
        "error_y": {
            "type": "data",
            "array": [point.high - point.value for point in points],
            "arrayminus": [point.value - point.low for point in points],
            "thickness": 1,
        },
        "mode": "lines+markers",
        "marker": {
            "symbol": [series.look.symbol + MARKS[point.basis] for point in points],
            "size": [12 if point.on_front else 7 for point in points],
        },
        "text": [f"{point.steps} steps, n {point.n}" for point in points],
        "showlegend": False,
        "hovertemplate": "%{text}: %{y:.4~r} in %{x:.4~r} s",
    }


def _front_trace(series: Sequence[QualitySeries]) -> dict[str, Any]:
    best = sorted(
        (point.seconds, point.value) for each in series for point in each.points if point.on_front
    )
    return {
        "name": FRONT,
        "x": [seconds for seconds, _ in best],
        "y": [value for _, value in best],
        "mode": "lines",
        "line": {"dash": FRONT_DASH, "color": TEXT, "width": 1},
        "showlegend": False,
        "hoverinfo": "skip",
    }
