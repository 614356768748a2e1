"""The models a card can run drawn: what each needs of its memory, by verdict."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from typing import Any

import plotly.graph_objects as go

from diffusion_bench.charts.style import (
    COLOURS,
    LEGEND_ROW,
    TEXT,
    bar_look,
    empty_figure,
    plain,
    style_figure,
)
from diffusion_bench.charts.tier_runnable import Room, Runnable

BAR = 26  # pixels
LOOKS: dict[str, dict[str, Any]] = {
    "fits": {"color": COLOURS[2]},
    "tight": {"color": COLOURS[1], "pattern": {"shape": "/", "size": 7}},
    "fits with a remedy": {"color": COLOURS[0], "pattern": {"shape": "x", "size": 7}},
    "does not fit": {"color": COLOURS[4], "pattern": {"shape": ".", "size": 7}},
}


def room_figure(room: Room) -> go.Figure:
    """Return a bar a model against a line at the memory of a card, or of a machine."""
    drawn = [one for one in room.runs if one.memory_gib is not None]
    if not drawn:
        return empty_figure("Nothing can be told of this card.")
    figure = go.Figure()
    for look, measured in product(LOOKS, (False, True)):
        own = [
            one for one in drawn if (_look(one), one.fit_kind != "predicted") == (look, measured)
        ]
        if own:
            figure.add_bar(
                name=f"{look}, measured" if measured else look,
                orientation="h",
                x=[one.memory_gib for one in own],
                y=[_label(one) for one in own],
                marker={**LOOKS[look], **bar_look("predicted")},
                text="measured" if measured else None,
                error_x=_doubt(own),
                customdata=[_hover(one) for one in own],
                hovertemplate="%{customdata}<extra></extra>",
            )
    below = 64 + 2 * LEGEND_ROW
    style_figure(figure, "memory (GiB)", "", height=48 + BAR * len(drawn) + below)
    figure.add_vline(x=room.memory_gib, line={"color": TEXT, "width": 3})
    figure.add_annotation(
        text=plain(f"{room.name}: {room.memory_gib:.3g} GiB"),
        x=1,
        y=1,
        xref="paper",
        yref="paper",
        yanchor="bottom",
        xanchor="right",
        showarrow=False,
    )
    figure.update_layout(barmode="overlay", margin={"l": 8, "t": 36, "b": below}, bargap=0.25)
    order = [_label(one) for one in drawn]
    figure.update_yaxes(categoryorder="array", categoryarray=order[::-1], showgrid=False, dtick=1)
    figure.update_xaxes(rangemode="tozero", nticks=8)
    return figure


def _look(one: Runnable) -> str:
    verdict = one.fit or ""
    if verdict.startswith("tight"):
        return "tight"
    return "fits with a remedy" if verdict.startswith("fits with") else verdict


def _doubt(own: Sequence[Runnable]) -> dict[str, object]:
    return {
        "type": "data",
        "symmetric": False,
        "array": [(one.memory_gib_high or 0) - (one.memory_gib or 0) for one in own],
        "arrayminus": [(one.memory_gib or 0) - (one.memory_gib_low or 0) for one in own],
        "color": TEXT,
        "thickness": 1.5,
        "width": 4,
    }


def _label(one: Runnable) -> str:
    return plain(f"{one.workload.model} {one.workload.width}x{one.workload.height}")


def _hover(one: Runnable) -> str:
    lines = [
        one.workload.name,
        f"{one.verdict}: needs {one.memory_gib:.1f} GiB "
        f"({one.memory_gib_low:.1f} to {one.memory_gib_high:.1f}), predicted",
        one.fit_basis,
    ]
    if one.seconds_per_image is not None and one.evidence is not None:
        lines.append(f"{one.seconds_per_image:.3g} s/image, {one.evidence.kind}")
    return "<br>".join(plain(line) for line in [*lines, one.reason] if line)
