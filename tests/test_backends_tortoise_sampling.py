"""Denoising against the papers' formulas, in float64: what the original computes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from diffusion_bench.backends.tortoise.sampling import (
    LOUDEST,
    QUIETEST,
    build_tortoise_scheduler,
    guidance_weight,
    mel_from_unit,
    sample_mel,
)

Array = NDArray[np.float64]
SHAPE = (1, 100, 12)
RANGE = LOUDEST - QUIETEST
# Of logarithms. Seen: 1.0e-4 to 1.9e-4 and 0.4e-5 to 1.6e-5, of diffusers' single precision.
DDPM_TOLERANCE, DDIM_TOLERANCE = 2.5e-4, 2.5e-5


def network(x: Array, timestep: float, known: bool) -> tuple[Array, Array]:
    """Return noise and variance of a made-up network, smooth in `x` and in time."""
    at = timestep / 4000
    target = np.cos(np.arange(x.shape[1]) / 9)[None, :, None] * (0.6 if known else 0.9)
    noise = (0.4 + 0.6 * at) * x - (1.1 - at) * target
    variance = np.tanh(x + at) if known else np.full_like(x, 9.0)
    return noise, variance


def predict(x: torch.Tensor, timestep: torch.Tensor, known: bool) -> torch.Tensor:
    parts = network(x.double().numpy(), float(timestep[0]), known)
    return torch.from_numpy(np.concatenate(parts, axis=1)).float()


def alphas_bar(timesteps: list[int]) -> tuple[Array, Array]:
    """Return the products of alpha at the spaced timesteps, and at the one before each."""
    bar = np.cumprod(1 - np.linspace(2.5e-5, 5e-3, 4000))[timesteps]
    return bar, np.concatenate([[1.0], bar[:-1]])


def guided(x: Array, timestep: int, index: int, steps: int, k: float) -> tuple[Array, Array]:
    """Return noise `(1 + w) conditioned - w free`; `index` counts down to 0."""
    noise, variance = network(x, timestep, True)
    w = k * (1 - index / steps)
    return (1 + w) * noise - w * network(x, timestep, False)[0] if k else noise, variance


def clipped_start(x: Array, noise: Array, bar: float) -> Array:
    return np.clip((x - np.sqrt(1 - bar) * noise) / np.sqrt(bar), -1, 1)


def draws(seed: int) -> Callable[[], Array]:
    generator = torch.Generator().manual_seed(seed)
    return lambda: torch.randn(SHAPE, generator=generator).double().numpy()


def ddpm(x: Array, steps: int, k: float, draw: Callable[[], Array]) -> Array:
    """Nichol & Dhariwal (2021): eq. 10 to 12 over spaced steps, eq. 15 for the variance."""
    timesteps = [round(index * 3999 / (steps - 1)) for index in range(steps)]
    bar, before = alphas_bar(timesteps)
    beta = 1 - bar / before
    for index in reversed(range(steps)):
        noise, v = guided(x, timesteps[index], index, steps, k)
        start = clipped_start(x, noise, bar[index])
        mean = np.sqrt(before[index]) * beta[index] / (1 - bar[index]) * start
        mean += np.sqrt(1 - beta[index]) * (1 - before[index]) / (1 - bar[index]) * x
        if not index:
            return mean
        tilde = (1 - before[index]) / (1 - bar[index]) * beta[index]
        share = (v + 1) / 2
        log_variance = share * np.log(beta[index]) + (1 - share) * np.log(tilde)
        x = mean + np.exp(log_variance / 2) * draw()
    raise AssertionError("no steps")


def ddim(x: Array, steps: int, k: float, draw: Callable[[], Array], eta: float = 0.0) -> Array:
    """Song et al. (2021), eq. 12 and 16; the noise follows from the clipped start."""
    timesteps = [index * (4000 // steps) for index in range(steps)]
    bar, before = alphas_bar(timesteps)
    for index in reversed(range(steps)):
        noise, _ = guided(x, timesteps[index], index, steps, k)
        start = clipped_start(x, noise, bar[index])
        noise = (x - np.sqrt(bar[index]) * start) / np.sqrt(1 - bar[index])
        sigma = eta * np.sqrt((1 - before[index]) / (1 - bar[index]))
        sigma *= np.sqrt(1 - bar[index] / before[index])
        x = np.sqrt(before[index]) * start
        x += np.sqrt(1 - before[index] - sigma**2) * noise
        x += sigma * draw() if eta else 0
    return x


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("steps", [30, 80, 200])
def test_ddpm_is_the_papers_with_interpolated_variance(steps: int, scale: float) -> None:
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
    ours = sample_mel(
        predict,
        noise,
        build_tortoise_scheduler("ddpm", steps),
        guidance_scale=scale,
        generator=torch.Generator().manual_seed(5),
    )
    theirs = ddpm(noise.double().numpy(), steps, scale - 1, draws(5))
    assert np.ptp(theirs) > 1  # there is something to compare
    assert np.abs(ours.numpy() - theirs).max() * RANGE / 2 < DDPM_TOLERANCE


@pytest.mark.parametrize("scale", [1.0, 3.0])
@pytest.mark.parametrize("steps", [30, 80, 200])
def test_ddim_is_the_papers_with_the_noise_of_the_clipped_start(steps: int, scale: float) -> None:
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
    scheduler = build_tortoise_scheduler("ddim", steps)
    ours = sample_mel(predict, noise, scheduler, guidance_scale=scale)
    theirs = ddim(noise.double().numpy(), steps, scale - 1, draws(5))
    assert np.ptp(theirs) > 1
    assert np.abs(ours.numpy() - theirs).max() * RANGE / 2 < DDIM_TOLERANCE


def test_ddim_with_eta_adds_the_papers_noise() -> None:
    noise = torch.randn(SHAPE, generator=torch.Generator().manual_seed(9))
    ours = sample_mel(
        predict,
        noise,
        build_tortoise_scheduler("ddim", 40),
        eta=0.7,
        generator=torch.Generator().manual_seed(5),
    )
    theirs = ddim(noise.double().numpy(), 40, 0, draws(5), eta=0.7)
    assert np.abs(ours.numpy() - theirs).max() * RANGE / 2 < DDPM_TOLERANCE


def test_guidance_grows_to_its_full_weight_at_the_last_step() -> None:
    weights = [guidance_weight(3.0, index, 4) for index in range(4)]
    assert weights == [0.5, 1.0, 1.5, 2.0]
    assert [guidance_weight(scale, 3, 4) for scale in (1.0, 0.5, 0.0)] == [0, 0, 0]


def test_without_guidance_the_network_runs_once_a_step() -> None:
    calls = []

    def counted(x: torch.Tensor, timestep: torch.Tensor, known: bool) -> torch.Tensor:
        calls.append((int(timestep[0]), known))
        return predict(x, timestep, known)

    scheduler = build_tortoise_scheduler("ddpm", 3)
    sample_mel(counted, torch.zeros(SHAPE), scheduler)
    assert calls == [(3999, True), (2000, True), (0, True)]
    calls.clear()
    sample_mel(counted, torch.zeros(SHAPE), scheduler, guidance_scale=2.0)
    assert [known for _, known in calls] == [True, False] * 3


def test_each_step_is_told_and_may_stop_the_sampling() -> None:
    told = []

    def stop_at_two(index: int) -> None:
        told.append(index)
        if index == 2:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        sample_mel(
            predict,
            torch.zeros(SHAPE),
            build_tortoise_scheduler("ddim", 9),
            on_step=stop_at_two,
        )
    assert told == [0, 1, 2]


def test_a_mel_is_spread_over_the_range_of_logarithms() -> None:
    ends = mel_from_unit(torch.tensor([-1.0, 0.0, 1.0]))
    assert ends.tolist() == pytest.approx([-11.5129, (2.3143 - 11.5129) / 2, 2.3143], abs=1e-3)


@pytest.mark.parametrize(("sampler", "steps"), [("euler", 10), ("ddpm", 0), ("ddim", 4001)])
def test_what_it_is_not_sampled_by_is_one_line(sampler: str, steps: int) -> None:
    with pytest.raises(ValueError, match="Tortoise") as caught:
        build_tortoise_scheduler(sampler, steps)  # type: ignore[arg-type]
    assert "\n" not in str(caught.value)
