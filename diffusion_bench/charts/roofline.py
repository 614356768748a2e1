"""The roofline: what the steps of each cell reached, under what the device can do.

Williams, Waterman and Patterson (2009): at so many FLOPs a byte a device reaches at most the
smaller of its arithmetic and its bandwidth times them. Both axes are logarithmic.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.held_back import HeldBack, held_back
from diffusion_bench.charts.reached import Reached, reached
from diffusion_bench.charts.series import series_of
from diffusion_bench.charts.style import (
    DASHES,
    MANY_COLOURS,
    MARKS,
    TEXT,
    Look,
    empty_figure,
    explain_lines,
    keyed,
    log_ticks,
    plain,
    style_figure,
)
from diffusion_bench.reports.labels import name_among, report_labels
from diffusion_bench.reports.schema import Report

FEW_TICKS = 100.0  # times the smallest value: two decades
ROOM = 2.0  # times the outermost points: how far a roof is drawn beyond them


class RooflinePoint(NamedTuple):
    """A cell under the roof of its device. Without a point, `reason` says why there is none.

    `other` and `look` are those of its `Series`. `status` is that of its cell, or "emulated".
    """

    name: str
    report: str
    point: Reached | None
    reason: str
    verdict: HeldBack
    other: str = ""
    look: Look = Look()
    status: str = "ok"


def roofline_numbers(reports: Sequence[Report]) -> list[RooflinePoint]:
    """Return a point for every cell of the reports."""
    found = []
    requests = [cell.request for report in reports for cell in report.cells]
    name = name_among(requests, with_model=True)
    series = {
        (each.report, cell.cell_id): each for each in series_of(reports) for cell in each.cells
    }
    for index, (report, label) in enumerate(zip(reports, report_labels(reports), strict=True)):
        for cell in report.cells:
            point, reason = reached(cell, report)
            verdict = held_back(cell, report)
            own = series[index, cell.cell_id]
            status = "emulated" if "emulated" in cell.labels else cell.status
            told = (name(cell.request), label, point, reason, verdict, own.other, own.look)
            found.append(RooflinePoint(*told, status))
    return found


def roofline_figure(numbers: list[RooflinePoint]) -> go.Figure:
    """Return the chart: a roof for each set of limits, a point a cell, coloured by verdict."""
    points = [(item, item.point) for item in numbers if item.point is not None]
    if not points:
        reasons = list(dict.fromkeys(item.reason for item in numbers)) or ["There is no cell."]
        return empty_figure("No roofline. " + " ".join(reasons[:1]))
    figure = go.Figure()
    colours = keyed((item.verdict.verdict for item, _ in points), MANY_COLOURS)
    intensities = [point.intensity for _, point in points]
    roofs = _roofs(points)
    dashes = keyed(roofs.values(), DASHES)
    for (peak_flops, bandwidth, _), roof in roofs.items():
        ridge = peak_flops / bandwidth
        ends = (min([*intensities, ridge]) / ROOM, ridge, max([*intensities, ridge]) * ROOM)
        figure.add_scatter(
            x=ends,
            y=[min(peak_flops, bandwidth * end) / 1e12 for end in ends],
            mode="lines",
            line={"dash": dashes[roof], "color": TEXT, "width": 2},
            showlegend=False,
            hovertemplate=f"{plain(roof)}: %{{y:.3~r}} TFLOP/s",
        )
    for item, point in points:
        figure.add_scatter(
            x=[point.intensity],
            y=[point.flops_a_second / 1e12],
            mode="markers",
            marker={
                "symbol": item.look.symbol + MARKS.get(item.status, ""),
                "color": colours[item.verdict.verdict],
                "size": 10,
            },
            name=plain(item.name),
            showlegend=False,
            hovertemplate=f"{plain(item.name)}: %{{y:.3~r}} TFLOP/s, {item.verdict.verdict}",
        )
    style_figure(figure, "FLOPs a byte", "TFLOP/s")
    markers = {item.other: {"symbol": item.look.symbol, "color": TEXT} for item, _ in points}
    bases = [item.status for item, _ in points if item.status in MARKS]
    explain_lines(figure, dashes, colours, markers, bases)
    figure.update_xaxes(**_log_axis([x for line in figure.data for x in line.x or () if x]))
    figure.update_yaxes(**_log_axis([y for line in figure.data for y in line.y or () if y]))
    return figure


def _roofs(
    points: Sequence[tuple[RooflinePoint, Reached]],
) -> dict[tuple[float, float, str], str]:
    """Return a name for every roof, with its reports where others have another.

    A roof is a peak, a bandwidth and whose limits they are.
    """
    reports: dict[tuple[float, float, str], dict[str, None]] = {}
    for item, point in points:
        roof = (point.peak_flops, point.bandwidth, point.limits_from)
        reports.setdefault(roof, {})[item.report] = None
    every = {item.report for item, _ in points}
    return {
        roof: roof[2] if set(own) == every else f"{roof[2]}, {' and '.join(own)}"
        for roof, own in reports.items()
    }


def _log_axis(values: list[float]) -> dict[str, Any]:
    """Return a logarithmic axis; over more than two decades it has room for powers of ten only."""
    if max(values) < FEW_TICKS * min(values):
        return log_ticks(values)
    return {"type": "log", "dtick": 1, "exponentformat": "none"}


def roofline_table(numbers: list[RooflinePoint]) -> tuple[list[str], list[list[Any]]]:
    """Return a row a cell: what it reached, the shares of the limits, and what held it back."""
    header = ["cell", "report", "held back by", "FLOPs a byte", "TFLOP/s", "of the limit (%)"]
    header += ["GB/s", "of the bandwidth (%)", "limits", "evidence", "status", "no point because"]
    rows: list[list[Any]] = []
    for item in numbers:
        point, verdict = item.point, item.verdict
        figures: list[Any] = [None] * 5 + [""]
        if point is not None:
            figures = [
                point.intensity,
                point.flops_a_second / 1e12,
                100 * point.arithmetic_share,
                point.bytes_a_second / 1e9,
                100 * point.traffic_share,
                point.limits_from,
            ]
        row = [item.name, item.report, verdict.verdict, *figures, verdict.evidence]
        rows.append([*row, item.status, item.reason])
    return header, rows
