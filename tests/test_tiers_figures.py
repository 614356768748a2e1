"""A figure looks the same wherever it is said."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from test_charts_tiers_steps import path

import diffusion_bench
from diffusion_bench.charts.document import table_html
from diffusion_bench.charts.tiers.gains import _hover
from diffusion_bench.charts.tiers.numbers import tier_rows
from diffusion_bench.charts.tiers.steps import steps_bought
from diffusion_bench.charts.tiers.study import price_lines
from diffusion_bench.cli.prediction import picture_times
from diffusion_bench.cli.tier_tables import _step_cells
from diffusion_bench.tiers.figures import figure_words
from diffusion_bench.tiers.workload import parse_workload
from diffusion_bench.ui.figures import to_table


@pytest.mark.parametrize(
    ("value", "words"),
    [(14671.4, "14,671"), (999.7, "1,000"), (999.4, "999"), (0.01234, "0.0123"), (None, "")],
)
def test_a_figure_has_three_digits_and_never_an_exponent(value, words) -> None:
    assert figure_words(value) == words


def test_two_cards_rate_is_the_same_figure_in_words_and_in_the_table_of_steps() -> None:
    asked = parse_workload("sd15 512x512 b4 fp16 20")
    chosen = path({"gpu": "RTX 4090"}, {"gpu": "RTX 4090", "count": 2})
    rows = tier_rows(chosen, [asked])
    _, step = steps_bought(chosen, rows)
    rate = figure_words(step.images_per_hour)
    assert "," in rate  # of more than 10,000, where an exponent stood
    assert rate in _step_cells(step, "USD")
    assert f": {rate} images/h" in rows[1].two_gpus[0].words


def test_tables_of_the_page_have_no_exponent_either() -> None:
    assert to_table(["images/h"], [[14671.4]])["data"] == [["14,671"]]
    assert "14,671</td>" in table_html((["images/h"], [[14671.4]]))


def test_a_prediction_of_half_an_hour_has_no_exponent_either() -> None:
    answer = {"seconds": 1290.4, "seconds_per_image": 322.6, "image_steps_per_s": 0.031}
    answer |= {f"{name}_{end}": value for name, value in answer.items() for end in ("low", "high")}
    time, _ = picture_times(answer)
    words = "1,290 s a call (80 percent interval 1,290 to 1,290), 323 s a picture"
    assert time == f"time: {words}"


def test_prices_of_a_currency_of_small_units_are_told_in_full() -> None:
    chosen = path({"gpu": "RTX 4070 Ti"}, {"gpu": "RTX 4090", "price": 2_489_990})
    assert price_lines(chosen)[1] == "tier 1: 2,489,990 USD"
    rows = tier_rows(chosen, [parse_workload("sdxl 1024x1024 b1 fp16 30")])
    _, step = steps_bought(chosen, rows)
    each = f"{step.price_per_gained_image_per_hour:,.0f}"
    assert len(each) > 4
    assert f"{each} KRW" in _step_cells(step, "KRW")
    assert f"{each} KRW for each image/h more" in _hover(step, "KRW")


def test_what_is_shown_over_a_chart_has_no_exponent_either() -> None:
    """In d3's formats "g" is 1.078e+4 where "~r" is 10780."""
    charts = Path(diffusion_bench.__file__).parent / "charts"
    formats = [
        found
        for path in charts.rglob("*.py")
        for found in re.findall(r"%\{+[a-z]+:(\.\d[^}]*)\}", path.read_text(encoding="utf-8"))
    ]
    assert ".4~r" in formats
    assert not [found for found in formats if found.endswith("g")]
