"""Mel spectrograms of a reference and of what was spoken in its voice, on one scale of time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from plotly.subplots import make_subplots

from diffusion_bench.charts.style import empty_figure, plain, style_figure

RANGE_DB = 70.0  # below the loudest of a panel it is black
DB_OF_LOG = 20 / np.log(10)  # of natural logarithms of magnitudes
LONGEST_S = 30.0  # shown of a recording; a longer one would be a blur
TABLE_EVERY_S = 0.5
BAND_SPLIT = 0.5  # of the mel bins: below it vowels, above it mostly s, f and breath
PANEL_HEIGHT = 190
GAP = 0.24  # between two panels, of the height of one


class SpectrogramPanel(NamedTuple):
    """One recording: `levels_db` (bins, frames) below its loudest, and the seconds of a frame."""

    name: str
    levels_db: NDArray[np.float32]
    hop_s: float

    @property
    def duration_s(self) -> float:
        """Return the seconds that are shown."""
        return float(self.levels_db.shape[1] * self.hop_s)


def spectrogram_numbers(
    mels: Sequence[tuple[str, NDArray[np.float32], float]],
) -> list[SpectrogramPanel]:
    """Return a panel for each (name, natural log mel (bins, frames), seconds of a frame)."""
    panels = []
    for name, mel, hop_s in mels:
        shown = mel[:, : int(LONGEST_S / hop_s)]
        if shown.size:
            levels = DB_OF_LOG * (shown - shown.max())
            panels.append(SpectrogramPanel(name, np.maximum(levels, -RANGE_DB), hop_s))
    return panels


def spectrogram_figure(panels: Sequence[SpectrogramPanel]) -> go.Figure:
    """Return the panels above each other; low sounds at the bottom."""
    if not panels:
        return empty_figure("No spectrogram yet.")
    figure = make_subplots(
        rows=len(panels),
        cols=1,
        shared_xaxes=True,
        vertical_spacing=GAP / len(panels),
        subplot_titles=[plain(panel.name) for panel in panels],
    )
    for row, panel in enumerate(panels, 1):
        figure.add_heatmap(
            z=panel.levels_db,
            x=np.arange(panel.levels_db.shape[1]) * panel.hop_s,
            zmin=-RANGE_DB,
            zmax=0,
            colorscale="Viridis",
            showscale=row == 1,
            colorbar={"title": "dB", "thickness": 12},
            hovertemplate="%{x:.2f} s, mel bin %{y}: %{z:.0f} dB<extra></extra>",
            row=row,
            col=1,
        )
    style_figure(figure, "", "mel bin", height=PANEL_HEIGHT * len(panels) + 80)
    figure.update_xaxes(title_text="time (s)", row=len(panels), col=1)
    figure.update_layout(showlegend=False)
    return figure


def spectrogram_table(panels: Sequence[SpectrogramPanel]) -> tuple[list[str], list[list[Any]]]:
    """Return the level of each half second in two bands: what the picture shows, in numbers."""
    header = ["recording", "from (s)", "level of low half (dB)", "level of high half (dB)"]
    rows: list[list[Any]] = []
    for panel in panels:
        size = max(1, round(TABLE_EVERY_S / panel.hop_s))
        split = int(panel.levels_db.shape[0] * BAND_SPLIT)
        for start in range(0, panel.levels_db.shape[1], size):
            piece = panel.levels_db[:, start : start + size]
            low, high = float(piece[:split].mean()), float(piece[split:].mean())
            rows.append([panel.name, start * panel.hop_s, low, high])
    return header, rows
