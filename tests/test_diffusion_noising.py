"""How much picture and noise there is at each timestep, against the papers' formulas."""

from __future__ import annotations

import math

import pytest
from schedules import LINEAR

from diffusion_bench.diffusion.noising import SCHEDULES, noise_levels, usual_schedules


def test_picture_and_noise_keep_the_variance_at_every_timestep() -> None:
    for levels in usual_schedules().values():
        assert len(levels) == 1000
        assert [level.signal**2 + level.noise**2 for level in levels] == pytest.approx([1.0] * 1000)


def test_the_linear_schedule_is_the_product_of_the_papers_betas() -> None:
    levels = noise_levels(LINEAR)
    kept = 1.0
    for timestep, level in enumerate(levels):
        kept *= 1 - (1e-4 + (0.02 - 1e-4) * timestep / 999)
        assert level.timestep == timestep
        assert level.signal**2 == pytest.approx(kept, rel=1e-3)


def test_the_cosine_schedule_is_that_of_its_paper_in_the_middle() -> None:
    middle = usual_schedules()[SCHEDULES["squaredcos_cap_v2"]][499]
    f = [math.cos((at + 0.008) / 1.008 * math.pi / 2) ** 2 for at in (0.5, 0.0)]
    assert middle.signal**2 == pytest.approx(f[0] / f[1], rel=1e-3)


def test_the_ratio_is_in_db_and_there_is_none_without_a_signal() -> None:
    levels = noise_levels(LINEAR | {"rescale_betas_zero_snr": True})
    assert levels[-1].signal == pytest.approx(0.0, abs=1e-6)
    assert levels[-1]._replace(signal=0.0).snr_db is None
    assert levels[0]._replace(signal=1.0, noise=0.1).snr_db == pytest.approx(20.0)


def test_the_scaled_linear_schedule_is_named_after_whose_betas_it_has() -> None:
    """Stable Diffusion 1 ends at an abar of 0.0047; its paper's own betas were others."""
    last = usual_schedules()["scaled linear (Stable Diffusion 1)"][-1]
    assert last.signal**2 == pytest.approx(0.00466, rel=0.01)


def test_a_schedule_of_flow_matching_is_refused_in_one_line() -> None:
    with pytest.raises(ValueError, match="no noise schedule in betas"):
        noise_levels({"_class_name": "FlowMatchEulerDiscreteScheduler"})
