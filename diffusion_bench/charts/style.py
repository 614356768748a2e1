"""The look all charts share: transparent, so that it fits a light and a dark page alike."""

from __future__ import annotations

import html
import math
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.text_colour import TEXT as TEXT

GRID = "rgba(128,128,128,0.25)"
CLEAR = "rgba(0,0,0,0)"

# Okabe and Ito's colours without black and with yellow left out: all keep a contrast of 2.2 or
# more against white and against #1e293b, the dark block that charts lie on.
COLOURS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#D55E00", "#56B4E9")
# Ten more for charts of many settings, found by computing: with those before them, all keep 2.2 on
# both pages, and those nearest to each other are 0.11 apart in OKLab, 0.055 to eyes that miss red
# or green. None is near the grey of `TEXT`, which means another thing.
MANY_COLOURS = (
    *COLOURS,
    *("#8400FC", "#B40C78", "#9078FC", "#84543C", "#E400CC"),
    *("#90B490", "#FC3C6C", "#C0180C", "#908448", "#6C5490"),
)
DASHES = ("solid", "dash", "dot", "dashdot", "longdash")
PATTERNS = ("", "/", "x", ".", "-")
# By what a figure is: measured whole is solid; the rest never looks like it.
MARKS = {
    "": "",
    "extrapolated": "-open",
    "emulated": "-dot",
    "extrapolated, emulated": "-open-dot",
}
# Of each there are those of MARKS, as there are not of all of plotly's.
SYMBOLS = (
    *("circle", "square", "diamond", "triangle-up", "x", "star", "cross", "hexagon"),
    *("triangle-down", "pentagon", "star-diamond", "diamond-wide", "triangle-left"),
    *("hexagram", "star-square", "octagon"),
)

TITLE_LETTERS = 33  # of a line of an axis title: of 8 pixels each, and a panel of 272 pixels
MESSAGE_LETTERS = 44  # of a line of a message instead of a figure, on a phone
PLOT_PX = 272  # height of what is drawn in, above the axis's words and the legend
AROUND_PX = 88  # of the margins above and below it, without the legend
LEGEND_ROW = 20  # pixels
LEGEND_MOST_PX = 10_000  # by itself plotly shows half a figure of it and scrolls the rest
LEGEND_LETTERS = 34  # of a line of a legend on a phone, which plotly does not wrap
LEGEND_MARK = 8  # letters' width of a legend's mark and the gap behind it
FIRST_BAR = "0"  # the place in a group of bars where the legend's own, empty bars may stand
PALE = 0.45  # of bars and boxes that were not measured whole
WIDE_RANGE = 10  # from this ratio of largest to smallest on, an axis is logarithmic


class Look(NamedTuple):
    """How a series looks in every chart of the same reports: it is chosen once for all of them.

    `colour` is that of its size where `by_size`, and else that of the report and the settings, as
    the marker is and as `bar_colour` always is.
    """

    dash: str = DASHES[0]
    pattern: str = PATTERNS[0]
    symbol: str = SYMBOLS[0]
    colour: str = COLOURS[0]
    bar_colour: str = COLOURS[0]
    by_size: bool = True


def style_figure(figure: go.Figure, x_title: str, y_title: str, height: int = 420) -> go.Figure:
    """Give a figure the shared look; titles of the axes carry the units. Returns it.

    A title too long for its axis has what is in brackets on a line of its own.
    """
    figure.update_layout(
        template="none",
        paper_bgcolor=CLEAR,
        plot_bgcolor=CLEAR,
        font={"color": TEXT, "size": 13, "family": "system-ui, sans-serif"},
        margin={"l": 64, "r": 16, "t": 24, "b": 56},
        height=height,
        showlegend=True,
        legend={"orientation": "h", "yref": "container", "yanchor": "bottom", "y": 0, "x": 0},
        legend_maxheight=LEGEND_MOST_PX,
        colorway=list(COLOURS),
        hoverlabel={"namelength": -1},
    )
    axis = {"gridcolor": GRID, "zerolinecolor": GRID, "linecolor": GRID, "automargin": True}
    figure.update_xaxes(title_text=_two_lines(x_title), **axis)
    figure.update_yaxes(title_text=_two_lines(y_title), **axis)
    return figure


def _two_lines(title: str) -> str:
    return title if len(title) <= TITLE_LETTERS else title.replace(" (", "<br>(", 1)


def explain_series(
    figure: go.Figure,
    named: Iterable[tuple[str, str, str, Look]],
    bases: Iterable[str],
    *,
    dashes: dict[str, str] | None = None,
) -> None:
    """Make the legend explain the looks of series: of each sampler, size, the rest, and the look.

    `bases` and what is explained are those of `explain_lines`, `dashes` those of other lines.
    """
    named = list(named)
    explain_lines(
        figure,
        {sampler: look.dash for sampler, _, _, look in named} | (dashes or {}),
        {size: look.colour for _, size, _, look in named if look.by_size},
        {
            (other if look.by_size else f"{size}, {other}"): {
                "symbol": look.symbol,
                "color": TEXT if look.by_size else look.colour,
            }
            for _, size, other, look in named
        },
        bases,
    )


def explain_lines(
    figure: go.Figure,
    dashes: dict[str, str],
    colours: dict[str, str],
    markers: dict[str, dict[str, str]],
    bases: Iterable[str],
) -> None:
    """Make the legend explain each look once, instead of naming every line.

    `bases` are those of the points, as in `MARKS`. A sweep has dozens of lines and a handful of
    looks, and a phone has room for a handful.
    """
    looks: list[tuple[str, dict[str, Any]]] = [
        *((name, {"line": {"dash": dash, "color": TEXT}}) for name, dash in dashes.items()),
        *((name, {"line": {"color": colour, "width": 4}}) for name, colour in colours.items()),
        *((name, {"marker": {**marker, "size": 8}}) for name, marker in markers.items()),
        *(
            (basis, {"marker": {"symbol": SYMBOLS[0] + MARKS[basis], "color": TEXT, "size": 8}})
            for basis in dict.fromkeys(bases)
        ),
    ]
    for name, look in looks:
        if name:
            mode = "lines" if "line" in look else "markers"
            figure.add_scatter(x=[None], y=[None], name=wrapped(name), mode=mode, **look)
    _make_room(figure, [name for name, _ in looks])


def explain_bars(
    figure: go.Figure, patterns: dict[str, str], colours: dict[str, str], bases: Iterable[str]
) -> None:
    """Make the legend explain each pattern and each colour once, instead of naming every bar."""
    looks: list[tuple[str, dict[str, Any]]] = [
        *((name, {"pattern": {"shape": each}, "color": TEXT}) for name, each in patterns.items()),
        *((name, {"color": colour}) for name, colour in colours.items()),
        *((basis, {"color": TEXT, **bar_look(basis)}) for basis in dict.fromkeys(bases)),
    ]
    for name, look in looks:
        if name:
            bar = {"name": wrapped(name), "marker": look, "offsetgroup": FIRST_BAR}
            figure.add_bar(x=[None], y=[None], **bar)
    _make_room(figure, [name for name, _ in looks])


def bar_look(basis: str) -> dict[str, Any]:
    """Return the marker of a bar: what was not measured whole is pale with an outline."""
    return {"opacity": PALE, "line": {"color": TEXT, "width": 2}} if basis else {}


def _make_room(figure: go.Figure, names: list[str]) -> None:
    """Give a figure the height that its legend needs on a phone.

    plotly takes the margin below from the legend itself. On a wider page that is less, and the
    plot gets the rest, unless `plot_height.KEEPS_HEIGHT` is there to make the figure lower.
    """
    height = PLOT_PX + AROUND_PX + legend_px(names)
    figure.update_layout(height=height, meta={"plot_px": PLOT_PX, "whole_px": height})


def legend_px(names: Iterable[str]) -> int:
    """Return the height of a legend on a phone, in pixels: plotly sets it in equal columns."""
    entries = [textwrap.wrap(name, LEGEND_LETTERS, break_long_words=False) for name in names]
    lines = [line for entry in entries for line in entry]
    if not lines:
        return 0
    across = LEGEND_LETTERS + LEGEND_MARK
    columns = max(1, across // (max(map(len, lines)) + LEGEND_MARK))
    if columns == 1:
        return LEGEND_ROW * len(lines)
    rows = math.ceil(sum(map(bool, entries)) / columns)
    return LEGEND_ROW * rows * max(map(len, entries))


def wrapped(text: str, letters: int = LEGEND_LETTERS) -> str:
    """Return a plain text in lines of so many letters; a longer word stays whole."""
    return "<br>".join(map(plain, textwrap.wrap(text, letters, break_long_words=False)))


def empty_figure(message: str) -> go.Figure:
    """Return a figure that says why there is nothing to see."""
    figure = go.Figure()
    text = wrapped(message, MESSAGE_LETTERS)
    rows = text.count("<br>") + 1
    style_figure(figure, "", "", height=max(160, 64 + LEGEND_ROW * rows))
    figure.update_xaxes(visible=False)
    figure.update_yaxes(visible=False)
    # The paper is what the margins leave: unequal ones put its middle beside the figure's.
    figure.update_layout(margin={"l": 16, "r": 16, "t": 16, "b": 16}, showlegend=False)
    figure.add_annotation(
        text=text,
        showarrow=False,
        x=0.5,
        y=0.5,
        xref="paper",
        yref="paper",
        xanchor="center",
        yanchor="middle",
    )
    return figure


def plain(text: str) -> str:
    """Return a text that plotly shows as it is, instead of taking it for HTML."""
    return html.escape(text, quote=False)


def keyed(names: Iterable[str], looks: Sequence[str]) -> dict[str, str]:
    """Return a look for every different name, in order of appearance, again from the first."""
    different = list(dict.fromkeys(names))
    return {name: looks[index % len(looks)] for index, name in enumerate(different)}


def log_ticks(values: Iterable[float]) -> dict[str, Any]:
    """Return the settings of a logarithmic axis over positive values: ticks at 1, 2 and 5.

    Plotly's own for these ticks leave the decade out, so that 0.5 reads "5".
    """
    values = list(values)
    first, last = (math.floor(math.log10(value)) for value in (min(values), max(values)))
    ticks = [digit * 10.0**power for power in range(first, last + 2) for digit in (1, 2, 5)]
    return {"type": "log", "tickvals": ticks, "ticktext": [f"{tick:g}" for tick in ticks]}


def is_wide(values: Iterable[float]) -> bool:
    """Return whether positive values span so much that only a logarithmic axis shows them."""
    values = list(values)
    return bool(values) and min(values) > 0 and max(values) >= WIDE_RANGE * min(values)
