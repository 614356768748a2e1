"""What an upgrade step buys, and what then holds it back."""

from __future__ import annotations

import pytest

from diffusion_bench.charts.tiers.gains import gains_figure, gains_table
from diffusion_bench.charts.tiers.limits import bottleneck_sentences, held_back_by
from diffusion_bench.charts.tiers.numbers import TierRow, tier_rows
from diffusion_bench.charts.tiers.steps import predicted_rate, prices_of, steps_bought
from diffusion_bench.charts.tiers.study import price_lines
from diffusion_bench.tiers.path import UpgradePath
from diffusion_bench.tiers.workload import Workload, parse_workload

SD15 = parse_workload("sd15 512x512 b4 fp16 20")


def path(*tiers: dict[str, object]) -> UpgradePath:
    base = {"ram_gib": 32, "cores": 8}
    named = [base | {"name": f"tier {i}"} | tier for i, tier in enumerate(tiers)]
    return UpgradePath.model_validate({"tier": named})


def row(gpu: str, workload: Workload) -> TierRow:
    (found,) = tier_rows(path({"gpu": gpu}), [workload])
    return found


def test_a_step_buys_what_it_adds_to_the_tier_before_for_its_price() -> None:
    chosen = path({"gpu": "RTX 3060 12GB"}, {"gpu": "RTX 4090", "price": 1800})
    rows = tier_rows(chosen, [SD15])
    first, second = steps_bought(chosen, rows, prices=prices_of(0.5, None))
    assert first.times_before is None
    assert first.price_per_gained_image_per_hour is None
    assert first.break_even_hours is None  # no price is given
    old, new = first.images_per_hour, second.images_per_hour
    assert old is not None
    assert new is not None
    assert second.times_before == pytest.approx(new / old)
    assert second.price_per_gained_image_per_hour == pytest.approx(1800 / (new - old))
    assert second.break_even_hours == 3600
    assert second.break_even_images == pytest.approx(3600 * new)


def test_how_many_times_as_fast_another_card_is_has_an_interval_and_the_same_card_has_none() -> (
    None
):
    tiers = ({"gpu": "RTX 4070 Ti"}, {"gpu": "RTX 4090"}, {"gpu": "RTX 4090", "count": 2})
    chosen = path(*tiers)
    first, other, twice = steps_bought(chosen, tier_rows(chosen, [SD15]))
    assert (first.times_low, twice.times_low, twice.times_high) == (None, None, None)
    assert other.times_before is not None
    assert other.times_low == pytest.approx(other.times_before / 1.130, rel=0.001)
    assert other.times_high == pytest.approx(other.times_before * 1.130, rel=0.001)
    header, rows = gains_table([first, other, twice], "USD")
    told = dict(zip(header, rows[1], strict=True))
    assert (told["80 % from"], told["80 % to"]) == (other.times_low, other.times_high)
    bars = gains_figure([first, other, twice], "USD").data
    assert bars[0].error_x.array[0] == pytest.approx(other.times_high - other.times_before)
    assert bars[1].error_x.array == (0,)


def test_a_card_beside_those_of_before_makes_nothing_slower_within_its_interval() -> None:
    """The 3060 adds a quarter, and that may be off; the interval went from 0.99 times to 1.57."""
    chosen = path({"gpu": "RTX 4090"}, {"gpu": "RTX 4090", "other_gpu": "RTX 3060 12GB"})
    _, both = steps_bought(chosen, tier_rows(chosen, [SD15]))
    added = both.times_before - 1
    assert both.times_low == pytest.approx(1 + added / 1.130, rel=0.001)
    assert both.times_high == pytest.approx(1 + added * 1.130, rel=0.001)


def test_more_memory_makes_no_step_slower_and_what_it_allows_beside_is_said() -> None:
    """A 4070 Ti Super holds 8-bit weights, with which it was told to be slower than a 4070 Ti."""
    sd3 = parse_workload("sd3-medium 1024x1024 b1 fp16 28")
    chosen = path({"gpu": "RTX 4070 Ti"}, {"gpu": "RTX 4070 Ti Super"}, {"gpu": "RTX 5090"})
    first, larger, plain = steps_bought(chosen, tier_rows(chosen, [sd3]))
    four_bits = "VRAM: it fits with 4-bit weights"
    assert first.held_back_by.startswith(
        f"{four_bits}; 8-bit weights and model offload would take "
    )
    assert larger.times_before > 1
    assert larger.held_back_by.startswith(
        f"{four_bits}; 8-bit weights would take 1.25 times as long as that and change pictures "
        "less; "
    )
    assert larger.held_back_by.endswith("times as long as that and not change pictures")
    assert plain.held_back_by.endswith("arithmetic; before, it fits with 4-bit weights")
    unknown = path({"gpu": "RTX 4070 Ti"}, {"gpu": "RTX 9090"})
    assert "before" not in steps_bought(unknown, tier_rows(unknown, [sd3]))[1].held_back_by


def test_a_card_by_another_of_its_names_is_no_other_card() -> None:
    chosen = path({"gpu": "RTX 4090"}, {"gpu": "NVIDIA GeForce RTX 4090", "count": 2})
    _, twice = steps_bought(chosen, tier_rows(chosen, [SD15]))
    assert (twice.times_before, twice.times_low) == (pytest.approx(2), None)


def test_a_remedy_that_may_be_off_makes_the_interval_of_a_step_wider() -> None:
    flux = parse_workload("flux1-schnell 1024x1024 b1 bf16 4")
    chosen = path({"gpu": "RTX 4070 Ti"}, {"gpu": "RTX 4090"})
    _, plain, _, offloaded = steps_bought(chosen, tier_rows(chosen, [SD15, flux]))
    assert plain.times_high is not None
    assert plain.times_before is not None
    assert offloaded.times_high is not None
    assert offloaded.times_before is not None
    assert offloaded.times_high / offloaded.times_before > plain.times_high / plain.times_before


def test_both_tiers_are_compared_by_predictions_even_where_one_is_published() -> None:
    found = row("RTX 4090", parse_workload("sd15 512x512 b4 fp16 50"))
    assert found.evidence[0].kind == "published"
    assert predicted_rate(found) == pytest.approx(3600 * 4 / found.evidence[-1].seconds)


def test_cards_to_choose_between_are_each_compared_with_what_one_has() -> None:
    choice = {"price": 800, "after": "tier 0"}
    chosen = path(
        {"gpu": "RTX 3060 12GB"},
        {"gpu": "RTX 4070 Ti Super", **choice},
        {"gpu": "RTX 3090", **choice},
    )
    now, new, used = steps_bought(chosen, tier_rows(chosen, [SD15]))
    for step in (new, used):
        assert step.times_before == pytest.approx(step.images_per_hour / now.images_per_hour)
        gained = step.images_per_hour - now.images_per_hour
        assert step.price_per_gained_image_per_hour == pytest.approx(800 / gained)
        assert step.times_low < step.times_before < step.times_high


def test_a_second_card_counts_as_a_second_job() -> None:
    chosen = path({"gpu": "RTX 4090"}, {"gpu": "RTX 4090", "count": 2})
    _, second = steps_bought(chosen, tier_rows(chosen, [SD15]))
    assert second.times_before == pytest.approx(2)


def test_a_step_that_loses_speed_has_no_price_for_its_gain() -> None:
    chosen = path({"gpu": "RTX 4090"}, {"gpu": "RTX 3060 12GB", "price": 100})
    _, second = steps_bought(chosen, tier_rows(chosen, [SD15]))
    assert second.times_before is not None
    assert second.times_before < 1
    assert second.price_per_gained_image_per_hour is None


def test_what_did_not_run_before_runs_for_the_first_time() -> None:
    sdxl = parse_workload("sdxl 1024x1024 b32 fp16 20")
    chosen = path({"gpu": "RTX 2060 6GB"}, {"gpu": "H200 SXM"})
    first, second = steps_bought(chosen, tier_rows(chosen, [sdxl]))
    assert first.images_per_hour is None
    assert not first.first_time
    assert second.first_time
    assert second.times_before is None


def test_after_a_tier_that_cannot_be_told_nothing_is_said_to_run_for_the_first_time() -> None:
    chosen = path({"gpu": "RTX 9090"}, {"gpu": "RTX 4090"})
    _, second = steps_bought(chosen, tier_rows(chosen, [SD15]))
    assert second.images_per_hour is not None
    assert (second.first_time, second.times_before) == (False, None)


def test_what_does_not_run_breaks_even_with_nothing() -> None:
    sdxl = parse_workload("sdxl 2048x2048 b64 fp32 20")
    chosen = path({"gpu": "RTX 2060 6GB", "price": 300})
    runs, does_not = steps_bought(
        chosen, tier_rows(chosen, [SD15, sdxl]), prices=prices_of(0.5, None)
    )
    assert runs.break_even_hours == 600
    assert does_not.images_per_hour is None
    assert (does_not.break_even_hours, does_not.break_even_images) == (None, None)


@pytest.mark.parametrize(
    ("gpu", "workload", "words"),
    [
        ("RTX 4070 Ti", "sd15 512x512 b8 fp16 20", "arithmetic"),
        ("RTX A6000", "sd15 512x512 b8 fp16 20", "bandwidth"),
        ("H200 SXM", "sdxl 512x512 b1 fp16 20", "CPU"),
        ("RTX 2060 6GB", "sdxl 2048x2048 b64 fp32 20", "VRAM: it does not fit"),
        ("RTX 9090", "sd15 512x512 b1 fp16 20", "cannot tell: no card"),
    ],
)
def test_what_holds_a_tier_back_is_said(gpu: str, workload: str, words: str) -> None:
    assert words in held_back_by(row(gpu, parse_workload(workload)))


def test_a_tier_is_rented_at_its_own_price_where_it_has_one() -> None:
    tiers = ({"gpu": "RTX 4090", "price": 1800}, {"gpu": "RTX 4090", "count": 2, "price": 2600})
    chosen = path(tiers[0], tiers[1] | {"cloud_price": 1.3})
    rows = tier_rows(chosen, [SD15])
    for told, hours in ((0.5, [3600, 2000]), (None, [None, 2000])):
        steps = steps_bought(chosen, rows, prices=prices_of(told, None))
        assert [step.break_even_hours for step in steps] == hours


def test_a_price_of_the_cloud_is_told_with_the_price_of_its_tier() -> None:
    one, other = price_lines(
        path({"gpu": "RTX 4090", "price": 1800, "cloud_price": 0.4}, {"gpu": "T4"})
    )
    assert one == "tier 0: 1,800 USD, as fast in the cloud 0.4 USD an hour"
    assert other == "tier 1: none set"


def test_electricity_makes_the_step_pay_later_and_dear_electricity_never() -> None:
    chosen = path({"gpu": "RTX 4090", "price": 1800})
    rows = tier_rows(chosen, [SD15])
    (paid,) = steps_bought(chosen, rows, prices=prices_of(0.5, 0.3))
    assert paid.break_even_hours == pytest.approx(1800 / (0.5 - 0.45 * 0.3))  # 450 W
    (never,) = steps_bought(chosen, rows, prices=prices_of(0.1, 0.3))
    assert never.break_even_hours is None


def test_only_the_cards_at_work_are_paid_for() -> None:
    flux = parse_workload("flux1-dev 1024x1024 b1 bf16 28")  # a 3060 would need more RAM for it
    chosen = path(
        {"gpu": "RTX 4090", "ram_gib": 8},
        {"gpu": "RTX 4090", "other_gpu": "RTX 3060 12GB", "ram_gib": 8, "price": 1800},
    )
    rows = tier_rows(chosen, [flux, SD15])
    _, alone, _, both = steps_bought(chosen, rows, prices=prices_of(0.5, 0.3))
    assert alone.times_before == 1
    assert alone.break_even_hours == pytest.approx(1800 / (0.5 - 0.45 * 0.3))
    assert both.times_before > 1
    assert both.break_even_hours == pytest.approx(1800 / (0.5 - (0.45 + 0.17) * 0.3))


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), 1e9])
def test_a_cloud_price_that_is_none_is_refused(price: float) -> None:
    with pytest.raises(ValueError, match="cloud price of an hour"):
        prices_of(price, None)


def test_a_negative_price_of_a_kilowatt_hour_is_refused_and_free_power_is_not() -> None:
    with pytest.raises(ValueError, match="give one of 0 or more and below 1,000,000,000"):
        prices_of(None, -0.1)
    assert prices_of(None, 0.0).per_kwh == 0


def test_ram_holds_back_where_more_of_it_would_make_a_model_fit() -> None:
    flux = parse_workload("flux1-schnell 1024x1024 b1 bf16 4")
    (small,) = tier_rows(path({"gpu": "RTX 4060", "ram_gib": 8}), [flux])
    assert small.fit == "does not fit"
    words = held_back_by(small, ram_gib=8)
    assert words.startswith("RAM: it fits with")
    assert "GiB of weights must wait in RAM" in words
    (large,) = tier_rows(path({"gpu": "RTX 4060", "ram_gib": 128}), [flux])
    assert held_back_by(large, ram_gib=128).startswith("VRAM: it fits with")


def test_memory_holds_back_what_needs_more_of_it_whatever_the_batch() -> None:
    """One picture of SDXL, more GiB than 12, was told to wait for arithmetic, four for VRAM."""
    works = [parse_workload(f"sdxl 1024x1024 b{batch} fp16 20") for batch in (1, 4)]
    chosen = path({"gpu": "RTX 4070 Ti"})
    one, four = tier_rows(chosen, works)
    assert (one.fit, four.fit) == ("tight", "tight with VAE slicing")
    assert held_back_by(one) == "VRAM: it is tight, 13.2 GiB predicted of 11.8"
    assert held_back_by(four).startswith("VRAM: it is tight with")
    ((_, sentence),) = bottleneck_sentences(chosen, [one])
    assert sentence.endswith("VRAM holds back every workload.")
    ran = one.model_copy(update={"ran": True})
    assert held_back_by(ran) == "the GPU's arithmetic"


def test_workloads_of_one_model_and_size_are_told_apart_in_a_sentence() -> None:
    words = ("sdxl 1024x1024 b4 fp16 20", "sdxl 1024x1024 b1 fp16 20", "sd15 512x512 b1 fp16 20")
    chosen = path({"gpu": "RTX 4060"})
    rows = tier_rows(chosen, [parse_workload(each) for each in words])
    ((_, sentence),) = bottleneck_sentences(chosen, rows)
    assert "sdxl at 1024x1024 b4 (fits with" in sentence
    assert "sdxl at 1024x1024 b1 (fits with" in sentence
    assert sentence.endswith("sets the pace of sd15 at 512x512.")


def test_a_tier_of_which_nothing_can_be_told_says_so_of_any_workload() -> None:
    chosen = path({"gpu": "RTX 9090"})
    ((_, sentence),) = bottleneck_sentences(chosen, tier_rows(chosen, [SD15]))
    assert sentence == (
        "After tier 0 (RTX 9090, 32 GB RAM, 8 cores) nothing can be told of any workload."
    )


def test_each_tier_has_a_sentence_that_names_every_workload_once() -> None:
    flux = parse_workload("flux1-schnell 1024x1024 b1 bf16 4")
    chosen = path({"gpu": "RTX 4070 Ti"}, {"gpu": "H200 SXM"})
    sentences = bottleneck_sentences(chosen, tier_rows(chosen, [SD15, flux]))
    assert [name for name, _ in sentences] == ["tier 0", "tier 1"]
    first, second = (words for _, words in sentences)
    assert first.startswith("After tier 0 (RTX 4070 Ti, 32 GB RAM, 8 cores) ")
    assert "VRAM holds back flux1-schnell at 1024x1024 (fits with" in first
    assert first.count("sd15") == second.count("sd15") == 1 or "every workload" in second
    assert "VRAM" not in second
