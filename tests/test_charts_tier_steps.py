"""What an upgrade step buys, and what then holds it back."""

from __future__ import annotations

import pytest

from diffusion_bench.charts.tier_numbers import TierRow, tier_rows
from diffusion_bench.charts.tier_steps import held_back_by, predicted_rate, steps_bought
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
    first, second = steps_bought(chosen, rows, cloud_price=0.5)
    assert first.times_before is None
    assert first.price_per_gained_image_per_hour is None
    assert first.break_even_hours is None  # no price is given
    old, new = first.images_per_hour, second.images_per_hour
    assert old is not None
    assert new is not None
    assert second.times_before == pytest.approx(new / old)
    assert second.price_per_gained_image_per_hour == pytest.approx(1800 / (new - old))
    assert second.break_even_hours == 3600


def test_both_tiers_are_compared_by_predictions_even_where_one_is_published() -> None:
    found = row("RTX 4090", SD15)
    assert found.evidence[0].kind == "published"
    assert predicted_rate(found) == pytest.approx(3600 * 4 / found.evidence[-1].seconds)


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


@pytest.mark.parametrize(
    ("gpu", "workload", "words"),
    [
        ("RTX 4070 Ti", "sd15 512x512 b8 fp16 20", "arithmetic"),
        ("RTX 3060 12GB", "sd15 512x512 b8 fp16 20", "bandwidth"),
        ("H200 SXM", "sdxl 512x512 b1 fp16 20", "CPU"),
        ("RTX 2060 6GB", "sdxl 2048x2048 b64 fp32 20", "VRAM: it does not fit"),
        ("RTX 9090", "sd15 512x512 b1 fp16 20", "cannot tell: no card"),
    ],
)
def test_what_holds_a_tier_back_is_said(gpu: str, workload: str, words: str) -> None:
    assert words in held_back_by(row(gpu, parse_workload(workload)))


@pytest.mark.parametrize("price", [0.0, -1.0, float("nan"), 1e9])
def test_a_cloud_price_that_is_none_is_refused(price: float) -> None:
    with pytest.raises(ValueError, match="cloud price"):
        steps_bought(path({"gpu": "RTX 4090"}), [], cloud_price=price)
