"""The U of a U-Net: its blocks by resolution, the way down, the way up, the skips across."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.backends.inside.anatomy import Block
from diffusion_bench.charts.style import COLOURS, empty_figure, plain, style_figure

SMALLEST, LARGEST = 22, 54  # pixels of a mark, by the channels of a block


class Skip(NamedTuple):
    """So many `tensors` that go from one block, by its place, straight to another."""

    start: int
    end: int
    tensors: int


class UShape(NamedTuple):
    """The blocks in the order in which they work, and the skips between them."""

    blocks: tuple[Block, ...]
    skips: tuple[Skip, ...]


def unet_numbers(blocks: Sequence[Block]) -> UShape:
    """Return the shape of a U-Net: who gets what goes round follows from the counts.

    Blocks on the way down put what goes round on a pile, those on the way up take from its top.
    """
    pile: list[int] = []
    skips: list[Skip] = []
    for place, block in enumerate(blocks):
        if block.way in ("in", "down"):
            pile += [place] * block.skips
        elif block.way == "up":
            taken = [pile.pop() for _ in range(min(block.skips, len(pile)))]
            for start in dict.fromkeys(taken):
                skips.append(Skip(start, place, taken.count(start)))
    return UShape(tuple(blocks), tuple(skips))


def unet_figure(shape: UShape) -> go.Figure:
    """Return the blocks as marks, larger with more channels, lower with lower resolution."""
    if not shape.blocks:
        return empty_figure("No network yet.")
    heights = [block.rows for block in shape.blocks]
    most = max(block.channels for block in shape.blocks)
    figure = go.Figure()
    for skip in shape.skips:
        figure.add_scatter(
            x=[skip.start, skip.end],
            y=[heights[skip.start], heights[skip.end]],
            mode="lines",
            line={"color": COLOURS[1], "dash": "dash", "width": 1 + skip.tensors},
            hoverinfo="skip",
            showlegend=skip is shape.skips[0],
            name="skips: what goes across",
        )
    figure.add_scatter(
        x=list(range(len(shape.blocks))),
        y=heights,
        mode="lines+markers",
        line={"color": COLOURS[0], "width": 3},
        marker={
            "size": [
                SMALLEST + (LARGEST - SMALLEST) * block.channels / most for block in shape.blocks
            ],
            "symbol": "square",
            "color": COLOURS[0],
        },
        text=[plain(_words(block)) for block in shape.blocks],
        hovertemplate="%{text}<extra></extra>",
        name="the way through",
    )
    style_figure(figure, "order in which the blocks work", "rows of what a block hands on")
    figure.update_xaxes(
        tickvals=list(range(len(shape.blocks))),
        ticktext=[plain(block.name.replace(" convolution", "")) for block in shape.blocks],
        tickangle=-40,
    )
    ticks = sorted(set(heights))
    figure.update_yaxes(type="log", tickvals=ticks, ticktext=[str(tick) for tick in ticks])
    return figure


def _words(block: Block) -> str:
    return (
        f"{block.name}: {block.channels} channels of {block.columns}x{block.rows}, "
        f"{block.parameters:,} parameters, {block.attentions} attention layers"
    )


def unet_table(shape: UShape) -> tuple[list[str], list[list[Any]]]:
    """Return a row for each block."""
    header = [
        "block",
        "channels",
        "rows",
        "columns",
        "parameters",
        "share of parameters (%)",
        "attention layers",
        "skips",
    ]
    goes: dict[int, list[str]] = {}
    for skip in shape.skips:
        start, end = shape.blocks[skip.start].name, shape.blocks[skip.end].name
        goes.setdefault(skip.start, []).append(f"{skip.tensors} to {end}")
        goes.setdefault(skip.end, []).append(f"{skip.tensors} from {start}")
    rows: list[list[Any]] = [
        [
            block.name,
            block.channels,
            block.rows,
            block.columns,
            block.parameters,
            100 * block.share,
            block.attentions,
            ", ".join(goes.get(place, [])),
        ]
        for place, block in enumerate(shape.blocks)
    ]
    return header, rows
