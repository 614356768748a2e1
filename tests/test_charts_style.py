"""What charts share: the figure that says why there is nothing to see."""

from __future__ import annotations

from diffusion_bench.charts.style import LEGEND_ROW, empty_figure, legend_px, wrapped


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


def test_a_long_message_is_broken_between_words_and_the_figure_has_room_for_it() -> None:
    word = "NVIDIA_DRIVER_CAPABILITIES=compute,utility,video"
    figure = empty_figure(f"No driver library in this container: {word}. " + "why not " * 60)
    lines = figure.layout.annotations[0].text.split("<br>")
    assert f"{word}." in lines
    assert max(len(line) for line in lines if word not in line) <= 44
    assert figure.layout.height >= 20 * len(lines) + 32
