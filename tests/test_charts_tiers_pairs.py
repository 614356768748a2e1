"""A tier's two cards: every way of using them has figures or a reason, whatever the cards are."""

from __future__ import annotations

import pytest

from diffusion_bench.charts.tiers.bars import bars_numbers
from diffusion_bench.charts.tiers.limits import held_back_by
from diffusion_bench.charts.tiers.measured import Findings
from diffusion_bench.charts.tiers.numbers import TierRow, tier_rows
from diffusion_bench.charts.tiers.pairs import ways_of_two
from diffusion_bench.charts.tiers.runnable import shown_workloads
from diffusion_bench.charts.tiers.steps import predicted_rate
from diffusion_bench.charts.tiers.study import study
from diffusion_bench.tiers.cards import GIVEN, find_card
from diffusion_bench.tiers.figures import figure_words
from diffusion_bench.tiers.knowledge import Knowledge
from diffusion_bench.tiers.memory import CONTEXT_MIB, Ram, remembered_need
from diffusion_bench.tiers.path import UpgradePath
from diffusion_bench.tiers.predict import residual_of
from diffusion_bench.tiers.rows import need_of
from diffusion_bench.tiers.two_gpus import WAYS, TwoGpus
from diffusion_bench.tiers.workload import Software, parse_workload


def path(gpu: str, **given: object) -> UpgradePath:
    tier = {"name": "pair", "gpu": gpu, "ram_gib": 64, "cores": 8} | given
    return UpgradePath.model_validate({"tier": [tier]})


def pair(workload: str, gpu: str, **given: object) -> TierRow:
    (row,) = tier_rows(path(gpu, **given), [parse_workload(workload)])
    return row


def ways(row: TierRow) -> dict[str, TwoGpus]:
    assert tuple(way.way for way in row.two_gpus) == WAYS
    return {way.way: way for way in row.two_gpus}


@pytest.mark.parametrize("cards", [("RTX 4090", "RTX 2080 Ti"), ("RTX 2080 Ti", "RTX 4090")])
def test_a_pair_with_a_card_that_has_no_bf16_is_what_its_other_card_does(cards) -> None:
    chosen = path(cards[0], other_gpu=cards[1])
    found = study(chosen, shown_workloads())
    alone = tier_rows(path("RTX 4090"), shown_workloads())
    assert {row.workload.precision for row in found.rows} == {"fp16", "bf16"}
    for row, one in zip(found.rows, alone, strict=True):
        assert (row.faster_card, row.fit) == ("RTX 4090", one.fit)
        assert row.seconds_per_image == one.seconds_per_image
        for way in ways(row).values():
            assert way.images_per_hour is not None or way.reason
            if row.workload.precision == "bf16":
                assert way.reason == "RTX 2080 Ti has no bf16; it takes fp16 or fp32"


def test_two_cards_are_predicted_with_the_interval_of_one_of_them() -> None:
    row = pair("sd15 512x512 b4 fp16 20", "RTX 4090", count=2)
    jobs = ways(row)["two jobs"]
    assert row.seconds_per_image_high is not None
    assert jobs.images_per_hour_low == pytest.approx(2 * 3600 / row.seconds_per_image_high)
    assert jobs.images_per_hour_high == pytest.approx(2 * 3600 / row.seconds_per_image_low)
    between = f"({figure_words(jobs.images_per_hour_low)} to"
    assert between in jobs.words
    bars = bars_numbers([row], "images an hour").bars
    (bar,) = [bar for bar in bars if bar.way == "2 GPUs, two jobs"]
    assert (bar.low, bar.high) == (jobs.images_per_hour_low, jobs.images_per_hour_high)


def test_a_split_is_as_unsure_as_the_shares_of_it_and_not_as_the_whole_that_was_measured() -> None:
    whole, half = (parse_workload(f"sd15 512x512 b{batch} fp16 20") for batch in (8, 4))
    card = find_card("RTX 4090").card
    assert card is not None
    findings = Findings(knowledge=Knowledge([residual_of(card, whole, 3.0)]))
    (row,) = tier_rows(path("RTX 4090", count=2), [whole], findings)
    found = ways(row)
    for name, work in (("two jobs", whole), ("one batch split", half)):
        told = findings.knowledge.predict(card, work)
        least = 2 * 3600 * work.batch / told.seconds_high
        assert found[name].images_per_hour_low == pytest.approx(least)
    assert _reach(found["one batch split"]) > 1.01 * _reach(found["two jobs"])


def _reach(way: TwoGpus) -> float:
    return way.images_per_hour_high / way.images_per_hour


def test_what_fits_neither_card_alone_is_predicted_with_an_interval_too() -> None:
    row = pair("sd15 768x768 b32 fp16 20", "RTX 4060", count=2, ram_gib=8)
    assert row.only_split
    halves = ways(row)["one batch split"]
    assert halves.images_per_hour_low < halves.images_per_hour < halves.images_per_hour_high


def test_a_card_that_does_not_fit_it_goes_before_one_that_cannot_be_told() -> None:
    row = pair("sdxl 2048x2048 b64 bf16 20", "RTX 2080 Ti", other_gpu="RTX 3060 12GB")
    assert (row.faster_card, row.fit) == ("RTX 3060 12GB", "does not fit")


def test_a_card_that_surely_holds_it_goes_before_a_faster_one_that_may_run_out() -> None:
    """An RTX 3090 was bought for its memory, and VRAM still held the pair back."""
    asked = "sdxl 1024x1024 b1 fp16 20"
    first, second = pair(asked, "RTX 4070 Ti"), pair(asked, "RTX 3090")
    assert (first.fit, second.fit) == ("tight", "fits")
    assert first.seconds_per_image < second.seconds_per_image
    both = pair(asked, "RTX 4070 Ti", other_gpu="RTX 3090")
    assert (both.faster_card, both.fit) == ("RTX 3090", "fits")
    assert "VRAM" not in held_back_by(both)
    light = pair("sd15 512x512 b1 fp16 20", "RTX 4070 Ti", other_gpu="RTX 3090")
    assert light.faster_card == "RTX 4070 Ti"


@pytest.mark.parametrize(
    "workload",
    [
        "sd15 512x512 b1 fp16 20",
        "sd15 512x512 b8 fp16 20",
        "flux1-dev 1024x1024 b4 bf16 28",
        "sdxl 2048x2048 b64 fp32 20",
    ],
)
@pytest.mark.parametrize("other", ["RTX 4090", "RTX 3060 12GB"])
def test_every_way_is_named_with_a_rate_or_a_reason(workload: str, other: str) -> None:
    row = pair(workload, "RTX 4090", other_gpu=other)
    for way in ways(row).values():
        assert (way.images_per_hour is None) == bool(way.reason)


def test_a_batch_is_split_where_the_whole_takes_a_remedy_and_the_halves_take_none() -> None:
    row = pair("sdxl 1024x1024 b4 fp16 30", "RTX 4090", count=2)
    half = pair("sdxl 1024x1024 b2 fp16 30", "RTX 4090")
    assert (row.fit, half.fit) == ("fits with VAE slicing", "fits")
    halves = ways(row)["one batch split"]
    assert (halves.share, halves.remedies) == ((2, 2), ())
    assert halves.seconds == pytest.approx(2 * half.seconds_per_image)
    assert ways(row)["two jobs"].remedies == ("VAE slicing",)


def test_each_of_two_cards_that_share_a_model_has_a_context_and_activations_of_its_own() -> None:
    flux = parse_workload("flux1-dev 1024x1024 b1 bf16 28")
    need = need_of(flux, Software())
    beside_mib = need.activations_mib + CONTEXT_MIB
    just_mib = (need.peak_mib - beside_mib) / 2 + beside_mib
    known = find_card("RTX 4090").card
    assert known is not None
    for given_mib, runs in ((just_mib - 1, False), (just_mib + 1, True)):
        card = known.model_copy(update={"usable_mib": given_mib / GIVEN})
        split = ways_of_two([card, card], flux, Findings(), Ram(64))[-1]
        assert split.way == "one model split"
        assert (split.images_per_hour is not None) == runs, split.reason


def test_a_share_pays_for_its_remedies() -> None:
    row = pair("flux1-dev 1024x1024 b2 bf16 28", "RTX 4070 Ti", count=2)
    one = pair("flux1-dev 1024x1024 b1 bf16 28", "RTX 4070 Ti")
    assert one.slower > 1
    halves = ways(row)["one batch split"]
    assert halves.remedies == one.remedies
    assert halves.seconds == pytest.approx(one.seconds_per_image)


def test_a_batch_that_fits_neither_card_is_drawn_in_shares() -> None:
    gpu, asked = "RTX 3060 12GB", "sdxl 1024x1024 b{} fp32 20"
    batch = next(n for n in range(2, 400, 2) if pair(asked.format(n), gpu).fit == "does not fit")
    row = pair(asked.format(batch), gpu, count=2)
    assert row.seconds_per_image is None
    assert row.only_split
    halves = ways(row)["one batch split"]
    assert (halves.share, halves.speedup) == ((batch // 2, batch // 2), None)
    assert predicted_rate(row) == halves.images_per_hour
    assert ways(row)["two jobs"].images_per_hour is None


def test_a_pair_is_never_predicted_slower_than_its_faster_card_alone() -> None:
    """Where two jobs do not fit, a model over both may be slower than the fast card alone."""
    asked = "flux1-dev 1024x1024 b1 bf16 28"
    alone = pair(asked, "RTX 5090", ram_gib=12)
    row = pair(asked, "RTX 5090", other_gpu="RTX 3060 12GB", ram_gib=12)
    assert ways(row)["two jobs"].images_per_hour is None
    assert ways(row)["one model split"].images_per_hour < predicted_rate(alone)
    assert predicted_rate(row) == predicted_rate(alone)


def test_a_path_of_many_tiers_counts_the_memory_of_a_workload_no_more_often_than_one_tier() -> None:
    """Fifty tiers and twelve workloads kept a core of a shared app busy for 86 s at each click."""
    remembered_need.cache_clear()
    asked = [parse_workload("sdxl 1024x1024 b63 fp16 20")]
    one = path("RTX 4090", other_gpu="RTX 3060 12GB")
    tier_rows(one, asked)
    counted = remembered_need.cache_info().misses
    many = [one.tiers[0].model_copy(update={"name": str(number)}) for number in range(20)]
    tier_rows(one.model_copy(update={"tiers": tuple(many)}), asked)
    assert remembered_need.cache_info().misses == counted
