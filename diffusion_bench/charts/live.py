"""What the machine has done in the last minutes: a panel a quantity, counted back from now.

    readings > host_numbers, gpu_numbers > LiveNumbers > live_figure

Its table is `hardware.quantities`' rows, which hold more than is drawn.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from diffusion_bench.charts.style import (
    COLOURS,
    DASHES,
    LEGEND_ROW,
    TEXT,
    empty_figure,
    plain,
    style_figure,
)
from diffusion_bench.hardware.quantities import GPU, HOST, gpu_title, limit_of, value_of
from diffusion_bench.hardware.trace import find_look
from diffusion_bench.records import GpuReading, Reading

SHOWN_S = 180.0
PAUSED = 2.5  # paces without a reading: more than one that comes late
PANEL_PX = 112
TICKS_S = {-180: "3 min ago", -120: "2 min", -60: "1 min", 0: "now"}
GAP_IN_LEGEND: dict[str, Any] = {
    "name": "no readings",
    "mode": "markers",
    "marker": {"symbol": "square", "color": TEXT, "opacity": 0.4, "size": 11},
}
CORES_HEADING = "CPU by core (%; grey 0, orange 100)"
IDLE_CORE, BUSY_CORE = "rgba(128,128,128,0.18)", COLOURS[1]

HOST_DRAWN = ("cpu_percent", "ram_used_mib")
GPU_DRAWN = (
    "utilization_percent",
    "memory_used_mib",
    "power_w",
    "temperature_c",
    "sm_clock_mhz",
    "memory_clock_mhz",
)
NOTHING = "nothing was told yet"

Span = tuple[float, float]
Values = NDArray[np.float32]


class LiveLine(NamedTuple):
    """One quantity of one device, NaN where it was not told; `place` is the device's among all."""

    name: str
    place: int
    values: Values


class LivePanel(NamedTuple):
    """One quantity with its unit; `cores` is its share by core and time instead of lines.

    `top` is the most that it can be. Without a value, `missing` says why.
    """

    title: str
    unit: str
    lines: tuple[LiveLine, ...] = ()
    cores: Values | None = None
    top: float | None = None
    missing: str = ""


class LiveNumbers(NamedTuple):
    """Panels over `at_s`, seconds before the newest reading, and the spans without a reading."""

    at_s: Values
    panels: tuple[LivePanel, ...]
    gaps: tuple[Span, ...]


def host_numbers(readings: Sequence[Reading], interval_s: float) -> LiveNumbers:
    """Return processor, each core and memory; `interval_s` is the pace of the readings."""
    told = [True] * len(readings)
    at_s, gaps, columns = _grid(readings, told, interval_s)
    hosts = [None if reading is None else reading.host for reading in columns]
    panels = []
    for quantity in (each for each in HOST if each.field in HOST_DRAWN):
        values = _floats([value_of(host, quantity) for host in hosts])
        top = limit_of(readings[-1].host, quantity)
        missing = readings[-1].host.missing.get(quantity.field, NOTHING)
        panels.append(
            LivePanel(quantity.title, quantity.unit, _kept([("", values)]), None, top, missing)
        )
    panels.insert(1, _core_panel(columns, readings[-1]))
    return LiveNumbers(at_s, tuple(panels), gaps)


def gpu_numbers(readings: Sequence[Reading], interval_s: float) -> LiveNumbers:
    """Return the quantities of all GPUs; a span in which none told anything is a gap too."""
    told = [any(_tells(gpu) for gpu in reading.gpus) for reading in readings]
    at_s, gaps, columns = _grid(readings, told, interval_s)
    known = {gpu.index: gpu for reading in readings for gpu in reading.gpus}
    panels = []
    for quantity in (each for each in GPU if each.field in GPU_DRAWN):
        lines, tops, reasons = [], [], []
        for index, gpu in sorted(known.items()):
            looks = [None if reading is None else find_look(reading, index) for reading in columns]
            values = _floats([value_of(look, quantity) for look in looks])
            lines.append((gpu_title(gpu), values))
            tops.append(limit_of(gpu, quantity) or 0.0)
            reasons.append(gpu.missing.get(quantity.field, NOTHING))
        top = max(tops, default=0.0) or None
        missing = "; ".join(dict.fromkeys(reasons))
        panels.append(LivePanel(quantity.title, quantity.unit, _kept(lines), None, top, missing))
    return LiveNumbers(at_s, tuple(panels), gaps)


def live_figure(numbers: LiveNumbers, none_because: str | None = None) -> go.Figure:
    """Return the panels that have values, stacked over one time axis; gaps are grey bands.

    `none_because` says why there are no panels. A zoom outlives the next reading.
    """
    drawn = [panel for panel in numbers.panels if panel.lines or panel.cores is not None]
    if not drawn:
        why = none_because or "; ".join(dict.fromkeys(panel.missing for panel in numbers.panels))
        return empty_figure(why or NOTHING)
    data: list[dict[str, Any]] = []
    named: set[int] = set()
    for row, panel in enumerate(drawn, start=1):
        data += _traces(row, panel, numbers.at_s, named)
    if numbers.gaps:
        data.append({"type": "scatter", "x": [None], "y": [None], **GAP_IN_LEGEND})
    layout = copy.deepcopy(_layout(tuple(_heading(panel) for panel in drawn)))
    legend_px = LEGEND_ROW * (len(named) + bool(numbers.gaps))
    layout["height"] += legend_px
    layout["margin"]["b"] += legend_px
    layout["shapes"] = [_band(gap) for gap in numbers.gaps]
    for row, panel in enumerate(drawn, start=1):
        if panel.cores is None:
            layout[f"yaxis{row if row > 1 else ''}"]["range"] = _y_range(panel)
    return go.Figure(data, layout)


@cache
def _layout(headings: tuple[str, ...]) -> dict[str, Any]:
    """Return the layout of panels with these headings: made by plotly once, it costs 80 ms."""
    figure = make_subplots(
        rows=len(headings),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.28 / len(headings),
        subplot_titles=[plain(heading) for heading in headings],
    )
    figure.update_annotations(x=0, xanchor="left", font_size=13)
    style_figure(figure, "", "", height=70 + PANEL_PX * len(headings))
    figure.update_xaxes(
        range=[-SHOWN_S, 0],
        tickvals=list(TICKS_S),
        ticktext=list(TICKS_S.values()),
        ticks="",
        ticklabeloverflow="allow",
    )
    for row, heading in enumerate(headings, start=1):
        if heading == CORES_HEADING:
            core_axis = {"showticklabels": False, "ticks": "", "showgrid": False}
            figure.update_yaxes(row=row, col=1, autorange="reversed", **core_axis)
    figure.update_layout(uirevision="live", margin={"l": 48, "r": 20, "t": 28, "b": 36})
    layout: dict[str, Any] = figure.to_dict()["layout"]
    return layout


def _traces(row: int, panel: LivePanel, at_s: Values, named: set[int]) -> list[dict[str, Any]]:
    """Return one panel's traces. `named` are the places of the devices that the legend has."""
    axes = {"xaxis": f"x{row if row > 1 else ''}", "yaxis": f"y{row if row > 1 else ''}"}
    if panel.cores is not None:
        heatmap = {
            "type": "heatmap",
            "x": at_s,
            "y": [f"core {core}" for core in range(len(panel.cores))],
            "z": panel.cores,
            "zmin": 0,
            "zmax": 100,
            "colorscale": [[0, IDLE_CORE], [1, BUSY_CORE]],
            "showscale": False,
            "hoverongaps": False,
            "hovertemplate": "%{y}, %{x:.0f} s: %{z:.0f} %<extra></extra>",
        }
        return [heatmap | axes]
    traces = []
    for line in panel.lines:
        look = {  # dashed too: GPUs that do the same lie on each other
            "color": COLOURS[line.place % len(COLOURS)],
            "dash": DASHES[line.place % len(DASHES)],
            "width": 2,
        }
        trace = {
            "type": "scatter",
            "name": plain(line.name),
            "x": at_s,
            "y": line.values,
            "mode": "lines",
            "line": look,
            "legendgroup": str(line.place),
            "showlegend": bool(line.name) and line.place not in named,
            "hovertemplate": f"%{{x:.0f}} s: %{{y:.4~r}} {panel.unit}",
        }
        traces.append(trace | axes)
        if line.name:
            named.add(line.place)
    return traces


def _y_range(panel: LivePanel) -> list[float]:
    most = max(float(np.nanmax(line.values)) for line in panel.lines)
    return [0, 1.05 * max(panel.top or 0.0, most, 1.0)]


def _band(gap: Span) -> dict[str, Any]:
    """Return the shape that marks a gap in every panel."""
    place = {"xref": "x", "x0": gap[0], "x1": gap[1], "yref": "paper", "y0": 0, "y1": 1}
    return {"type": "rect", "fillcolor": TEXT, "opacity": 0.25, "line": {"width": 0}} | place


def _heading(panel: LivePanel) -> str:
    return CORES_HEADING if panel.cores is not None else f"{panel.title} ({panel.unit})"


def _core_panel(columns: Sequence[Reading | None], newest: Reading) -> LivePanel:
    shares = [None if reading is None else reading.host.core_percents for reading in columns]
    count = max((len(share) for share in shares if share), default=0)
    if not count:
        missing = newest.host.missing.get("core_percents", NOTHING)
        return LivePanel("CPU by core", "%", missing=missing)
    cores = np.full((count, len(shares)), np.nan, np.float32)
    for place, share in enumerate(shares):
        if share:
            cores[: len(share), place] = share
    return LivePanel("CPU by core", "%", cores=cores, top=100.0)


def _grid(
    readings: Sequence[Reading], told: Sequence[bool], interval_s: float
) -> tuple[Values, tuple[Span, ...], list[Reading | None]]:
    """Return the times back from the newest, the gaps, and a reading a time: `None` inside a gap.

    A gap lies between two readings that told something, or after the last one.
    """
    newest_s = readings[-1].at_s
    at_s: list[float] = []
    columns: list[Reading | None] = []
    gaps: list[Span] = []
    before_s: float | None = None
    silent = False
    for reading, tells in zip(readings, told, strict=True):
        now_s = reading.at_s - newest_s
        if not tells:
            silent = True
            continue
        late = before_s is not None and now_s - before_s > PAUSED * interval_s
        if before_s is not None and (silent or late or reading.gap_s is not None):
            gaps.append((before_s, now_s))
            # Two holes, half a pace from either side: a heatmap widens cells up to their middle.
            at_s += [before_s + interval_s / 2, now_s - interval_s / 2]
            columns += [None, None]
        at_s.append(now_s)
        columns.append(reading)
        before_s, silent = now_s, False
    if silent and before_s is not None:
        gaps.append((before_s, 0.0))
    return np.asarray(at_s, np.float32), tuple(gaps), columns


def _tells(gpu: GpuReading) -> bool:
    return any(getattr(gpu, field) is not None for field in GPU_DRAWN)


def _floats(values: Sequence[float | None]) -> Values:
    return np.asarray([np.nan if value is None else value for value in values], np.float32)


def _kept(lines: Sequence[tuple[str, Values]]) -> tuple[LiveLine, ...]:
    """Return the lines with at least one value; each keeps the place, and so the look, it had."""
    return tuple(
        LiveLine(name, place, values)
        for place, (name, values) in enumerate(lines)
        if not np.isnan(values).all()
    )
