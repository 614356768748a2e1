"""What charts share: the figure that says why there is nothing to see."""

from __future__ import annotations

from diffusion_bench.charts.style import empty_figure


def test_the_message_of_an_empty_figure_is_in_its_middle() -> None:
    layout = empty_figure("No <b> cell.").layout
    (message,) = layout.annotations
    assert message.text == "No &lt;b&gt; cell."
    assert (message.x, message.y, message.xref, message.yref) == (0.5, 0.5, "paper", "paper")
    assert (message.xanchor, message.yanchor) == ("center", "middle")
    # The paper is what the margins leave.
    assert (layout.margin.l, layout.margin.t) == (layout.margin.r, layout.margin.b)
    assert not layout.showlegend
