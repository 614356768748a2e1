"""Words on bars, on a ground of their own: read on any pattern, on a light and a dark page."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from diffusion_bench.charts.style import plain

# Both fixed, so that neither the bar below nor the page around changes what is between them.
GROUND = "rgba(255,255,255,0.88)"
INK = "#333"


def label_bar(figure: go.Figure, text: str, x: float, y: float | str, **place: Any) -> None:
    """Write words on a horizontal bar from `x` on; `place` is a panel's row and column."""
    figure.add_annotation(
        text=plain(text),
        x=x,
        y=y,
        xanchor="left",
        xshift=4,
        showarrow=False,
        bgcolor=GROUND,
        borderpad=1,
        font={"size": 11, "color": INK},
        **place,
    )
