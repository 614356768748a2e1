"""Bars by resolution: patterns tell samplers apart, colours batches and the rest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.style import (
    COLOURS,
    PATTERNS,
    explain_bars,
    keyed,
    plain,
    style_figure,
)


class Bar(NamedTuple):
    """One bar. `detail` is added to its name in the hover text."""

    sampler: str
    resolution: str
    other: str
    value: float
    detail: str = ""


def bars_figure(bars: Sequence[Bar], y_title: str, hover: str) -> go.Figure:
    """Return the chart of at least one bar; `hover` is plotly's template of its value."""
    figure = go.Figure()
    patterns = keyed((bar.sampler for bar in bars), PATTERNS)
    colours = keyed((bar.other for bar in bars), COLOURS)
    groups = dict.fromkeys((bar.sampler, bar.other) for bar in bars)
    for place, (sampler, other) in enumerate(groups):
        group = [bar for bar in bars if (bar.sampler, bar.other) == (sampler, other)]
        name = ", ".join(part for part in (sampler, other, group[0].detail) if part)
        figure.add_bar(
            name=plain(name),
            x=[bar.resolution for bar in group],
            y=[bar.value for bar in group],
            marker={"color": colours[other], "pattern": {"shape": patterns[sampler]}},
            offsetgroup=str(place),
            showlegend=False,
            hovertemplate="%{x}: " + hover,
        )
    style_figure(figure, "resolution (pixels)", y_title)
    explain_bars(figure, patterns, colours)
    figure.update_xaxes(type="category")
    return figure
