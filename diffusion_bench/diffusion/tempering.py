"""Sampling with less noise than a model was trained on: the temperature of a diffusion sampler.

Initial noise and the noise a sampler adds on the way are both scaled by the temperature, much as
Grad-TTS divides its noise by one (Popov et al. 2021, section 3.4). Below 1 samples lie nearer to
the mean: less varied, and clearer where a model is small.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor


def draw_noise(shape: Sequence[int], generators: Sequence[torch.Generator]) -> Tensor:
    """Return (len(generators), *shape) of standard normal numbers, a generator a sample.

    Drawn on the generators' device, so that sample `i` does not depend on how many there are.
    """
    return torch.stack(
        [torch.randn(tuple(shape), generator=g, device=g.device) for g in generators]
    )


def tempered_step(
    scheduler: Any,
    output: Tensor,
    timestep: Tensor,
    sample: Tensor,
    *,
    generators: Sequence[torch.Generator],
    temperature: float = 1.0,
    eta: float = 0.0,
) -> Tensor:
    """Return the sample one step less noisy, by a diffusers scheduler.

    DDIM takes its noise from outside. DDPM draws its own; the same numbers are drawn again from
    generators in the same state, and what is too much of them is taken off.
    """
    if isinstance(scheduler, DDIMScheduler):
        noise = None
        if eta > 0:
            noise = temperature * draw_noise(sample.shape[1:], generators).to(sample.device)
        stepped = scheduler.step(output, timestep, sample, eta=eta, variance_noise=noise)
        return _sample(stepped)
    if not isinstance(scheduler, DDPMScheduler):
        return _sample(scheduler.step(output, timestep, sample))
    twins = [torch.Generator(g.device).set_state(g.get_state()) for g in generators]
    stepped = _sample(scheduler.step(output, timestep, sample, generator=list(generators)))
    if temperature == 1 or int(timestep) == 0:
        return stepped
    noise = draw_noise(sample.shape[1:], twins).to(sample.device)
    deviation = scheduler._get_variance(int(timestep)) ** 0.5
    tempered: Tensor = stepped - (1 - temperature) * deviation * noise
    return tempered


def _sample(stepped: Any) -> Tensor:
    sample: Tensor = stepped.prev_sample
    return sample
