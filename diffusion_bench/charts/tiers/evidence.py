"""The bars of `bars.py` drawn: the four kinds of evidence differ in colour and in pattern."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from diffusion_bench.charts.bar_labels import label_bar
from diffusion_bench.charts.style import (
    COLOURS,
    LEGEND_ROW,
    TEXT,
    empty_figure,
    plain,
    style_figure,
)
from diffusion_bench.charts.tiers.bars import TierBar, TierBars, row_key
from diffusion_bench.tiers.evidence import EvidenceKind
from diffusion_bench.tiers.figures import figure_words

# Measured is full, published and predicted are less so: a print in grey tells them apart too.
LOOKS: dict[EvidenceKind, dict[str, Any]] = {
    "measured here": {"color": COLOURS[0]},
    "imported report": {"color": COLOURS[2], "pattern": {"shape": "/", "size": 7}},
    "published": {"color": COLOURS[1], "pattern": {"shape": ".", "size": 7, "solidity": 0.4}},
    "predicted": {"color": "rgba(136,136,136,0.2)", "line": {"color": TEXT, "width": 2}},
}
BAR = 24  # pixels
ABOVE, BELOW = 0.8, 0.8  # a panel's room above its first and below its last bar, in bars
PANEL = 76  # pixels of a panel beside its bars
NAME_WIDTH = 14  # characters of a tier's name in one line


def bars_figure(numbers: TierBars) -> go.Figure:
    """Return a panel a workload with a bar a piece of evidence; each panel has a scale its own."""
    workloads = list(dict.fromkeys(bar.workload for bar in numbers.bars))
    if not workloads:
        reasons = dict.fromkeys(reason for _, _, reason in numbers.absent)
        return empty_figure("Nothing to show: " + "; ".join(reasons or ["no workload"]))
    panels = [[bar for bar in numbers.bars if bar.workload == name] for name in workloads]
    heights = [BAR * (ABOVE + BELOW - min(_places(panel))) for panel in panels]
    inside = sum(heights) + PANEL * (len(panels) - 1)
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        row_heights=heights,
        vertical_spacing=PANEL / inside if len(panels) > 1 else 0,
        subplot_titles=[_title(name, numbers.unit) for name in workloads],
    )
    figure.update_annotations(x=0, xanchor="left", align="left", font_size=13)
    for index, panel in enumerate(panels, start=1):
        _add_panel(figure, panel, index, numbers.unit)
    kinds = [kind for kind in LOOKS if any(bar.kind == kind for bar in numbers.bars)]
    for kind in kinds:
        figure.add_bar(x=[None], y=[None], orientation="h", name=kind, marker=LOOKS[kind])
    below = 40 + 2 * LEGEND_ROW
    style_figure(figure, "", "", height=round(inside) + 48 + below)
    figure.update_layout(margin={"l": 8, "r": 16, "t": 48, "b": below}, barmode="overlay")
    return figure


def _title(workload: str, unit: str) -> str:
    """Return a panel's title in two lines, since a phone has no room for one."""
    model, size, *rest = workload.split(" ")
    return f"<b>{plain(model)}</b> {plain(size)}<br>{plain(' '.join(rest))} ({plain(unit)})"


def _places(panel: Sequence[TierBar]) -> list[float]:
    """Return where each bar stands, downwards from 0: half a bar's room between two tiers."""
    places, before = [0.0], panel[0].tier
    for bar in panel[1:]:
        places.append(places[-1] - (1.0 if bar.tier == before else 1.6))
        before = bar.tier
    return places


def _add_panel(figure: go.Figure, panel: Sequence[TierBar], row: int, unit: str) -> None:
    places = _places(panel)
    for kind in dict.fromkeys(bar.kind for bar in panel):
        own = [(index, bar) for index, bar in enumerate(panel) if bar.kind == kind]
        figure.add_bar(
            row=row,
            col=1,
            orientation="h",
            x=[bar.value for _, bar in own],
            y=[places[index] for index, _ in own],
            width=0.82,
            marker=LOOKS[kind],
            error_x=_intervals([bar for _, bar in own]),
            showlegend=False,
            customdata=[[_hover(bar, unit), row_key(bar)] for _, bar in own],
            hovertemplate="%{customdata[0]}<extra></extra>",
        )
    for index, bar in enumerate(panel):
        if bar.way:  # what tells it from others of its look
            label_bar(figure, bar.way, 0, places[index], row=row, col=1)
    ticks: dict[str, list[float]] = {}
    for index, bar in enumerate(panel):
        ticks.setdefault(bar.tier, []).append(places[index])
    figure.update_yaxes(
        row=row,
        col=1,
        tickvals=[sum(at) / len(at) for at in ticks.values()],
        ticktext=[_wrapped(tier) for tier in ticks],
        range=[min(places) - BELOW, ABOVE],
        showgrid=False,
        zeroline=False,
    )
    figure.update_xaxes(row=row, col=1, rangemode="tozero", nticks=6)


def _intervals(bars: Sequence[TierBar]) -> dict[str, Any]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [0 if bar.high is None else bar.high - bar.value for bar in bars],
        "arrayminus": [0 if bar.low is None else bar.value - bar.low for bar in bars],
        "color": TEXT,
        "thickness": 1.5,
        "width": 5,
    }


def _hover(bar: TierBar, unit: str) -> str:
    interval = ""
    if bar.low is not None and bar.high is not None:
        interval = f" ({figure_words(bar.low)} to {figure_words(bar.high)})"
    bound = "at most " if bar.at_most else ""
    lines = [
        f"{bar.tier}: {bar.card}",
        bar.workload,
        f"{bar.kind}: {bound}{figure_words(bar.value)} {unit}{interval}",
        bar.detail,
        f"source: {bar.source}",
    ]
    return "<br>".join(_folded(plain(line)) for line in lines if line)


def _folded(text: str, width: int = 60) -> str:
    """Return a text broken into lines that a phone can show."""
    lines = [""]
    for word in text.split(" "):
        if lines[-1] and len(lines[-1]) + len(word) >= width:
            lines.append(word)
        else:
            lines[-1] = f"{lines[-1]} {word}".strip()
    return "<br>".join(lines)


def _wrapped(name: str) -> str:
    return _folded(plain(name), NAME_WIDTH)
