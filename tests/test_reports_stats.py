"""Statistics: medians with honest intervals, and `None` where there are too few samples."""

from __future__ import annotations

import numpy as np
import pytest
from fakes import make_cell

from diffusion_bench.records import VoiceRequest, VoiceStages
from diffusion_bench.reports.schema import Energy, Sample
from diffusion_bench.reports.stats import fit_steps, median_interval, summarise


def test_a_summary_holds_the_median_and_its_spread():
    found = summarise(make_cell(wall_s=(1.0, 2.0, 3.0, 4.0, 50.0), batch=2, steps=10))
    assert found
    assert (found.n, found.median_s, found.iqr_s, found.min_s, found.max_s) == (5, 3, 2, 1, 50)
    assert found.images_per_s == pytest.approx(2 / 3)


def test_steps_per_second_count_every_image_and_the_denoising_stage_only():
    found = summarise(make_cell(wall_s=(10.0,), batch=4, steps=20))  # 8 s of it is denoising
    assert found
    assert found.steps_per_s == pytest.approx(4 * 20 / 8)
    assert found.stages.denoising_s == pytest.approx(8)
    heun = make_cell(wall_s=(10.0,), batch=4, steps=20).model_copy(update={"num_steps": 39})
    own = summarise(heun)
    assert own
    assert own.steps_per_s == pytest.approx(4 * 39 / 8), "of those that were taken"


@pytest.mark.parametrize(
    ("steps", "step_s", "batch", "wanted"),
    [
        (30, 0.1, 1, 10.0),  # two chunks of 15
        (30, 0.1, 4, None),  # together, or one after the other?
        (12, 0.3, 1, None),  # frames of 3.6 s, with other work than the denoising
        (0, 0.0, 1, None),
    ],
)
def test_steps_per_second_of_speech_count_those_of_all_chunks(steps, step_s, batch, wanted):
    silent = {"text_s": 0.0, "voice_encoder_s": 0.0, "other_s": 0.0}
    stages = VoiceStages(prior_s=0.8, denoising_s=3.0, vocoder_s=0.2, **silent)
    sample = Sample(wall_s=4.0, stages=stages, step_s=(step_s,) * steps, audio_s=8.0)
    request = VoiceRequest(text="a word", steps=15, batch=batch)
    cell = make_cell().model_copy(update={"request": request, "samples": (sample,) * 3})
    found = summarise(cell)
    assert found
    assert found.steps_per_s == (None if wanted is None else pytest.approx(wanted))


@pytest.mark.parametrize(
    ("n", "low", "high", "confidence"),
    [(5, 1, 5, 0.9375), (6, 1, 6, 0.96875), (8, 1, 8, 0.9921875), (9, 2, 8, 0.9609375)],
)
def test_the_interval_of_a_median_states_its_confidence(n, low, high, confidence):
    found = median_interval([float(value) for value in range(n, 0, -1)])
    assert found
    assert (found.low, found.high, found.confidence) == (low, high, confidence)


def test_there_is_no_interval_below_five_samples():
    assert median_interval([1.0, 2.0, 3.0, 4.0]) is None


def test_thousands_of_samples_have_an_interval():
    found = median_interval([float(value) for value in range(5000)])
    assert found
    assert 0.95 <= found.confidence < 0.955
    assert 2425 <= found.low < found.high <= 2575


@pytest.mark.parametrize(
    ("wall_s", "noisy"), [((1.0, 1.0, 1.01), False), ((1.0, 1.0, 2.0), True), ((1.0,), None)]
)
def test_noisy_is_a_spread_above_ten_percent_and_unknown_of_one_sample(wall_s, noisy):
    found = summarise(make_cell(wall_s=wall_s))
    assert found
    assert found.noisy is noisy


@pytest.mark.parametrize("status", ["oom", "failed", "cancelled"])
def test_a_cell_that_did_not_end_well_has_no_summary(status):
    assert summarise(make_cell().model_copy(update={"status": status})) is None
    assert summarise(make_cell(wall_s=())) is None


def test_the_fit_finds_fixed_and_per_step_time():
    cells = [make_cell(steps=steps, wall_s=(0.5 + 0.02 * steps,)) for steps in (10, 50, 1000)]
    found = fit_steps([*cells, make_cell(steps=20, status="oom")])
    assert found
    assert found.fixed_s == pytest.approx(0.5)
    assert found.per_step_s == pytest.approx(0.02)
    assert found.worst_residual == pytest.approx(0, abs=1e-9)
    assert found.points == 3


def test_the_fit_says_how_far_the_worst_point_is_from_the_line():
    walls = {10: 1.0, 20: 2.0, 40: 4.0, 80: 12.0}
    found = fit_steps([make_cell(steps=steps, wall_s=(wall,)) for steps, wall in walls.items()])
    assert found
    assert found.worst_residual > 0.1


def test_the_fit_is_that_of_the_least_relative_residuals():
    walls = {10: 1.0, 20: 2.0, 40: 4.0, 80: 12.0}
    found = fit_steps([make_cell(steps=steps, wall_s=(wall,)) for steps, wall in walls.items()])
    times = np.array(list(walls.values()))
    per_step_s, fixed_s = np.polyfit(list(walls), times, 1, w=1 / times)
    assert found
    assert (found.fixed_s, found.per_step_s) == pytest.approx((fixed_s, per_step_s))


def test_two_step_counts_are_no_fit_and_other_differences_an_error():
    assert fit_steps([make_cell(steps=10), make_cell(steps=20)]) is None
    with pytest.raises(ValueError, match="steps only"):
        fit_steps([make_cell(steps=10), make_cell(steps=20, batch=2), make_cell(steps=30)])


def test_where_single_repeats_are_too_short_each_gets_its_share_of_the_whole():
    cell = make_cell(wall_s=(0.2, 0.2, 0.2))
    whole = Energy(total_j=60.0, window_s=1.2, method="counter")
    assert summarise(cell.model_copy(update={"energy": whole})).energy_j == 20.0


def test_energy_is_unknown_unless_every_sample_has_it():
    cell = make_cell(wall_s=(1.0, 1.0, 1.0))
    samples = [
        sample.model_copy(update={"energy_j": energy})
        for sample, energy in zip(cell.samples, (10.0, 30.0, 20.0), strict=True)
    ]
    whole = summarise(cell.model_copy(update={"samples": tuple(samples)}))
    partly = summarise(cell.model_copy(update={"samples": (cell.samples[0], *samples)}))
    assert whole
    assert partly
    assert (whole.energy_j, partly.energy_j) == (20.0, None)


def test_a_denoising_stage_of_no_length_gives_no_speed():
    cell = make_cell(wall_s=(1.0,))
    stages = cell.samples[0].stages.model_copy(update={"denoising_s": 0.0})
    sample = cell.samples[0].model_copy(update={"stages": stages, "step_s": ()})
    found = summarise(cell.model_copy(update={"samples": (sample,)}))
    assert found
    assert found.steps_per_s is None
