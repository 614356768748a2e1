"""The memory of the consumer cards against what each workload needs: VRAM is king."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.style import (
    COLOURS,
    DASHES,
    LEGEND_ROW,
    TEXT,
    empty_figure,
    plain,
    style_figure,
)
from diffusion_bench.tiers.cards import Card, find_card, is_geforce, known_cards
from diffusion_bench.tiers.path import UpgradePath
from diffusion_bench.tiers.rows import fit_on, need_of
from diffusion_bench.tiers.workload import Software, Workload, told_apart

BAR = 16  # pixels
GREY = "rgba(136,136,136,0.45)"


class CardRoom(NamedTuple):
    """A card's memory, and for each workload whether it fits what it gives of that.

    `in_path`: the path has it.
    """

    card: str
    memory_gib: float
    in_path: bool
    fits: tuple[str, ...]


class Need(NamedTuple):
    """What a workload needs without any remedy, with its interval; `None`: cannot be told.

    `short` tells it from the others at its line.
    """

    workload: str
    short: str
    gib: float | None
    low_gib: float | None
    high_gib: float | None
    reason: str = ""


class VramNumbers(NamedTuple):
    """Cards by rising memory, and what each workload needs of them."""

    cards: tuple[CardRoom, ...]
    needs: tuple[Need, ...]


def vram_numbers(
    path: UpgradePath, workloads: Sequence[Workload], cards: Sequence[Card] | None = None
) -> VramNumbers:
    """Return the consumer line and the path's own cards; verdicts take RAM for unlimited."""
    matches = [find_card(name, cards).card for tier in path.tiers for name in tier.gpus]
    own = [card for card in matches if card is not None]
    names = {card.name for card in own}
    line = {card.name: card for card in known_cards() if is_geforce(card.name)}
    line |= {card.name: card for card in own}
    ordered = sorted(
        line.values(), key=lambda card: (card.vram_mib, card.launch_year or 9999, card.name)
    )
    rooms = tuple(
        CardRoom(
            card.name,
            round(card.vram_mib / 1024, 2),
            card.name in names,
            _verdicts(card, workloads),
        )
        for card in ordered
    )
    return VramNumbers(rooms, tuple(_need(workload, workloads) for workload in workloads))


def _need(workload: Workload, all_asked: Sequence[Workload]) -> Need:
    names = workload.name, f"{workload.model} {told_apart(workload, all_asked)}".rstrip()
    try:
        need = need_of(workload, Software())
    except ValueError as error:
        return Need(*names, None, None, None, str(error))
    return Need(*names, need.peak_mib / 1024, need.low_mib / 1024, need.high_mib / 1024)


def _verdicts(card: Card, workloads: Sequence[Workload]) -> tuple[str, ...]:
    found = []
    for workload in workloads:
        try:
            found.append(fit_on(card, workload, Software()).words())
        except ValueError:
            found.append("cannot tell")
    return tuple(found)


def vram_figure(numbers: VramNumbers) -> go.Figure:
    """Return a bar a card, and for each workload a line at what it needs in a band of doubt."""
    if not numbers.cards:
        return empty_figure("No card.")
    figure = go.Figure()
    for in_path, name in ((False, "other GeForce cards"), (True, "cards of the path")):
        rooms = [room for room in numbers.cards if room.in_path == in_path]
        figure.add_bar(
            name=name,
            orientation="h",
            x=[room.memory_gib for room in rooms],
            y=[plain(room.card) for room in rooms],
            marker={"color": COLOURS[0] if in_path else GREY},
            customdata=[_verdict_lines(room, numbers.needs) for room in rooms],
            hovertemplate="%{y}: %{x:.3~r} GiB<br>%{customdata}<extra></extra>",
        )
    for index, need in enumerate(numbers.needs):
        if need.gib is not None:
            _add_need(figure, need, index)
    style_figure(figure, "memory (GiB)", "", height=_height(numbers))
    figure.update_layout(
        barmode="overlay",
        margin={"l": 8, "t": 36, "b": 64 + LEGEND_ROW * _legend_rows(numbers)},
        bargap=0.25,
    )
    figure.update_yaxes(
        categoryorder="array",
        categoryarray=[plain(room.card) for room in numbers.cards],
        tickfont_size=11,
        showgrid=False,
        dtick=1,
    )
    figure.update_xaxes(rangemode="tozero", nticks=8)
    return figure


def _add_need(figure: go.Figure, need: Need, index: int) -> None:
    # From COLOURS[1] on: the first one is that of the path's cards.
    colour = COLOURS[1 + index % (len(COLOURS) - 1)]
    told = f"{need.gib:.1f} GiB ({need.low_gib:.1f} to {need.high_gib:.1f})"
    text = f"{plain(need.workload)}<br>{told}"
    figure.add_vrect(
        x0=need.low_gib,
        x1=need.high_gib,
        fillcolor=colour,
        opacity=0.18,
        line_width=0,
        layer="below",
    )
    figure.add_scatter(
        name=text,
        x=[need.gib, need.gib],
        y=[0, 1],
        yaxis="y2",
        mode="lines",
        line={"color": colour, "width": 3, "dash": DASHES[index % len(DASHES)]},
        hovertemplate=text + "<extra></extra>",
    )
    figure.update_layout(
        yaxis2={"overlaying": "y", "range": [0, 1], "visible": False, "fixedrange": True}
    )
    figure.add_annotation(
        text=plain(need.short),
        x=need.gib,
        y=1,
        yref="paper",
        yanchor="bottom",
        yshift=14 if index % 2 else 0,  # neighbours would lie on each other
        showarrow=False,
        font={"size": 11, "color": TEXT},
    )


def _verdict_lines(room: CardRoom, needs: Sequence[Need]) -> str:
    pairs = zip(needs, room.fits, strict=True)
    return "<br>".join(plain(f"{need.workload}: {verdict}") for need, verdict in pairs)


def _legend_rows(numbers: VramNumbers) -> int:
    return 2 + 2 * len(numbers.needs)  # a phone has no room for a workload in one line


def _height(numbers: VramNumbers) -> int:
    return 110 + BAR * len(numbers.cards) + LEGEND_ROW * _legend_rows(numbers)


def vram_table(numbers: VramNumbers) -> tuple[list[str], list[list[Any]]]:
    """Return what is needed, then a row a card with a verdict a workload."""
    header = ["card", "memory (GiB)", "of the path", *(need.workload for need in numbers.needs)]
    needed = [
        f"needs {need.gib:.1f} GiB ({need.low_gib:.1f} to {need.high_gib:.1f})"
        if need.gib is not None
        else f"cannot tell: {need.reason}"
        for need in numbers.needs
    ]
    rows: list[list[Any]] = [["any", None, "", *needed]]
    rows += [
        [room.card, room.memory_gib, "yes" if room.in_path else "", *room.fits]
        for room in reversed(numbers.cards)
    ]
    return header, rows
