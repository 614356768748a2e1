"""What charts share: the figure that says why there is nothing to see."""

from __future__ import annotations

import itertools

import numpy as np
import plotly.graph_objects as go
import pytest

from diffusion_bench.charts.document import document
from diffusion_bench.charts.plot_height import KEEPS_HEIGHT
from diffusion_bench.charts.style import (
    AROUND_PX,
    LEGEND_ROW,
    MANY_COLOURS,
    empty_figure,
    explain_lines,
    legend_px,
    style_figure,
    wrapped,
)

# Of linear red, green and blue: to the cones and on to OKLab (Ottosson, 2020); what is seen without
# red or green (Machado, Oliveira and Fernandes, 2009, table 1, severity 1).
TO_CONES = ((0.4122, 0.5363, 0.0514), (0.2119, 0.6807, 0.1074), (0.0883, 0.2817, 0.6300))
TO_OKLAB = ((0.2105, 0.7936, -0.0041), (1.9780, -2.4286, 0.4506), (0.0259, 0.7828, -0.8087))
EYES = {
    "usual": (np.eye(3), 0.11),
    "without red": (
        ((0.1523, 1.0526, -0.2049), (0.1145, 0.7863, 0.0992), (-0.0039, -0.0481, 1.0520)),
        0.055,
    ),
    "without green": (
        ((0.3673, 0.8606, -0.2280), (0.2801, 0.6725, 0.0474), (-0.0118, 0.0429, 0.9689)),
        0.055,
    ),
}


def linear(colour: str) -> np.ndarray:
    """Return red, green and blue of "#rrggbb" as light."""
    values = np.array([int(colour[place : place + 2], 16) for place in (1, 3, 5)]) / 255
    return np.where(values <= 0.04045, values / 12.92, ((values + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("page", ["#ffffff", "#0b0f19", "#1e293b"])
def test_each_of_the_many_colours_is_seen_on_a_light_and_on_a_dark_page(page: str) -> None:
    weights = (0.2126, 0.7152, 0.0722)
    for colour in MANY_COLOURS:
        dark, light = sorted(linear(each) @ weights + 0.05 for each in (colour, page))
        assert light / dark >= 2.2, colour


@pytest.mark.parametrize("eyes", EYES)
def test_the_many_colours_are_told_apart(eyes: str) -> None:
    sees, apart = EYES[eyes]
    seen = {
        colour: np.cbrt(np.clip(linear(colour) @ np.array(sees).T, 0, 1) @ np.array(TO_CONES).T)
        @ np.array(TO_OKLAB).T
        for colour in MANY_COLOURS
    }
    assert len(seen) == 16
    for one, other in itertools.combinations(seen, 2):
        assert np.linalg.norm(seen[one] - seen[other]) >= apart, (one, other)


def test_the_message_of_an_empty_figure_is_in_its_middle() -> None:
    layout = empty_figure("No <b> cell.").layout
    (message,) = layout.annotations
    assert message.text == "No &lt;b&gt; cell."
    assert (message.x, message.y, message.xref, message.yref) == (0.5, 0.5, "paper", "paper")
    assert (message.xanchor, message.yanchor) == ("center", "middle")
    # The paper is what the margins leave.
    assert (layout.margin.l, layout.margin.t) == (layout.margin.r, layout.margin.b)
    assert not layout.showlegend


def test_a_long_name_in_a_legend_is_broken_between_words_and_has_room() -> None:
    name = "matrix product and copy, measured, " + "a" * 50 + ".jsonl"
    assert wrapped(name) == "matrix product and copy, measured,<br>" + "a" * 50 + ".jsonl"
    assert wrapped("<b>") == "&lt;b&gt;"
    assert legend_px([]) == legend_px([""]) == 0
    assert legend_px(["ddim", "ddpm", "a.jsonl", ""]) == 2 * LEGEND_ROW  # in two columns
    assert legend_px([name, "ddim"]) == 3 * LEGEND_ROW  # in one: of 2 lines and of 1


def test_a_legend_is_never_cut_off_and_leaves_the_plot_its_height() -> None:
    """By itself plotly shows half a figure's height of it and scrolls the rest."""
    names = [f"batch {batch}, measured on the machine under the desk" for batch in range(12)]
    figure = style_figure(go.Figure(), "steps", "seconds")
    explain_lines(figure, {}, dict.fromkeys(names, MANY_COLOURS[0]), {}, [])
    layout = figure.layout
    assert layout.legend.maxheight > legend_px(names) > layout.height / 2
    assert layout.meta["plot_px"] == layout.height - legend_px(names) - AROUND_PX
    # The page's script makes the figure lower where the legend needs less than on a phone.
    assert "plot_px" in KEEPS_HEIGHT
    assert document("Charts", []).count(KEEPS_HEIGHT) == 1


def test_a_long_message_is_broken_between_words_and_the_figure_has_room_for_it() -> None:
    word = "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
    figure = empty_figure(f"No driver library in this container: {word}. " + "why not " * 60)
    lines = figure.layout.annotations[0].text.split("<br>")
    assert f"{word}." in lines
    assert max(len(line) for line in lines if word not in line) <= 44
    assert figure.layout.height >= 20 * len(lines) + 32
