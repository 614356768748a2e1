"""The models a card can run drawn: what each needs of its memory, by verdict.

A bar is the measured peak where there is one, solid and named by whose it is; else what is
predicted, pale, with its interval.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go
from plotly.colors import hex_to_rgb

from diffusion_bench.charts.bar_labels import label_bar
from diffusion_bench.charts.style import (
    COLOURS,
    TEXT,
    empty_figure,
    legend_px,
    plain,
    style_figure,
)
from diffusion_bench.charts.tiers.runnable import Room, Runnable
from diffusion_bench.tiers.workload import sized_name

BAR = 26  # pixels
OUTLINE = {"color": TEXT, "width": 2}
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
    asked = [one.workload for one in drawn]
    labels = {one: plain(sized_name(one, asked)) for one in asked}
    kinds = sorted({(list(LOOKS).index(_look(one)), _basis(one)) for one in drawn})
    names = []
    for place, basis in kinds:
        look = list(LOOKS)[place]
        own = [one for one in drawn if (_look(one), _basis(one)) == (look, basis)]
        names.append(f"{look}, {basis}")
        _add_bars(figure, own, [labels[one.workload] for one in own], names[-1])
    below = 64 + legend_px(names)
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
    order = list(labels.values())[::-1]
    figure.update_yaxes(categoryorder="array", categoryarray=order, showgrid=False, dtick=1)
    figure.update_xaxes(rangemode="tozero", nticks=8)
    return figure


def _add_bars(figure: go.Figure, own: Sequence[Runnable], labels: Sequence[str], name: str) -> None:
    """Draw what one entry of the legend stands for."""
    measured = own[0].peak_gib is not None
    figure.add_bar(
        name=name,
        orientation="h",
        x=[one.memory_gib if one.peak_gib is None else one.peak_gib for one in own],
        y=labels,
        marker=_marker(own[0]),
        error_x=None if measured else _doubt(own),
        customdata=[_hover(one) for one in own],
        hovertemplate="%{customdata}<extra></extra>",
    )
    for label in labels if measured else ():
        label_bar(figure, own[0].fit_kind, 0, label)


def _basis(one: Runnable) -> str:
    """Return what a bar's verdict and its length rest on."""
    untold = one.peak_gib is None and one.fit_kind != "predicted"
    return f"{one.fit_kind}, need predicted" if untold else one.fit_kind


def _marker(one: Runnable) -> dict[str, Any]:
    """Return a bar's looks; the paleness is its colour's, since a legend shows no other."""
    found = dict(LOOKS[_look(one)])
    if one.peak_gib is None:
        red, green, blue = hex_to_rgb(found["color"])
        return {**found, "color": f"rgba({red},{green},{blue},0.45)", "line": OUTLINE}
    if "pattern" in found:
        found["pattern"] = {**found["pattern"], "fillmode": "overlay"}
    return found if one.fit_kind == "measured here" else {**found, "line": OUTLINE}


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


def _hover(one: Runnable) -> str:
    lines = [
        one.workload.name,
        f"{one.verdict}: needs {one.memory_gib:.1f} GiB "
        f"({one.memory_gib_low:.1f} to {one.memory_gib_high:.1f}), predicted",
        "" if one.peak_gib is None else f"the bar is the measured peak, {one.peak_gib:.1f} GiB",
        one.fit_basis,
    ]
    if one.seconds_per_image is not None and one.evidence is not None:
        lines.append(f"{one.seconds_per_image:.3g} s/image, {one.evidence.kind}")
    return "<br>".join(plain(line) for line in [*lines, one.reason] if line)
