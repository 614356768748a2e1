"""How far apart the two x_0 are, with the prompt and without, at each step."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.backends.inside.guidance import Guided
from diffusion_bench.charts.style import COLOURS, DASHES, empty_figure, style_figure


class Apart(NamedTuple):
    """A guidance scale, and how far apart the x_0 of the two answers were at each step."""

    scale: float
    apart: tuple[float, ...]


def guidance_numbers(pictures: Sequence[Guided]) -> list[Apart]:
    """Return the scales with two answers: those above 1."""
    return [Apart(each.scale, each.apart) for each in pictures if each.apart]


def guidance_figure(numbers: Sequence[Apart]) -> go.Figure:
    """Return a line for each scale over the steps."""
    if not numbers:
        return empty_figure("At guidance 1 or less there is one answer only.")
    figure = go.Figure()
    for number, each in enumerate(numbers):
        figure.add_scatter(
            x=list(range(1, len(each.apart) + 1)),
            y=each.apart,
            mode="lines+markers",
            name=f"guidance {each.scale:g}",
            line={
                "color": COLOURS[number % len(COLOURS)],
                "dash": DASHES[number % len(DASHES)],
            },
            hovertemplate="step %{x}: %{y:.3f}<extra></extra>",
        )
    style_figure(figure, "step", "distance of the two x_0 (RMS of latents)", height=400)
    return figure


def guidance_table(numbers: Sequence[Apart]) -> tuple[list[str], list[list[Any]]]:
    """Return every step of every scale."""
    header = ["guidance", "step", "distance of the two x_0 (RMS of latents)"]
    rows: list[list[Any]] = [
        [each.scale, step, apart]
        for each in numbers
        for step, apart in enumerate(each.apart, start=1)
    ]
    return header, rows
