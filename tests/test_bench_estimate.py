"""The time left is exact where cells cost what the model of cost says, and never invented."""

from __future__ import annotations

import random

import pytest
from fakes import make_cell

from diffusion_bench.bench.estimate import (
    TimedRequest,
    estimate_s,
    judging_s,
    step_work,
    timed_call,
    timed_calls,
)
from diffusion_bench.records import ImageRequest, QualityPlan
from diffusion_bench.reports.schema import Cell, Extrapolation

PER_STEP_S, PER_PIXEL_S = 2e-3, 3e-8


def ask(steps: int = 20, side: int = 64, batch: int = 1, **settings: object) -> ImageRequest:
    size = {"width": side, "height": side, "batch": batch}
    return ImageRequest(**{"prompt": "a cat", "steps": steps, **size, **settings})


def cost_s(request: ImageRequest) -> float:
    """Return the cost by hand: two passes a step where there is guidance."""
    passes = 2 if request.guidance_scale > 1 else 1
    pixels = request.width * request.height * request.batch * passes
    return request.steps * (PER_STEP_S + PER_PIXEL_S * pixels)


def timed(*requests: ImageRequest) -> list[TimedRequest]:
    return [TimedRequest(request, cost_s(request)) for request in requests]


def test_the_estimate_is_exact_where_the_cost_has_the_form_it_assumes() -> None:
    known = timed(ask(5), ask(10, 96), ask(20, 128, batch=4))
    asked = [ask(1000, 256), ask(50, 64, batch=8), ask(50, 64, guidance_scale=1.0)]
    assert estimate_s(asked, known) == pytest.approx(sum(map(cost_s, asked)), rel=1e-9)


def test_one_timed_cell_foretells_more_steps_of_itself() -> None:
    assert estimate_s([ask(200)], timed(ask(20))) == pytest.approx(cost_s(ask(200)))


def test_a_model_or_precision_never_timed_has_no_estimate() -> None:
    known = timed(ask())
    assert estimate_s([ask()], []) is None
    assert estimate_s([ask(), ask(model="a/b")], known) is None
    assert estimate_s([ask(precision="bf16")], known) is None
    assert estimate_s([ask(precision="bf16")], [*known, *timed(ask(precision="bf16"))]) is not None


def test_a_slow_model_does_not_slow_the_estimate_of_another() -> None:
    slow = TimedRequest(ask(model="a/b"), 1000.0)
    known = [*timed(ask(5), ask(10, 96)), slow]
    assert estimate_s([ask()], known) == pytest.approx(cost_s(ask()))


def test_nothing_left_takes_no_time() -> None:
    assert estimate_s([], timed(ask())) == 0.0


def test_pictures_to_judge_take_their_calls_in_batches_of_the_plan_or_of_the_cell() -> None:
    known, cells = timed(ask(5), ask(10, 96), ask(20, batch=4)), [ask(20), ask(50, batch=8)]
    in_fours = 64 / 4 * (cost_s(ask(20, batch=4)) + cost_s(ask(50, batch=4)))
    assert judging_s(cells, QualityPlan(pictures=64, batch=4), known) == pytest.approx(in_fours)
    as_they_are = 64 * cost_s(ask(20)) + 64 / 8 * cost_s(ask(50, batch=8))
    assert judging_s(cells, QualityPlan(pictures=64), known) == pytest.approx(as_they_are)
    assert judging_s(cells, None, known) == 0
    assert judging_s(cells, QualityPlan(), []) == 0


def test_no_measurements_make_an_estimate_negative() -> None:
    chance = random.Random(3)
    for _ in range(300):
        known = [
            TimedRequest(
                ask(chance.randint(1, 1000), chance.choice([8, 64, 512]), chance.choice([1, 64])),
                10 ** chance.uniform(-6, 4),
            )
            for _ in range(chance.randint(1, 5))
        ]
        for request in (ask(1, 8), ask(1000, 8), ask(1, 4096), ask(1000, 4096, 64)):
            found = estimate_s([request], known)
            assert found is not None
            assert found > 0


def test_guidance_passes_every_pixel_twice() -> None:
    assert step_work(ask(10, 64, batch=2)) == 2 * step_work(ask(10, 64, 2, guidance_scale=1.0))
    assert step_work(ask(10, 64, batch=2, guidance_scale=1.0)) == 10 * 64 * 64 * 2


def cut_cell(cell: Cell) -> Cell:
    measured = Extrapolation(measured_steps=len(cell.samples[0].step_s), rule="at their pace")
    return cell.model_copy(update={"extrapolation": measured})


def test_a_cell_counts_with_the_steps_that_were_run_of_it() -> None:
    """A cell of 1000 steps that was timed on four took what four take."""
    cell = cut_cell(make_cell(wall_s=[4.0, 5.0], step_s=[1.0] * 4, steps=1000))
    assert timed_calls(cell) == [
        TimedRequest(cell.request.model_copy(update={"steps": 4}), wall_s) for wall_s in (4.0, 5.0)
    ]
    assert timed_calls(make_cell(status="oom")) == []


def test_a_cell_foretells_itself_whatever_steps_its_sampler_takes() -> None:
    """Heun takes 39 steps where 20 are asked for, and six where it is cut after six."""
    whole = make_cell(wall_s=[3.9], step_s=[0.1] * 39, steps=20, sampler="native")
    assert estimate_s([whole.request], timed_calls(whole)) == pytest.approx(3.9)
    cut = cut_cell(make_cell(wall_s=[0.6], step_s=[0.1] * 6, steps=20, sampler="native"))
    asked = timed_call(cut.request, measured_steps=6)
    assert estimate_s([asked], timed_calls(cut)) == pytest.approx(0.6)


def test_two_calls_a_step_of_a_models_own_sampler_do_not_slow_the_others() -> None:
    heun = make_cell(wall_s=[3.9], step_s=[0.1] * 39, steps=20, sampler="native")
    ddim = make_cell(wall_s=[2.0], step_s=[0.1] * 20, steps=20)
    known = timed_calls(heun) + timed_calls(ddim)
    for sampler, wall_s in (("native", 3.9), ("ddim", 2.0), ("ddpm", 2.0)):
        assert estimate_s([ask(sampler=sampler, side=128)], known) == pytest.approx(wall_s)
    assert estimate_s([heun.request], timed_calls(ddim)) is None
