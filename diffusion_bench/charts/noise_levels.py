"""How noise grows over the timesteps of a model's schedule, beside the usual schedules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.backends.inside.film import evenly
from diffusion_bench.charts.style import COLOURS, DASHES, plain, style_figure
from diffusion_bench.diffusion.noising import Level, noise_levels, usual_schedules

OWN = "this model"
LOWEST_DB = -60.0  # drawn of a ratio that goes to minus infinity
POINTS = 101
TABLE_POINTS = 11


class NoiseCurve(NamedTuple):
    """A schedule, at timesteps evenly apart from the first to the last."""

    name: str
    levels: tuple[Level, ...]


def noise_level_numbers(config: Mapping[str, Any]) -> list[NoiseCurve]:
    """Return the curve of a model's schedule, by its scheduler's settings, and the usual ones."""
    own = noise_levels(config)
    curves = {OWN: own} | usual_schedules(len(own))
    return [NoiseCurve(name, _some(levels, POINTS)) for name, levels in curves.items()]


def _some(levels: Sequence[Level], count: int) -> tuple[Level, ...]:
    return tuple(levels[place] for place in evenly(len(levels), count))


def noise_level_figure(curves: Sequence[NoiseCurve]) -> go.Figure:
    """Return the signal-to-noise ratio of each schedule over its timesteps."""
    figure = go.Figure()
    for number, curve in enumerate(curves):
        shown = [level for level in curve.levels if level.snr_db is not None]
        figure.add_scatter(
            x=[level.timestep for level in shown],
            y=[max(LOWEST_DB, level.snr_db or 0.0) for level in shown],
            mode="lines",
            name=plain(curve.name),
            line={
                "color": COLOURS[number],
                "dash": DASHES[number],
                "width": 5 if curve.name == OWN else 2,
            },
            customdata=[level.snr_db for level in shown],  # of which y shows what has room
            hovertemplate="timestep %{x}: %{customdata:.1f} dB<extra></extra>",
        )
    return style_figure(figure, "timestep", "signal-to-noise ratio (dB)", height=400)


def noise_level_table(curves: Sequence[NoiseCurve]) -> tuple[list[str], list[list[Any]]]:
    """Return factors and ratio of each schedule at a few timesteps."""
    header = [
        "schedule",
        "timestep",
        "factor of the picture, √ᾱ",
        "factor of the noise, √(1-ᾱ)",
        "signal-to-noise ratio (dB)",
    ]
    rows: list[list[Any]] = []
    for curve in curves:
        for level in _some(curve.levels, TABLE_POINTS):
            rows.append([curve.name, level.timestep, level.signal, level.noise, level.snr_db])
    return header, rows
