"""What the machine did while one cell was measured: a panel a quantity, over time.

Stages lie as bands under the curves, where they ran for certain. The table has the same figures for
the whole and for each stage and step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from diffusion_bench.charts.style import (
    COLOURS,
    empty_figure,
    legend_px,
    plain,
    style_figure,
    wrapped,
)
from diffusion_bench.records import GpuTrace, Trace
from diffusion_bench.reports.schema import Cell
from diffusion_bench.reports.stage_readings import Cut, Seen
from diffusion_bench.reports.stage_spans import STAGES, Span

WRAP_AT = 40  # characters of a line in the note, for a phone
PANEL_PX = 130  # of a curve and the title over it
TOP_PX = 24
TICKS_PX = 40  # below the last panel
NOTE_ROW_PX = 18
BANDS: dict[str, str] = {name: COLOURS[-1 - place] for place, name in enumerate(STAGES)}
BAND_OPACITY = 0.22  # a curve in any colour stays readable on it, on a dark page and a light one

ALL = "the calls"

Values = tuple[float | None, ...]


class TraceLine(NamedTuple):
    """One quantity of one device over time, `None` where it could not be read.

    `place` is the device's among all, so that it looks the same in every panel.
    """

    name: str
    at_s: tuple[float, ...]
    values: Values
    place: int = 0


class TracePanel(NamedTuple):
    """One quantity with its unit. Without lines, `missing` says why."""

    title: str
    unit: str
    lines: tuple[TraceLine, ...]
    missing: str


HOST_PANELS: dict[str, tuple[str, str, Callable[[Trace], Values]]] = {
    "cpu_percent": ("CPU", "%", lambda trace: trace.cpu_percent),
    "rss_mib": ("process memory", "MiB", lambda trace: trace.rss_mib),
}
GPU_PANELS: dict[str, tuple[str, str, Callable[[GpuTrace], Values]]] = {
    "utilization_percent": ("GPU", "%", lambda gpu: gpu.utilization_percent),
    "power_w": ("GPU power", "W", lambda gpu: gpu.power_w),
    "memory_used_mib": ("GPU memory", "MiB", lambda gpu: gpu.memory_used_mib),
    "temperature_c": ("GPU temperature", "°C", lambda gpu: gpu.temperature_c),
}


def trace_numbers(cell: Cell) -> list[TracePanel]:
    """Return every panel, also those without a line, which say why."""
    trace = cell.trace
    panels = []
    for field, (title, unit, values) in HOST_PANELS.items():
        lines = _kept([TraceLine(title, trace.at_s, values(trace))])
        panels.append(TracePanel(title, unit, lines, "" if lines else _why(cell, field)))
    for field, (title, unit, read) in GPU_PANELS.items():
        lines = _kept(
            [
                TraceLine(_gpu_name(gpu), trace.at_s, read(gpu), place)
                for place, gpu in enumerate(trace.gpus)
            ]
        )
        why = _why(cell, field, trace.no_gpu)
        panels.append(TracePanel(title, unit, lines, "" if lines else why))
    return panels


def trace_figure(panels: list[TracePanel], spans: Sequence[Span] = ()) -> go.Figure:
    """Return the panels that have lines, stacked over one time axis; the others are named below.

    Why they have none stands in the table, and where the page has room: see `absences`.
    `spans` are the stages to be shown as bands, see `reports.stage_spans.stage_spans`.
    """
    drawn = [panel for panel in panels if panel.lines]
    if not drawn:
        return empty_figure("No hardware trace. " + absences(panels))
    figure = make_subplots(
        rows=len(drawn),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.25 / len(drawn),
        subplot_titles=[f"{panel.title} ({panel.unit})" for panel in drawn],
    )
    figure.update_annotations(x=0, xanchor="left", font_size=13)
    for row, panel in enumerate(drawn, start=1):
        for line in panel.lines:
            figure.add_scatter(
                row=row,
                col=1,
                name=plain(f"{panel.title}, {line.name}"),
                x=line.at_s,
                y=line.values,
                mode="lines+markers",
                marker={"size": 4},
                line={"color": COLOURS[line.place % len(COLOURS)], "width": 2},
                showlegend=len(panel.lines) > 1 or line.place > 0,
                hovertemplate=f"%{{x:.2f}} s: %{{y:.4~r}} {panel.unit}",
            )
    style_figure(figure, "", "")
    figure.update_yaxes(rangemode="tozero")
    figure.update_xaxes(ticksuffix=" s")
    _add_bands(figure, spans)
    missing = [panel.title for panel in panels if not panel.lines]
    rows = _annotate(figure, f"No {', '.join(missing)}: see the table." if missing else "")
    named = [line.name for line in figure.data if line.showlegend is not False]
    below = TICKS_PX + NOTE_ROW_PX * rows + legend_px(named)
    height = TOP_PX + PANEL_PX * len(drawn) + below
    figure.update_layout(height=height, margin={"t": TOP_PX, "b": below})
    return figure


def absences(panels: list[TracePanel]) -> str:
    """Return which panels have no line, and why, by reason; "" where all have."""
    reasons: dict[str, list[str]] = {}
    for panel in panels:
        if not panel.lines:
            reasons.setdefault(panel.missing, []).append(panel.title)
    return " ".join(f"No {', '.join(titles)}: {why}." for why, titles in reasons.items())


def _add_bands(figure: go.Figure, spans: Sequence[Span]) -> None:
    """Lay a band under all panels for each stage of each call, and name its colour once."""
    known = [span for span in spans if span.name in BANDS]
    shapes = [
        {
            "type": "rect",
            "layer": "below",
            "xref": "x",
            "yref": "paper",
            "x0": span.start_s,
            "x1": span.end_s,
            "y0": 0,
            "y1": 1,
            "fillcolor": BANDS[span.name],
            "opacity": BAND_OPACITY,
            "line": {"width": 0},
        }
        for span in known
    ]
    figure.update_layout(shapes=shapes)
    for name in dict.fromkeys(span.name for span in known):
        look = {"symbol": "square", "size": 12, "color": BANDS[name], "opacity": 2 * BAND_OPACITY}
        figure.add_scatter(x=[None], y=[None], name=name, mode="markers", marker=look)


def trace_table(
    panels: list[TracePanel], cut: Cut | None = None
) -> tuple[list[str], list[list[Any]]]:
    """Return a row a line with its extremes, and the reason of every panel that has none.

    Then the figures of each stage, of the mean step and of single steps, with theirs. Of a cell of
    several visits all is of the last one, as its lines say.
    """
    calls = f"{ALL} of {cut.readings_of}" if cut and cut.readings_of else ALL
    header = [
        "during",
        "quantity",
        "unit",
        "device",
        "readings",
        "min",
        "mean",
        "max",
        "not measured because",
    ]
    rows: list[list[Any]] = []
    for panel in panels:
        for line in panel.lines:
            known = [value for value in line.values if value is not None]
            figures = [len(known), min(known), sum(known) / len(known), max(known)]
            rows.append([calls, panel.title, panel.unit, line.name, *figures, ""])
        if not panel.lines:
            rows.append([calls, panel.title, panel.unit, *[None] * 5, panel.missing])
    return header, rows + (_cut_rows(cut) if cut else [])


def _cut_rows(cut: Cut) -> list[list[Any]]:
    if cut.reason:
        return [["stages", "", "", *[None] * 5, cut.reason]]
    parts = [*cut.stages, *((cut.a_step,) if cut.a_step else ()), *cut.steps]
    rows = [row for part in parts for row in _part_rows(part)]
    if cut.no_steps:
        rows.append(["single steps", "", "", *[None] * 5, cut.no_steps])
    return rows


def _part_rows(part: Seen) -> list[list[Any]]:
    """Return the rows of a stage or step; an energy is given with its bounds as extremes."""
    on_gpu = part.memory_of == "GPU"
    memory, busy = ("GPU memory", "GPU") if on_gpu else ("process memory", "CPU")
    low_j = high_j = None
    if part.energy_j is not None and part.energy_error_j is not None:
        low_j, high_j = part.energy_j - part.energy_error_j, part.energy_j + part.energy_error_j
    found: list[tuple[str, str, str, float | None, float | None, float | None]] = [
        (memory, "MiB", "mean_memory_mib", None, part.mean_memory_mib, part.peak_memory_mib),
        (busy, "%", "utilization_percent", None, part.utilization_percent, None),
        (f"{busy} power", "W", "power_w", None, part.power_w, None),
        (f"{busy} energy of one", "J", "energy_j", low_j, part.energy_j, high_j),
    ]
    return [
        [part.title, title, unit, None, part.readings, *figures, part.missing.get(field, "")]
        for title, unit, field, *figures in found
    ]


def _kept(lines: list[TraceLine]) -> tuple[TraceLine, ...]:
    """Return the lines that have a reading for every time and at least one known value."""
    return tuple(
        line
        for line in lines
        if len(line.values) == len(line.at_s) and any(value is not None for value in line.values)
    )


def _why(cell: Cell, field: str, no_gpu: str | None = None) -> str:
    reasons = (no_gpu, cell.missing.get(field), cell.missing.get("trace"))
    return next((reason for reason in reasons if reason), "no reading in the report")


def _gpu_name(gpu: GpuTrace) -> str:
    return f"GPU {gpu.index} {gpu.name or ''}".strip()


def _annotate(figure: go.Figure, text: str) -> int:
    """Put a text below the last panel, where no line can cross it; return its rows."""
    if not text:
        return 0
    note = wrapped(text, WRAP_AT)
    figure.add_annotation(
        text=note,
        showarrow=False,
        align="left",
        xref="paper",
        yref="paper",
        x=0,
        y=0,
        yshift=-28,
        yanchor="top",
        xanchor="left",
    )
    return note.count("<br>") + 1
