"""Bars by resolution, or by the length of texts: patterns tell samplers apart, colours the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.style import (
    Look,
    bar_look,
    explain_bars,
    plain,
    style_figure,
)

PIXELS = "resolution (pixels)"


class Bar(NamedTuple):
    """One bar. `detail` is added to its name in the hover text, `basis` changes its look."""

    sampler: str
    resolution: str
    other: str
    value: float
    look: Look
    detail: str = ""
    basis: str = ""


def bars_figure(
    bars: Sequence[Bar], y_title: str, hover: str, *, x_title: str = PIXELS
) -> go.Figure:
    """Return the chart of at least one bar; `hover` is plotly's template of its value."""
    figure = go.Figure()
    patterns = {bar.sampler: bar.look.pattern for bar in bars}
    colours = {bar.other: bar.look.bar_colour for bar in bars}
    places = keyed_places(bars)
    for sampler, other, basis in dict.fromkeys((b.sampler, b.other, b.basis) for b in bars):
        group = [b for b in bars if (b.sampler, b.other, b.basis) == (sampler, other, basis)]
        name = ", ".join(part for part in (sampler, other, group[0].detail, basis) if part)
        figure.add_bar(
            name=plain(name),
            x=[bar.resolution for bar in group],
            y=[bar.value for bar in group],
            marker={
                "color": colours[other],
                "pattern": {"shape": patterns[sampler]},
                **bar_look(basis),
            },
            offsetgroup=places[sampler, other],
            showlegend=False,
            hovertemplate="%{x}: " + hover,
        )
    style_figure(figure, x_title, y_title)
    explain_bars(figure, patterns, colours, [bar.basis for bar in bars])
    figure.update_xaxes(type="category")
    return figure


def keyed_places(bars: Sequence[Bar]) -> dict[tuple[str, str], str]:
    """Return the place of each sampler and series within a group of bars."""
    groups = dict.fromkeys((bar.sampler, bar.other) for bar in bars)
    return {group: str(place) for place, group in enumerate(groups)}
