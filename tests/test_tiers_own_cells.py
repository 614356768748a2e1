"""A machine's own cells predict its others, and the interval says where they cannot."""

from __future__ import annotations

import math
import random
from itertools import product
from statistics import median

import pytest

from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.tiers.cost import cost_of
from diffusion_bench.tiers.own_cells import MAX_CELLS, MIN_CELLS, fit_cells, predict_cell
from diffusion_bench.tiers.workload import TimedCell, Workload


def workload(**given) -> Workload:
    return Workload.model_validate({"model": BUNDLED_MODEL, "precision": "fp32"} | given)


def seconds_of(work: Workload, *, on_gpu: bool = False) -> tuple[float, float]:
    """Return seconds of the call and of its steps on a machine of a known law."""
    cost = cost_of(**work.work)
    flops = {s.stage: sum(row.flops for row in s.operators) for s in cost.stages}
    moved = {s.stage: sum(row.bytes_moved for row in s.operators) for s in cost.stages}
    host, rate, bandwidth = (0.006, 30e12, 4e11) if on_gpu else (0.004, 60e9, 1.5e10)
    busy = flops["denoising step"] / rate + moved["denoising step"] / bandwidth
    step = max(host, busy) if on_gpu else host + busy
    once = 0.02 + flops["decoder"] / rate + moved["decoder"] / bandwidth
    return work.steps * step + once, work.steps * step


def cells_of(
    sides=(128, 192, 256, 512), batches=(1, 2, 4), steps=(10, 20, 50), noise=0.01, **given
):
    draw = random.Random(1)
    on_gpu = given.pop("on_gpu", False)
    found = []
    for side, batch, number in product(sides, batches, steps):
        work = workload(width=side, height=side, batch=batch, steps=number, **given)
        factor = math.exp(draw.gauss(0, noise))
        whole, denoising = seconds_of(work, on_gpu=on_gpu)
        found.append(TimedCell(work, whole * factor, denoising * factor))
    return found


@pytest.mark.parametrize("left_out", [("width", 192), ("width", 512), ("batch", 2), ("steps", 50)])
def test_a_value_that_was_not_measured_is_predicted_within_5_percent(left_out) -> None:
    name, value = left_out
    cells = cells_of()
    law = fit_cells([c for c in cells if getattr(c.workload, name) != value], on_gpu=False)
    gone = [c for c in cells if getattr(c.workload, name) == value]
    off = [abs(predict_cell(law, c.workload).seconds / c.seconds - 1) for c in gone]
    assert len(off) >= 9
    assert median(off) < 0.05


def test_a_gpu_that_waits_for_its_host_is_told_by_the_larger_of_both() -> None:
    given = {"model": "sd15", "precision": "fp16", "on_gpu": True, "sides": (256, 512, 768, 1024)}
    cells = cells_of(**given)
    law = fit_cells([c for c in cells if c.workload.width != 512], on_gpu=True)
    gone = [c for c in cells if c.workload.width == 512]
    assert median(abs(predict_cell(law, c.workload).seconds / c.seconds - 1) for c in gone) < 0.03


def test_where_nothing_like_it_was_measured_the_interval_is_wide() -> None:
    """Large pictures say nothing of the host's floor, under which small ones lie."""
    given = {"model": "sd15", "precision": "fp16", "on_gpu": True}
    law = fit_cells(cells_of(sides=(768, 1024), **given), on_gpu=True)
    near = predict_cell(law, workload(model="sd15", precision="fp16", width=896, height=896))
    far = predict_cell(law, workload(model="sd15", precision="fp16", width=128, height=128))
    assert near.seconds_high / near.seconds_low < 1.2
    assert far.seconds_high / far.seconds_low > 2


def test_the_rates_that_the_cells_do_not_tell_make_the_interval_wide() -> None:
    """One size at one batch: how much of its time is the host's, nobody can say."""
    law = fit_cells(cells_of(sides=(128,), batches=(1,), steps=(10, 20, 50, 100)), on_gpu=False)
    same = predict_cell(law, workload(width=128, height=128, steps=30))
    larger = predict_cell(law, workload(width=512, height=512, steps=30))
    assert same.seconds_high / same.seconds_low < 1.15
    assert larger.seconds_high / larger.seconds_low > 1.4


@pytest.mark.parametrize("noise", [0.02, 0.12])
def test_four_of_five_cells_left_out_lie_in_their_interval_on_a_busy_machine_too(noise) -> None:
    cells = cells_of(noise=noise)
    inside = []
    for cell in cells[::2]:
        law = fit_cells([c for c in cells if c is not cell], on_gpu=False)
        told = predict_cell(law, cell.workload)
        inside.append(told.seconds_low <= cell.seconds <= told.seconds_high)
    assert sum(inside) / len(inside) >= 0.6


def test_a_slower_sampler_is_told_apart_from_a_faster_one() -> None:
    slow = [
        TimedCell(
            c.workload.model_copy(update={"sampler": "ddpm"}), c.seconds * 1.2, c.denoising_s * 1.2
        )
        for c in cells_of(noise=0.0)
    ]
    law = fit_cells([*cells_of(noise=0.0), *slow], on_gpu=False)
    asked = workload(width=128, height=128, steps=30)
    fast = predict_cell(law, asked).seconds
    slower = predict_cell(law, asked.model_copy(update={"sampler": "ddpm"})).seconds
    assert slower > 1.05 * fast
    other = predict_cell(law, asked.model_copy(update={"sampler": "euler"})).seconds
    assert fast < other < slower, "one that nobody measured is taken for the middle of them"


def test_a_measured_cell_is_predicted_as_it_was_measured() -> None:
    cells = cells_of(noise=0.0)
    odd = cells[7]
    slowed = TimedCell(odd.workload, odd.seconds * 1.3, odd.denoising_s * 1.3)
    law = fit_cells([*cells[:7], slowed, *cells[8:]], on_gpu=False)
    plain = predict_cell(fit_cells(cells, on_gpu=False), odd.workload).seconds
    assert predict_cell(law, odd.workload).seconds > 1.01 * plain


def test_too_few_cells_and_two_precisions_have_no_law() -> None:
    cells = cells_of()
    with pytest.raises(ValueError, match=f"fewer than {MIN_CELLS} different cells"):
        fit_cells([cells[0]] * 10, on_gpu=False)
    half = cells[1]._replace(workload=workload(precision="fp16"))
    with pytest.raises(ValueError, match="several precisions"):
        fit_cells([*cells[:6], half], on_gpu=False)
    with pytest.raises(ValueError, match="only cells in fp32"):
        predict_cell(fit_cells(cells, on_gpu=False), workload(precision="fp16"))


def test_thousands_of_cells_are_thinned_and_still_predict() -> None:
    many = cells_of(steps=tuple(range(1, 300)), sides=(64, 96, 128), batches=(1, 4))
    law = fit_cells(many, on_gpu=False)
    assert len(law.residuals) <= MAX_CELLS
    asked = workload(width=96, height=96, batch=2, steps=25)
    assert predict_cell(law, asked).seconds == pytest.approx(seconds_of(asked)[0], rel=0.05)
