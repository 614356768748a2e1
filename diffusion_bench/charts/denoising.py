"""How samplers get from noise to a picture: what the network sees, and what noise is added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from diffusion_bench.backends.inside.film import Progress
from diffusion_bench.charts.style import COLOURS, DASHES, SYMBOLS, empty_figure, plain, style_figure

PANEL_HEIGHT = 260


class Course(NamedTuple):
    """The steps of one sampler, in the order in which they were taken."""

    name: str
    steps: tuple[Progress, ...]


def denoising_numbers(progress: Mapping[str, Sequence[Progress]]) -> list[Course]:
    """Return the course of each sampler by its name; one without steps is left out."""
    return [Course(name, tuple(steps)) for name, steps in progress.items() if steps]


def denoising_figure(
    courses: Sequence[Course], what: str = "picture", temperature: float = 1.0
) -> go.Figure:
    """Return two panels over the timesteps, which fall from left to right as they are taken.

    `what` is drawn: a picture, in the units of its latents, or what else is named, in its own.
    `temperature` is the deviation of the noise that the samplers were given, where it is not 1.
    """
    if not courses:
        return empty_figure("No steps yet.")
    figure = make_subplots(
        rows=2,
        cols=1,
        shared_xaxes=True,
        vertical_spacing=0.16,
        subplot_titles=[
            f"How far the {what} under the noise is from the final one",
            f"Fresh noise that the sampler adds{_tempered(temperature)}",
        ],
    )
    for number, course in enumerate(courses):
        look = {
            "line": {"color": COLOURS[number], "dash": DASHES[number]},
            "marker": {"symbol": SYMBOLS[number], "size": 6},
            "mode": "lines+markers",
            "name": plain(course.name),
            "legendgroup": course.name,
        }
        at = [step.timestep for step in course.steps]
        for row, values in enumerate(
            (
                [step.to_final for step in course.steps],
                [step.added_noise for step in course.steps],
            ),
            1,
        ):
            figure.add_scatter(
                x=at,
                y=values,
                showlegend=row == 1,
                hovertemplate="timestep %{x}: %{y:.3f}<extra></extra>",
                row=row,
                col=1,
                **look,
            )
    style_figure(figure, "", _unit(what), height=2 * PANEL_HEIGHT)
    figure.update_xaxes(autorange="reversed")
    figure.update_xaxes(title_text="timestep", row=2, col=1)
    return figure


def denoising_table(
    courses: Sequence[Course], what: str = "picture", temperature: float = 1.0
) -> tuple[list[str], list[list[Any]]]:
    """Return every step of every sampler; what and temperature are those of the figure."""
    header = [
        "sampler",
        "step",
        "timestep",
        f"factor of the {what}, √ᾱ",
        f"factor of the noise, √(1-ᾱ){_tempered(temperature)}",
        f"distance to the final {what} ({_unit(what)})",
        f"fresh noise{_tempered(temperature)} ({_unit(what)})",
    ]
    rows = [
        [
            course.name,
            step.step,
            step.timestep,
            step.signal,
            step.noise,
            step.to_final,
            step.added_noise,
        ]
        for course in courses
        for step in course.steps
    ]
    return header, rows


def _tempered(temperature: float) -> str:
    """Return what is said of noise that is weaker or stronger than in training."""
    return "" if temperature == 1 else f", of noise at temperature {temperature:g}"


def _unit(what: str) -> str:
    return "RMS of latents" if what == "picture" else f"RMS of the {what}"
