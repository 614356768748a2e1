"""How many times as fast each step of a path makes each workload, and what that costs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import plotly.graph_objects as go

from diffusion_bench.charts.style import (
    COLOURS,
    LEGEND_ROW,
    PATTERNS,
    TEXT,
    bar_look,
    empty_figure,
    keyed,
    plain,
    style_figure,
)
from diffusion_bench.charts.tiers.steps import StepBought
from diffusion_bench.tiers.figures import figure_words

BAR = 24  # pixels


def gains_figure(steps: Sequence[StepBought], currency: str) -> go.Figure:
    """Return a bar a step and workload: images an hour over those of the step before."""
    drawn = [step for step in steps if step.times_before is not None]
    if not drawn:
        return empty_figure("No step has one before it that runs the same workload.")
    figure = go.Figure()
    names = list(dict.fromkeys(step.tier for step in drawn))
    colours, patterns = keyed(names, COLOURS), keyed(names, PATTERNS)
    for tier in names:
        own = [step for step in drawn if step.tier == tier]
        figure.add_bar(
            name=plain(tier),
            orientation="h",
            x=[step.times_before for step in own],
            y=[_label(step.workload) for step in own],
            error_x=_intervals(own),
            # Pale with an outline, as everything that is predicted.
            marker={
                "color": colours[tier],
                "pattern": {"shape": patterns[tier]},
                **bar_look("predicted"),
            },
            textfont={"color": TEXT},
            textposition="inside",  # at its other end is the interval
            insidetextanchor="start",
            text=[f"{step.times_before:.2f}" for step in own],
            customdata=[_hover(step, currency) for step in own],
            hovertemplate="%{customdata}<extra></extra>",
        )
    below = 64 + LEGEND_ROW * len(names)
    bars = len({step.workload for step in drawn}) * (len(names) + 1)
    style_figure(figure, "times, predicted", "", height=40 + BAR * bars + below)
    figure.add_vline(x=1, line={"color": TEXT, "width": 2, "dash": "dot"})
    figure.update_layout(margin={"l": 8, "t": 16, "b": below}, bargap=0.3)
    figure.update_yaxes(autorange="reversed", showgrid=False)
    most = max(step.times_high or step.times_before or 0 for step in drawn)
    figure.update_xaxes(range=[0, 1.3 * max(most, 1)])
    return figure


def _intervals(steps: Sequence[StepBought]) -> dict[str, Any]:
    ends = [(step.times_low, step.times_before or 0.0, step.times_high) for step in steps]
    return {
        "array": [0 if high is None else high - middle for _, middle, high in ends],
        "arrayminus": [0 if low is None else middle - low for low, middle, _ in ends],
        "color": TEXT,
        "thickness": 1,
    }


def _label(workload: str) -> str:
    model, size, *rest = workload.split()
    return plain(f"{model} {size}") + "<br>" + plain(" ".join(rest))


def _hover(step: StepBought, currency: str) -> str:
    each, hours = step.price_per_gained_image_per_hour, step.break_even_hours
    low, high = step.times_low, step.times_high
    between = "" if low is None or high is None else f" (80 %: {low:.2f} to {high:.2f})"
    times = f"{step.times_before:.2f} times the step before{between}"
    lines = [
        f"{step.tier}: {step.workload}",
        f"{step.images_per_hour:,.0f} images/h, {times}",
        "" if each is None else f"{figure_words(each)} {currency} for each image/h more",
        "" if hours is None else f"even with the cloud after {hours:,.0f} h of use",
        f"held back by {step.held_back_by}",
    ]
    return "<br>".join(plain(line) for line in lines if line)


def gains_table(steps: Sequence[StepBought], currency: str) -> tuple[list[str], list[list[Any]]]:
    """Return a row a step and workload; empty where it cannot be told."""
    header = [
        "step",
        "workload",
        "images/h (predicted)",
        "times the step before",
        "80 % from",
        "80 % to",
        f"price of the step ({currency})",
        f"{currency} for 1 image/h more",
        "even with the cloud after (h)",
        "that is (images)",
        "held back by",
    ]
    rows: list[list[Any]] = [
        [
            step.tier,
            step.workload,
            step.images_per_hour,
            "first time" if step.first_time else step.times_before,
            step.times_low,
            step.times_high,
            step.price,
            step.price_per_gained_image_per_hour,
            step.break_even_hours,
            step.break_even_images,
            step.held_back_by,
        ]
        for step in steps
    ]
    return header, rows
