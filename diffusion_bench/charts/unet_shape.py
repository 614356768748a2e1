"""The U of a U-Net: its blocks by resolution, the way down, the way up, the skips across."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.backends.inside.anatomy import Block, Shape
from diffusion_bench.charts.style import COLOURS, TEXT, empty_figure, plain, style_figure

SMALLEST, LARGEST = 22, 54  # pixels of a mark, by the channels of a block


FIRST_LEVEL, NEXT_LEVEL = 0.42, 0.24  # octaves of a skip's line above its own rows, past the marks


class Skip(NamedTuple):
    """So many `tensors` of one shape that go from one block, by its place, straight to another."""

    start: int
    end: int
    tensors: int
    shape: Shape

    @property
    def words(self) -> str:
        """Return channels, rows and columns, and how many there are of them if several."""
        shape = "x".join(map(str, self.shape))
        return shape if self.tensors == 1 else f"{self.tensors} of {shape}"


class UShape(NamedTuple):
    """The blocks in the order in which they work, and the skips between them.

    `parameters` are those of the whole network, of which some are in no block.
    """

    blocks: tuple[Block, ...]
    skips: tuple[Skip, ...]
    parameters: int


def unet_numbers(blocks: Sequence[Block], parameters: int) -> UShape:
    """Return the shape of a U-Net: who gets what goes round follows from the counts.

    Blocks on the way down put what goes round on a pile, those on the way up take from its top. A
    block hands on another resolution than it works at, so a skip's own is that of its tensors.
    """
    pile: list[tuple[int, Shape]] = []
    skips: list[Skip] = []
    for place, block in enumerate(blocks):
        if block.way in ("in", "down"):
            pile += [(place, shape) for shape in block.skips]
        elif block.way == "up":
            taken = [pile.pop() for _ in range(min(len(block.skips), len(pile)))]
            for (start, shape), tensors in Counter(taken).items():
                skips.append(Skip(start, place, tensors, shape))
    return UShape(tuple(blocks), tuple(skips), parameters)


def unet_figure(shape: UShape) -> go.Figure:
    """Return the blocks as marks, larger with more channels, lower with lower resolution.

    A skip is level, a little above the rows that its tensors have.
    """
    if not shape.blocks:
        return empty_figure("No network yet.")
    heights = [block.rows for block in shape.blocks]
    most = max(block.channels for block in shape.blocks)
    figure = go.Figure()
    for skip, level in zip(shape.skips, _levels(shape.skips), strict=True):
        start, end = (shape.blocks[place].name for place in (skip.start, skip.end))
        figure.add_scatter(
            x=[skip.start, skip.start, (skip.start + skip.end) / 2, skip.end, skip.end],
            y=[heights[skip.start], level, level, level, heights[skip.end]],
            mode="lines+text",
            text=["", "", f"{skip.shape[2]}x{skip.shape[1]}", "", ""],
            textposition="top center",
            textfont={"color": TEXT, "size": 11},
            line={"color": COLOURS[1], "dash": "dash", "width": 1 + skip.tensors},
            hovertemplate=plain(f"{start} to {end}: {skip.words}") + "<extra></extra>",
            showlegend=skip is shape.skips[0],
            name="skips, just above the rows they have",
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
    style_figure(
        figure, "order in which the blocks work", "rows of what a block hands on", height=460
    )
    figure.update_xaxes(
        tickvals=list(range(len(shape.blocks))),
        ticktext=[plain(block.name.replace(" convolution", "")) for block in shape.blocks],
        tickangle=-40,
    )
    ticks = sorted(set(heights))
    figure.update_yaxes(type="log", tickvals=ticks, ticktext=[str(tick) for tick in ticks])
    return figure


def _levels(skips: Sequence[Skip]) -> list[float]:
    """Return where the line of each skip is: above its own rows, the longer ones of them higher."""
    lower: Counter[int] = Counter()
    levels = []
    for skip in skips:
        rows = skip.shape[1]
        levels.append(rows * 2 ** (FIRST_LEVEL + NEXT_LEVEL * lower[rows]))
        lower[rows] += 1
    return levels


def _words(block: Block) -> str:
    return (
        f"{block.name}: {block.channels} channels of {block.columns}x{block.rows}, "
        f"{block.parameters:,} parameters, {block.attentions} attention layers, of which "
        f"{block.reading} read the prompt"
    )


def unet_table(shape: UShape) -> tuple[list[str], list[list[Any]]]:
    """Return a row for each block, and one for what is in none of them."""
    header = [
        "block",
        "channels",
        "rows",
        "columns",
        "parameters",
        "share of parameters (%)",
        "attention layers",
        "reading the prompt",
        "skips (channels x rows x columns)",
    ]
    goes: dict[int, list[str]] = {}
    for skip in shape.skips:
        start, end = shape.blocks[skip.start].name, shape.blocks[skip.end].name
        goes.setdefault(skip.start, []).append(f"{skip.words} to {end}")
        goes.setdefault(skip.end, []).append(f"{skip.words} from {start}")
    rows: list[list[Any]] = [
        [
            block.name,
            block.channels,
            block.rows,
            block.columns,
            block.parameters,
            100 * block.share,
            block.attentions,
            block.reading,
            ", ".join(goes.get(place, [])),
        ]
        for place, block in enumerate(shape.blocks)
    ]
    rest = shape.parameters - sum(block.parameters for block in shape.blocks)
    if rest:
        share = 100 * rest / shape.parameters
        rows.append(["time embedding and the rest", None, None, None, rest, share, 0, 0, ""])
    return header, rows
