"""A bar a piece of evidence: the numbers, the four looks, and what is absent."""

from __future__ import annotations

import re

import pytest

from diffusion_bench.charts.tiers.bars import METRICS, bars_numbers, bars_table, row_key
from diffusion_bench.charts.tiers.evidence import LOOKS, bars_figure
from diffusion_bench.charts.tiers.limits import bottleneck_sentences, held_back_by
from diffusion_bench.charts.tiers.measured import MANY
from diffusion_bench.charts.tiers.numbers import TierRow, tier_rows
from diffusion_bench.charts.tiers.steps import Prices, steps_bought
from diffusion_bench.charts.tiers.together import Together
from diffusion_bench.charts.tiers.why import fit_table, why
from diffusion_bench.tiers.evidence import Evidence
from diffusion_bench.tiers.figures import figure_words
from diffusion_bench.tiers.path import UpgradePath
from diffusion_bench.tiers.two_gpus import SplitModel, one_model
from diffusion_bench.tiers.workload import parse_workload

ASKED = parse_workload("sd15 512x512 b4 fp16 20")
FLUX = parse_workload("flux1-schnell 1024x1024 b1 bf16 4")


def path(*gpus: str, **given: object) -> UpgradePath:
    tiers = [
        {"name": f"tier {i}", "gpu": gpu, "ram_gib": 64, "cores": 8} | given
        for i, gpu in enumerate(gpus)
    ]
    return UpgradePath.model_validate({"tier": tiers})


def evidence(kind: str, seconds: float, **given: object) -> Evidence:
    values = {"kind": kind, "card": "RTX 4070 Ti", "workload": ASKED, "seconds": seconds}
    return Evidence.model_validate(values | {"source": f"the {kind} source"} | given)


@pytest.fixture
def four_kinds() -> TierRow:
    """A row with all four kinds, of 4, 5, 6 and 8 seconds a call of 4 pictures."""
    (row,) = tier_rows(path("RTX 4070 Ti"), [ASKED])
    found = (
        evidence("measured here", 4, seconds_low=3.6, seconds_high=4.4, records=9, energy_j=1000),
        evidence("imported report", 5, records=21, reports=7),
        evidence("published", 6, records=12),
        evidence("predicted", 8, seconds_low=6, seconds_high=10),
    )
    return row.model_copy(update={"evidence": found})


def test_every_kind_of_evidence_is_a_bar_with_its_interval(four_kinds) -> None:
    bars = bars_numbers([four_kinds], "seconds an image").bars
    assert [bar.kind for bar in bars] == list(LOOKS)
    assert [bar.value for bar in bars] == [1, 1.25, 1.5, 2]
    assert (bars[0].low, bars[0].high) == pytest.approx((0.9, 1.1))
    assert bars[0].detail == "9 timed calls; 95 % interval of the median"
    assert bars[3].detail == "80 % interval"
    assert bars[1].low is None
    assert bars[1].detail == "median of 7 reports, the interval holds 80 % of them"
    assert "12 users' records" in bars[2].detail


def test_of_a_few_reports_the_interval_is_told_to_be_their_range(four_kinds) -> None:
    few = evidence("imported report", 5, seconds_low=4, seconds_high=6, records=9, reports=MANY - 1)
    (bar,) = bars_numbers(
        [four_kinds.model_copy(update={"evidence": (few,)})], "seconds an image"
    ).bars
    assert bar.detail == f"median of {MANY - 1} reports, the interval is their range"


def test_images_an_hour_turn_the_interval_round(four_kinds) -> None:
    first = bars_numbers([four_kinds], "images an hour").bars[0]
    assert (first.low, first.value, first.high) == pytest.approx((3600 / 1.1, 3600, 3600 / 0.9))


def test_energy_is_measured_where_it_was_and_else_bounded_by_the_rated_power(four_kinds) -> None:
    bars = bars_numbers([four_kinds], "joules an image").bars
    assert (bars[0].value, bars[0].at_most) == (250, False)
    assert (bars[2].value, bars[2].at_most) == (285 * 1.5, True)
    assert (bars[3].value, bars[3].at_most) == (285 * 2.5, True)  # 2 s, 2.5 at most
    assert bars[3].detail == "at most: 285 W, the rated power, for 2.5 s"
    assert [(bar.low, bar.high) for bar in bars] == [(None, None)] * 4


def test_an_energy_that_has_no_interval_is_not_said_to_have_that_of_its_time(four_kinds) -> None:
    imported = evidence(
        "imported report", 5, seconds_low=4, seconds_high=6, records=21, reports=7, energy_j=1200
    )
    row = four_kinds.model_copy(update={"evidence": (four_kinds.evidence[0], imported)})
    bars = bars_numbers([row], "joules an image").bars
    assert [(bar.low, bar.high) for bar in bars] == [(None, None)] * 2
    assert [bar.detail for bar in bars] == ["9 timed calls", "median of 7 reports"]


def test_money_is_of_the_energy_at_the_users_price(four_kinds) -> None:
    prices = Prices(per_kwh=0.36)
    numbers = bars_numbers([four_kinds], "money for 1000 images", currency="EUR", prices=prices)
    assert numbers.unit == "EUR for 1000 images"
    assert numbers.bars[0].value == pytest.approx(1000 * 250 / 3.6e6 * 0.36)
    with pytest.raises(ValueError, match="price of a kWh"):
        bars_numbers([four_kinds], "money for 1000 images")


def test_a_remedy_makes_the_prediction_slower_and_says_so() -> None:
    (row,) = tier_rows(path("RTX 4070 Ti"), [FLUX])
    (bar,) = bars_numbers([row], "seconds an image").bars
    assert row.slower > 1
    assert bar.value == pytest.approx(row.evidence[0].seconds * row.slower)
    assert (bar.low, bar.high) == pytest.approx(
        (row.seconds_per_image_low, row.seconds_per_image_high)
    )
    assert "times as long, since it fits with" in bar.detail
    assert f"before its remedies: {row.price}" in why([row], row_key(row))


def test_what_is_tight_with_a_remedy_has_its_price_and_holds_back() -> None:
    many = parse_workload("sd15 768x768 b17 fp16 20")
    (row,) = tier_rows(path("RTX 4060"), [many])
    (table_row,) = fit_table([row])[1]
    assert table_row[3] == "tight with VAE slicing (predicted)"
    assert table_row[-2].startswith("VAE slicing: nothing measurable")
    assert held_back_by(row) == "VRAM: it is tight with VAE slicing"


def test_behind_a_bar_is_what_its_memory_and_its_card_rest_on() -> None:
    (row,) = tier_rows(path("RTX 4070 Ti"), [ASKED])
    lines = why([row], row_key(row)).splitlines()
    (made_of,) = (line for line in lines if "of weights" in line)
    parts = re.findall(r"([\d.]+) of", made_of)
    assert sum(map(float, parts)) == pytest.approx(row.memory_gib, abs=0.16)
    assert f"285 W of rated power for {figure_words(row.seconds_per_image_high)} s" in lines[-5]
    assert lines[-4] == "The card: 504.2 GB/s, 80.2 TFLOP/s in 16 bits, 40.09 in 32, 285 W"
    assert "https://www.techpowerup.com/gpu-specs/geforce-rtx-4070-ti" in lines[-3]
    assert lines[-2].startswith("- in 16 bits: derived, 2 x FP32")
    assert lines[-1] == "- memory as its driver reports it: nvidia-smi, Kwai-Kolors/Kolors#11"


def test_two_gpus_are_bars_of_throughput_only() -> None:
    (row,) = tier_rows(path("RTX 4090", count=2), [ASKED])
    ways = [bar.way for bar in bars_numbers([row], "images an hour").bars if bar.way]
    assert ways == ["2 GPUs, two jobs", "2 GPUs, one batch split"]
    assert not any(bar.way for bar in bars_numbers([row], "seconds an image").bars)


def test_what_has_no_figure_is_a_row_of_the_table_with_the_reason() -> None:
    rows = tier_rows(path("RTX 9090", "RTX 4090"), [ASKED])
    numbers = bars_numbers(rows, "seconds an image")
    assert {bar.tier for bar in numbers.bars} == {"tier 1"}
    header, table = bars_table(numbers)
    assert all(len(row) == len(header) for row in table)
    assert table[-1][0] == "tier 0"
    assert "no card is called" in table[-1][-1]


def test_an_unknown_metric_is_refused(four_kinds) -> None:
    with pytest.raises(ValueError, match="known: seconds an image"):
        bars_numbers([four_kinds], "frames an hour")


def test_the_four_kinds_look_different_in_colour_and_without_it(four_kinds) -> None:
    figure = bars_figure(bars_numbers([four_kinds], "seconds an image"))
    drawn = [trace for trace in figure.data if trace.x[0] is not None]
    looks = [(t.marker.color, t.marker.pattern.shape, t.marker.line.width) for t in drawn]
    assert len({colour for colour, _, _ in looks}) == 4
    assert len({(shape, width) for _, shape, width in looks}) == 4
    assert {trace.name for trace in figure.data if trace.x[0] is None} == set(LOOKS)


def test_the_figure_draws_the_numbers_and_opens_to_their_evidence(four_kinds) -> None:
    numbers = bars_numbers([four_kinds], "seconds an image")
    figure = bars_figure(numbers)
    first = figure.data[0]
    assert list(first.x) == [1]
    assert first.error_x.array[0] == pytest.approx(0.1)
    hover, key = first.customdata[0]
    assert "the measured here source" in hover
    assert key == row_key(four_kinds)
    assert "s/image" in figure.layout.annotations[0].text


@pytest.mark.parametrize("metric", METRICS)
def test_a_panel_a_workload_and_every_metric_can_be_drawn(metric) -> None:
    rows = tier_rows(path("RTX 4070 Ti", "RTX 4090"), [ASKED, FLUX])
    figure = bars_figure(bars_numbers(rows, metric, prices=Prices(per_kwh=0.3)))
    assert len(figure.layout.annotations) == 2


def test_ways_of_two_cards_are_named_on_a_ground_that_no_pattern_shows_through() -> None:
    (row,) = tier_rows(path("RTX 4090", count=2), [ASKED])
    numbers = bars_numbers([row], "images an hour")
    figure = bars_figure(numbers)
    named = [one for one in figure.layout.annotations if one.bgcolor]
    assert [one.text for one in named] == [bar.way for bar in numbers.bars if bar.way]
    drawn = {y for trace in figure.data if trace.x[0] is not None for y in trace.y}
    assert {one.y for one in named} < drawn
    assert not any(trace.text for trace in figure.data)


def test_with_nothing_to_draw_the_figure_says_why() -> None:
    rows = tier_rows(path("RTX 9090"), [ASKED])
    figure = bars_figure(bars_numbers(rows, "seconds an image"))
    assert "no card is called" in figure.layout.annotations[0].text


def test_names_of_other_peoples_files_do_not_become_markup(four_kinds) -> None:
    hostile = evidence("imported report", 5, source="<img src=x onerror=alert(1)>")
    row = four_kinds.model_copy(update={"tier": "<b>x</b>", "evidence": (hostile,)})
    figure = bars_figure(bars_numbers([row], "seconds an image"))
    assert "<img" not in figure.to_json().replace("\\u003c", "<")
    assert "<b>x" not in str(figure.layout.yaxis.ticktext)


def test_why_names_all_evidence_memory_and_both_cards(four_kinds) -> None:
    words = why([four_kinds], row_key(four_kinds))
    for kind in LOOKS:
        assert f"- {kind}: " in words
    assert "250 J/image measured" in words
    assert "Memory: 6.5 GiB" in words
    (pair,) = tier_rows(path("RTX 4090", count=2), [FLUX])
    told = why([pair], row_key(pair))
    assert "Two GPUs, two jobs" in told
    assert "4-bit weights: 12 s, as without" in told
    with pytest.raises(ValueError, match="there is no figure"):
        why([pair], "nothing | like it")


def test_the_fit_table_has_a_verdict_or_the_reason_and_the_price_of_remedies() -> None:
    rows = tier_rows(path("RTX 9090", "RTX 4090"), [FLUX])
    header, table = fit_table(rows)
    assert all(len(row) == len(header) for row in table)
    assert table[0][3].startswith("cannot tell: no card")
    assert table[1][3].startswith("fits with")
    assert "HF blog" in table[1][-2]


def only_split() -> TierRow:
    """A row of two cards that neither holds its workload alone, and both do."""
    huge = parse_workload("sdxl 2048x2048 b64 fp32 20")
    (row,) = tier_rows(path("RTX 2060 6GB", count=2), [huge])
    assert (row.fit, row.only_split) == ("does not fit", False)
    halves = SplitModel(
        alone_s=(4, 4),
        calls=20,
        crossing_mib=0,
        needed_mib=9000,
        beside_mib=1000,
        memory_mib=(6144, 6144),
    )
    return row.model_copy(update={"two_gpus": (one_model(halves, 1),)})


def test_of_two_cards_that_can_only_split_the_model_all_parts_say_the_same() -> None:
    row = only_split()
    numbers = bars_numbers([row], "images an hour")
    (bar,) = numbers.bars
    assert (bar.way, bar.kind, bar.value) == ("2 GPUs, one model split", "predicted", 900)
    assert numbers.absent == ()
    assert "Two GPUs, one model split: 900 images/h" in why([row], row_key(row))
    assert "Cannot tell of one card alone: it does not fit" in why([row], row_key(row))
    (step,) = steps_bought(path("RTX 2060 6GB", count=2), [row])
    assert step.images_per_hour == 900
    assert step.held_back_by == "VRAM: it fits neither card alone; split over both cards it runs"
    pair = path("RTX 2060 6GB", count=2)
    small = parse_workload("sd15 512x512 b1 fp16 20")
    ((_, sentence),) = bottleneck_sentences(pair, [row, *tier_rows(pair, [small])])
    assert "VRAM holds back sdxl at 2048x2048 (split over both cards)" in sentence
    assert fit_table([row])[1][0][3] == "does not fit one card (predicted); split over both"


def test_what_can_only_be_split_has_throughput_alone_and_says_where() -> None:
    numbers = bars_numbers([only_split()], "seconds an image")
    assert numbers.bars == ()
    ((_, _, reason),) = numbers.absent
    assert reason.endswith("RTX 2060 6GB; split over both cards it runs, see images an hour")


def test_too_little_ram_is_said_beside_the_split() -> None:
    (row,) = tier_rows(path("RTX 4060", count=2, ram_gib=8), [FLUX])
    assert held_back_by(row, ram_gib=8).endswith("must wait in RAM")
    split = row.model_copy(update={"two_gpus": only_split().two_gpus})
    assert held_back_by(split, ram_gib=8).endswith(
        "must wait in RAM; split over both cards it runs"
    )


def test_a_measured_split_is_a_bar_where_neither_card_has_a_figure() -> None:
    row = only_split()
    measured = Together(
        kind="measured here",
        way="one model split",
        cards=("RTX 2060 6GB", "RTX 2060 6GB"),
        workload=row.workload,
        seconds=6.0,
        images_per_hour=600.0,
        efficiency=None,
        speedup=None,
        share=(1, 0),
        starts=5,
        reports=1,
        source="a report",
    )
    row = row.model_copy(update={"two_gpus": (), "measured_together": (measured,)})
    (bar,) = bars_numbers([row], "images an hour").bars
    assert (bar.kind, bar.value) == ("measured here", 600)
    assert "split over both" in held_back_by(row)


def test_why_of_a_card_that_is_none_is_the_reason_alone() -> None:
    (row,) = tier_rows(path("RTX 9090"), [ASKED])
    assert why([row], row_key(row)).endswith(f"\n\nCannot tell: {row.reason}")
