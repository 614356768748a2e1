"""Time follows from the card's figures and the workload's cost."""

from __future__ import annotations

import math

import pytest

from diffusion_bench.tiers.cards import Card, find_card, known_cards
from diffusion_bench.tiers.cost import OPERATORS
from diffusion_bench.tiers.efficiency import shipped_efficiency
from diffusion_bench.tiers.predict import Z_80, estimate, predict, residual_of
from diffusion_bench.tiers.roofline import (
    Figures,
    Pace,
    Rates,
    Work,
    call_seconds,
    figures_of,
    gpu_seconds,
)
from diffusion_bench.tiers.workload import Software, Workload

SD15 = Workload(model="sd15", batch=4, steps=20)
RATES = Rates(
    compute=0.5,
    convolution=0.5,
    attention=0.5,
    memory=0.5,
    power_exponent=0,
    cache_exponent=0,
    turing=1,
    plain=1,
    host_rate=1000,
    web_ui_host=2,
    saving_s=0.1,
)


def card(name: str) -> Card:
    found = find_card(name).card
    assert found is not None
    return found


def figures(peak: float = 100.0, bandwidth: float = 10.0) -> Figures:
    return Figures(
        peak=dict.fromkeys(OPERATORS, peak),
        bandwidth=bandwidth,
        l2_mib=6.0,
        power=1.0,
        turing=0.0,
        plain=0.0,
    )


def work(flops: float, bytes_moved: float, launches: float = 0) -> Work:
    zero = dict.fromkeys(OPERATORS, 0.0)
    return Work(
        flops=zero | {"matmul": flops},
        bytes_moved=zero | {"matmul": bytes_moved},
        launches=launches,
    )


def test_a_class_takes_the_longer_of_its_arithmetic_and_its_traffic() -> None:
    assert gpu_seconds(figures(), work(500, 1), RATES) == pytest.approx(10, rel=1e-3)
    assert gpu_seconds(figures(), work(1, 50), RATES) == pytest.approx(10, rel=1e-3)


def test_a_call_takes_as_long_as_the_slower_of_gpu_and_host() -> None:
    busy = work(500, 1, launches=100)
    assert call_seconds(figures(), busy, RATES, Pace(), 0) == pytest.approx(10, rel=1e-3)
    chatty = work(5, 1, launches=50_000)
    assert call_seconds(figures(), chatty, RATES, Pace(), 0) == pytest.approx(50, rel=1e-3)
    assert call_seconds(figures(), chatty, RATES, Pace(), 1) == pytest.approx(100, rel=1e-3)
    fewer = Pace(speed=2, launches=0.1)
    assert call_seconds(figures(), chatty, RATES, fewer, 0) == pytest.approx(5, rel=1e-3)
    assert call_seconds(figures(), busy, RATES, fewer, 0) == pytest.approx(5, rel=1e-3)


def test_plain_cores_with_few_watts_achieve_less_of_their_peak_as_tensor_cores_do() -> None:
    """Matrix products were seen to reach 0.51 of it on an L40S, 0.67 on a 4090, 0.98 on an A100."""
    rates, shares = shipped_efficiency().fit.rates, {}
    for name in ("L40S", "RTX 4090", "RTX A6000", "RTX 3090", "RTX 2080 Ti", "A100 SXM4 40GB"):
        figures = figures_of(card(name), 32)
        seconds = gpu_seconds(figures, work(figures.peak["matmul"], 1), rates)
        shares[name] = 1 / seconds
    assert shares["L40S"] < shares["RTX 4090"] < shares["RTX A6000"] < shares["RTX 3090"]
    assert shares["RTX 3090"] < 0.85 < min(shares["RTX 2080 Ti"], shares["A100 SXM4 40GB"])


def test_fp32_uses_tf32_in_convolutions_only_and_from_ampere_on() -> None:
    ampere, turing = figures_of(card("RTX 3090"), 32), figures_of(card("RTX 2080 Ti"), 32)
    assert ampere.peak["convolution"] == pytest.approx(35.6e12)
    assert ampere.peak["matmul"] == pytest.approx(35.58e12)
    a100 = figures_of(card("A100 SXM4 40GB"), 32)
    assert a100.peak["convolution"] == pytest.approx(156e12)
    assert a100.peak["matmul"] == pytest.approx(19.49e12)
    assert turing.peak["convolution"] == pytest.approx(13.45e12)


def test_a_better_card_is_predicted_faster() -> None:
    line = ("RTX 3060 12GB", "RTX 3070", "RTX 3080 10GB", "RTX 3090", "RTX 4080", "RTX 4090")
    seconds = [predict(card(name), SD15).seconds for name in (*line, "RTX 5090")]
    assert seconds == sorted(seconds, reverse=True)


@pytest.mark.parametrize("more", [{"batch": 8}, {"width": 768}, {"steps": 30}])
def test_more_work_takes_more_time(more: dict[str, int]) -> None:
    larger = SD15.model_copy(update=more)
    assert predict(card("RTX 4090"), larger).seconds > predict(card("RTX 4090"), SD15).seconds


def test_seconds_rate_and_interval_belong_together() -> None:
    found = predict(card("RTX 4070 Ti"), SD15)
    assert found.seconds_per_image == pytest.approx(found.seconds / 4)
    assert found.image_steps_per_s == pytest.approx(80 / found.seconds)
    assert found.image_steps_per_s_low == pytest.approx(80 / found.seconds_high)
    assert found.seconds_low < found.seconds < found.seconds_high
    assert "specification" in found.basis


def test_the_loop_alone_is_faster_than_the_whole_call_and_costs_steps_only() -> None:
    loop = [
        predict(card("RTX 4090"), SD15.model_copy(update={"steps": n}), loop_only=True)
        for n in (4, 40)
    ]
    assert loop[0].image_steps_per_s == pytest.approx(loop[1].image_steps_per_s)
    whole = predict(card("RTX 4090"), SD15)
    assert loop[0].image_steps_per_s > whole.image_steps_per_s


def test_a_report_corrects_the_rate_of_the_loop_as_it_does_the_calls() -> None:
    slow = residual_of(card("RTX 4090"), SD15, 2 * predict(card("RTX 4090"), SD15).seconds)
    plain, told = (
        predict(card("RTX 4090"), SD15, residuals=known, loop_only=True) for known in ((), (slow,))
    )
    longer = told.seconds / plain.seconds
    assert longer > 1.5
    assert plain.image_steps_per_s / told.image_steps_per_s == pytest.approx(longer)


@pytest.mark.parametrize("bits", [16, 32])
def test_no_card_is_predicted_beyond_what_its_cores_can_however_many_watts_it_takes(bits) -> None:
    """A GTX 1080 has 20 W a TFLOP of 16 bits; the fit has seen 7 at most."""
    told = {"name": "GTX 1080", "tensor_tflops": 8.87, "fp32_tflops": 8.87, "tdp_w": 180}
    pascal = card("RTX 2060 6GB").model_copy(update={**told, "compute_capability": "6.1"})
    for one in (*known_cards(), pascal):
        figures = figures_of(one, bits)
        seconds = gpu_seconds(
            figures, work(figures.peak["matmul"], 1), shipped_efficiency().fit.rates
        )
        assert seconds > 0.88, one.name  # clocks go a little beyond the boost that is stated


def test_bf16_on_a_card_without_it_cannot_be_told() -> None:
    with pytest.raises(ValueError, match="has no bf16"):
        predict(card("RTX 2080 Ti"), SD15.model_copy(update={"precision": "bf16"}))


def test_a_web_ui_and_software_change_the_time() -> None:
    fit = shipped_efficiency().fit
    plain = estimate(card("RTX 4090"), SD15, Software(), fit).total_s
    assert estimate(card("RTX 4090"), SD15, Software(web_ui=True), fit).total_s > plain
    assert estimate(card("RTX 4090"), SD15, Software(name="engine"), fit).total_s < plain
    assert estimate(card("RTX 4090"), SD15, Software(name="plain attention"), fit).total_s > plain


def test_a_report_of_the_same_cell_is_believed_and_narrows_the_interval() -> None:
    alone = predict(card("RTX 4090"), SD15)
    residual = residual_of(card("RTX 4090"), SD15, alone.seconds * 1.3)
    told = predict(card("RTX 4090"), SD15, residuals=[residual])
    assert told.seconds == pytest.approx(1.3 * alone.seconds, rel=0.02)
    assert told.seconds_high / told.seconds_low < (alone.seconds_high / alone.seconds_low) ** 0.4
    assert "corrected by 1 measurements (RTX 4090)" in told.basis


def test_a_prediction_counts_the_measurements_that_it_used_of_those_there_are() -> None:
    cells = [SD15.model_copy(update={"batch": batch}) for batch in range(1, 41)]
    told = predict(
        card("RTX 4070 Ti"),
        SD15,
        residuals=[residual_of(card("RTX 4090"), cell, 2.0) for cell in cells],
    )
    assert "corrected by the nearest 32 of 40 measurements (RTX 4090)" in told.basis


@pytest.mark.parametrize("times", [0.6, 1.6])
def test_less_work_is_predicted_to_take_no_longer_than_more_was_measured(times: float) -> None:
    """512 pixels were measured at 0.45 s and 256 predicted at 0.48: the host was faster."""
    one = SD15.model_copy(update={"batch": 1})
    measured_s = times * predict(card("H200 SXM"), one).seconds
    told = [residual_of(card("H200 SXM"), one, measured_s)]

    def seconds(**asked: int) -> float:
        workload = one.model_copy(update=asked)
        return predict(card("H200 SXM"), workload, residuals=told).seconds

    assert seconds() == pytest.approx(measured_s, rel=0.01)
    assert seconds(width=256, height=256) <= measured_s <= seconds(batch=2)
    assert seconds(width=384) <= measured_s <= seconds(height=640)
    assert seconds(steps=19) < measured_s < seconds(steps=21)


def test_a_report_of_another_card_moves_this_one_the_same_way_but_less() -> None:
    alone = predict(card("RTX 4070 Ti"), SD15)
    other = predict(card("RTX 4090"), SD15)
    residual = residual_of(card("RTX 4090"), SD15, other.seconds * 1.3)
    told = predict(card("RTX 4070 Ti"), SD15, residuals=[residual])
    assert 1.05 < told.seconds / alone.seconds < 1.3
    assert told.seconds_high / told.seconds_low < alone.seconds_high / alone.seconds_low


def test_the_interval_is_80_percent_of_a_normal_distribution() -> None:
    spread = shipped_efficiency().spreads.total("RTX 4090")
    found = predict(card("RTX 4090"), SD15)
    assert math.log(found.seconds_high / found.seconds) == pytest.approx(Z_80 * spread)
    assert math.erf(Z_80 / math.sqrt(2)) == pytest.approx(0.8, abs=1e-4)


def test_no_time_is_no_measurement() -> None:
    with pytest.raises(ValueError, match="was not measured"):
        residual_of(card("RTX 4090"), SD15, 0.0)
