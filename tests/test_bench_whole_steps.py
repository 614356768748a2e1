"""Schedulers that take other steps than asked for: timed, cut and examined by those they take."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from diffusers import DDIMScheduler, HeunDiscreteScheduler, SchedulerMixin
from fakes import make_cell, make_header, make_report
from tiny_models import save_tiny_sd

from diffusion_bench.backends import stage_clock
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.bench.cells import Watched, measured_cell
from diffusion_bench.bench.measure import Effort, measure
from diffusion_bench.records import ImageRequest, MachineState
from diffusion_bench.reports.doctor import examine_report
from diffusion_bench.reports.plausible import step_counts
from diffusion_bench.reports.schema import Cell
from diffusion_bench.reports.stats import median_s, summarise

STEPS = 12
BETAS = {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012}
PNDM = None  # what the tiny model has if nothing else is asked for
HEUN = HeunDiscreteScheduler(**BETAS)
DDIM = DDIMScheduler(**BETAS)


class Model:
    """A tiny Stable Diffusion of which each call of the network takes about a second."""

    def __init__(
        self, folder: Path, scheduler: SchedulerMixin | None, patch: pytest.MonkeyPatch
    ) -> None:
        self.now_s = 0.0
        self._chance = random.Random(0)
        backend = ImageBackend.load(str(save_tiny_sd(folder, scheduler)), device="cpu")
        backend._pipeline.unet.register_forward_hook(self._pass)
        patch.setattr(stage_clock, "time", SimpleNamespace(perf_counter=lambda: self.now_s))
        self._backend = backend

    def _pass(self, *_: object) -> None:
        self.now_s += 1 + self._chance.random() / 1000  # no clock gives equal times

    def cell(self, **plan: Any) -> Cell:
        """Return the row of twelve steps, as a sweep of that plan measures it."""
        request = ImageRequest(
            prompt="a cat",
            model=self._backend.model,
            sampler="native",
            steps=STEPS,
            guidance_scale=1.0,
            width=32,
            height=32,
        )
        header = make_header(cells=[request])
        header = header.model_copy(update={"plan": header.plan.model_copy(update=plan)})
        effort = Effort(warmups=1, repeats=3, measured_steps=header.plan.measured_steps)
        found = measure(
            request,
            self._backend.generate,
            effort,
            clock=lambda: self.now_s,
            on_repeat=lambda done: None,
        )
        watched = Watched(header, 0, header.created_utc, MachineState(), (), (), None)
        return measured_cell(
            request, watched, found, loaded=None, attention="any", first_of_shape=True
        )


@pytest.mark.parametrize(
    ("scheduler", "taken"),
    [(PNDM, STEPS + 1), (HEUN, 2 * STEPS - 1), (DDIM, STEPS)],
    ids=["PNDM", "Heun", "DDIM"],
)
def test_a_cut_cell_has_the_total_of_a_whole_one_whatever_its_scheduler_takes(
    scheduler: SchedulerMixin | None,
    taken: int,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = Model(tmp_path, scheduler, monkeypatch)
    whole, cut = model.cell(), model.cell(measured_steps=4)
    assert {len(sample.step_s) for sample in whole.samples} == {taken}
    assert (whole.num_steps, cut.num_steps) == (taken, taken)
    assert whole.extrapolation is None
    assert cut.extrapolation is not None
    assert f"4 of {taken} steps are timed" in cut.extrapolation.rule
    assert median_s(whole) == pytest.approx(taken, rel=0.01)
    assert median_s(cut) == pytest.approx(median_s(whole), rel=0.01)
    told = summarise(cut)
    assert told is not None
    assert told.stages.denoising_s == pytest.approx(taken, rel=0.01)
    assert told.interval_s is not None
    assert told.interval_s.low < taken < told.interval_s.high
    for cell in (whole, cut):
        findings = examine_report(make_report(cell))
        assert not [found.detail for found in findings if found.level == "problem"]


def native(taken: int, told: int | None) -> str:
    """Return what is said of a cell of 20 steps, `taken` in its samples and `told` of a call."""
    cell = make_cell(steps=20, sampler="native", wall_s=(1.0, 1.1))
    samples = [sample.model_copy(update={"step_s": (0.05,) * taken}) for sample in cell.samples]
    changed = cell.model_copy(update={"samples": tuple(samples), "num_steps": told})
    return step_counts(changed, make_header())


def test_steps_that_are_told_of_and_not_there_are_found_and_so_are_too_few_of_a_call() -> None:
    assert native(39, 39) == native(20, 20) == ""
    assert native(20, 39) == "20 steps in a sample, not 39"
    assert native(10, 10) == "10 steps in a whole call, 20 asked for"
    assert native(10, None) == "10 steps in a sample, not 20"
    assert native(21, None) == "", "a report from before it was told may be of PNDM"
