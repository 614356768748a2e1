"""Extrapolated totals: every part counted once, and an interval that covers the truth."""

from __future__ import annotations

import random

import pytest
from fakes import make_cell

from diffusion_bench.records import Stages
from diffusion_bench.reports.extrapolate import DRIFT_SHARE, total_interval, total_s
from diffusion_bench.reports.fits import fit_lines, off_line
from diffusion_bench.reports.schema import Cell, Energy, Extrapolation, Sample
from diffusion_bench.reports.stats import StepFit, summarise


def partly(step_s: list[float], once_s: float = 0.5) -> Sample:
    """Return a call of these steps and `once_s` for the rest."""
    stages = Stages(
        text_encoder_s=once_s / 2, denoising_s=sum(step_s), decoder_s=once_s / 2, other_s=0.0
    )
    return Sample(wall_s=sum(step_s) + once_s, stages=stages, step_s=tuple(step_s))


def extrapolated(calls: list[Sample], steps: int = 1000, **request: object) -> Cell:
    cell = make_cell(wall_s=(1.0,), steps=steps, **request)
    rule = Extrapolation(measured_steps=len(calls[0].step_s), rule="test")
    return cell.model_copy(update={"samples": tuple(calls), "extrapolation": rule})


def test_the_first_step_and_what_comes_once_are_counted_once():
    call = partly([0.9, 0.1, 0.2, 0.3])
    assert total_s(call, 100) == pytest.approx(0.5 + 0.9 + 99 * 0.2)
    assert total_s(call, 4) == pytest.approx(call.wall_s)


def test_a_summary_is_of_whole_calls_and_says_that_they_were_not():
    found = summarise(extrapolated([partly([0.02, *[0.01] * 49])] * 4, batch=2))
    assert found
    assert found.extrapolated
    assert found.median_s == pytest.approx(0.5 + 0.02 + 9.99)
    assert found.stages.denoising_s == pytest.approx(10.01)
    assert found.stages.decoder_s == pytest.approx(0.25)
    assert found.steps_per_s == pytest.approx(2 * 1000 / 10.01)
    assert found.images_per_s == pytest.approx(2 / 10.51)
    assert found.warnings == ("extrapolated",)
    assert found.interval_s
    assert found.interval_s.high >= found.median_s * (1 + DRIFT_SHARE)


def test_the_energy_of_a_part_grows_with_its_time():
    cell = extrapolated([partly([0.01] * 50)] * 2)  # 1 s of 10.5 s were timed
    whole = Energy(total_j=40.0, window_s=2.0, method="counter", idle_power_w=5.0, net_j=30.0)
    found = summarise(cell.model_copy(update={"energy": whole}))
    assert found
    assert found.energy_j == pytest.approx(20.0 * 10.5)
    assert found.net_energy_j == pytest.approx(15.0 * 10.5)
    each = tuple(one.model_copy(update={"energy_j": 20.0}) for one in cell.samples)
    alone = summarise(cell.model_copy(update={"samples": each}))
    assert alone
    assert alone.energy_j == pytest.approx(20.0 * 10.5)


@pytest.mark.parametrize("calls", [1, 2, 5])
def test_the_interval_covers_the_whole_call_9_times_in_10(calls):
    rng, hits, tries = random.Random(calls), 0, 200
    for _ in range(tries):
        timed = []
        for _ in range(calls):
            pace = 0.01 * rng.gauss(1, 0.02)  # calls differ by 2 percent, steps by 10
            timed.append(partly([pace * rng.gauss(1, 0.1) for _ in range(40)]))
        pace = 0.01 * rng.gauss(1, 0.01)
        truth = 0.5 + sum(pace * rng.gauss(1, 0.1) for _ in range(1000))
        found = total_interval(extrapolated(timed))
        assert found
        hits += found.low <= truth <= found.high
    assert hits >= 0.9 * tries


def test_calls_that_differ_widen_the_interval_more_than_their_steps_would():
    even = total_interval(extrapolated([partly([0.01, *[0.01, 0.0101] * 20])] * 3))
    apart = [partly([0.01, *[pace, pace * 1.01] * 20]) for pace in (0.009, 0.01, 0.011)]
    uneven = total_interval(extrapolated(apart))
    assert even
    assert uneven
    assert uneven.high - uneven.low > 5 * (even.high - even.low)


def test_too_few_timed_steps_have_no_interval():
    assert total_interval(extrapolated([partly([0.01, 0.01])])) is None


def test_lines_are_stored_a_shape_with_extrapolated_cells_on_them():
    whole = [make_cell(steps=steps, wall_s=(0.5 + 0.01 * steps,)) for steps in (10, 20, 50)]
    long = extrapolated([partly([0.01] * 50)])
    (line,) = fit_lines([*whole, long, make_cell(steps=10, batch=2)])
    assert (line.points, line.off_line) == (4, ())
    assert line.fixed_s == pytest.approx(0.5)
    assert line.per_step_s == pytest.approx(0.01)


def test_a_cell_more_than_a_tenth_off_the_line_is_named():
    fit = StepFit(fixed_s=0.0, per_step_s=0.1, worst_residual=0.0, points=3)
    cells = [make_cell(steps=10, wall_s=(wall,)) for wall in (1.0, 1.09, 0.91, 1.11, 0.89)]
    cells = [cell.model_copy(update={"cell_id": str(i)}) for i, cell in enumerate(cells)]
    assert off_line(cells, fit) == ("3", "4")


def test_a_single_cell_off_the_line_does_not_pull_it():
    walls = {10: 0.6, 20: 0.7, 50: 1.0, 100: 4.5}
    cells = [make_cell(steps=steps, wall_s=(wall,)) for steps, wall in walls.items()]
    (line,) = fit_lines(cells)
    assert (line.fixed_s, line.per_step_s) == (pytest.approx(0.5), pytest.approx(0.01))
    assert (line.points, line.off_line) == (3, (cells[3].cell_id,))


def test_no_interval_of_seconds_reaches_below_nothing():
    wild = [partly([0.08, *[pace] * 9]) for pace in (0.01, 0.5, 0.01, 0.5)]
    found = total_interval(extrapolated(wild))
    assert found
    assert found.low == 0.0
