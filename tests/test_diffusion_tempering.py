"""A sampler's noise at a temperature: the same numbers, scaled, for DDPM and DDIM alike."""

from __future__ import annotations

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from diffusion_bench.diffusion.schedulers import build_scheduler
from diffusion_bench.diffusion.tempering import draw_noise, tempered_step

SCHEDULE = {
    "beta_schedule": "squaredcos_cap_v2",
    "prediction_type": "v_prediction",
    "timestep_spacing": "trailing",
    "num_train_timesteps": 1000,
}
STEPS = 10


def generators(count: int = 2, seed: int = 5) -> list[torch.Generator]:
    return [torch.Generator().manual_seed(seed + index) for index in range(count)]


def sample_with(sampler: str, temperature: float, *, eta: float = 0.0, count: int = 2):
    """Return what a sampler makes of a network that always predicts v = 0."""
    scheduler = build_scheduler(sampler, SCHEDULE, STEPS)
    scheduler.set_timesteps(STEPS)
    own = generators(count)
    sample = draw_noise((3, 16), own) * temperature
    for timestep in scheduler.timesteps:
        sample = tempered_step(
            scheduler,
            torch.zeros_like(sample),
            timestep,
            sample,
            generators=own,
            temperature=temperature,
            eta=eta,
        )
    return sample


@pytest.mark.parametrize(("sampler", "eta"), [("ddim", 0.0), ("ddim", 1.0), ("ddpm", 0.0)])
def test_all_noise_is_scaled_by_the_temperature(sampler, eta):
    """v = 0 makes a step linear in sample and noise, so half of all noise is half of the result."""
    whole = sample_with(sampler, 1.0, eta=eta)
    half = sample_with(sampler, 0.5, eta=eta)
    assert torch.allclose(half, whole / 2, atol=1e-5)


def test_without_temperature_ddpm_is_the_library_s_own():
    scheduler = build_scheduler("ddpm", SCHEDULE, STEPS)
    scheduler.set_timesteps(STEPS)
    sample = torch.randn((2, 3, 16), generator=torch.Generator().manual_seed(0))
    velocity = torch.full_like(sample, 0.3)
    timestep = scheduler.timesteps[4]
    ours = tempered_step(
        scheduler, velocity, timestep, sample, generators=generators(), temperature=1.0
    )
    theirs = scheduler.step(velocity, timestep, sample, generator=generators()).prev_sample
    assert torch.equal(ours, theirs)


def test_ddpm_and_ddim_with_eta_1_take_the_same_steps():
    """Song et al. (2021), eq. 16: eta 1 has the variance of DDPM."""
    ddpm, ddim = sample_with("ddpm", 0.7), sample_with("ddim", 0.7, eta=1.0)
    assert torch.allclose(ddpm, ddim, atol=1e-3)


def test_a_sample_does_not_depend_on_its_neighbours():
    alone = sample_with("ddpm", 0.6, count=1)
    together = sample_with("ddpm", 0.6, count=3)
    assert torch.equal(alone[0], together[0])
    assert not torch.equal(together[0], together[1])


def test_at_temperature_0_nothing_is_random():
    assert torch.equal(sample_with("ddpm", 0.0), torch.zeros(2, 3, 16))


def test_other_schedulers_pass_through():
    scheduler = DPMSolverMultistepScheduler(prediction_type="v_prediction")
    scheduler.set_timesteps(4)
    sample = torch.ones(1, 3, 16)
    stepped = tempered_step(
        scheduler, torch.zeros(1, 3, 16), scheduler.timesteps[0], sample, generators=generators(1)
    )
    assert stepped.shape == sample.shape
    assert torch.isfinite(stepped).all()


@pytest.mark.parametrize("sampler", ["ddpm", "ddpm-large"])
def test_the_last_step_adds_no_noise_so_nothing_is_taken_off(sampler):
    scheduler = build_scheduler(sampler, SCHEDULE | {"timestep_spacing": "leading"}, STEPS)
    scheduler.set_timesteps(STEPS)
    sample = torch.randn((2, 3, 16), generator=torch.Generator().manual_seed(0))
    last, still = torch.tensor(0), torch.zeros_like(sample)
    ours = tempered_step(scheduler, still, last, sample, generators=generators(), temperature=0.5)
    assert torch.equal(ours, scheduler.step(still, last, sample).prev_sample)
