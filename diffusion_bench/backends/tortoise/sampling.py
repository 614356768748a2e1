"""From noise to a mel spectrogram by diffusers' DDPM or DDIM, as the original samples.

ddpm    Ho et al. (2020), the variance interpolated as in Nichol & Dhariwal (2021), eq. 15
ddim    Song et al. (2021), eq. 12, the noise derived anew from the clipped prediction
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import torch
from diffusers import DDIMScheduler, DDPMScheduler
from torch import Tensor

Sampler = Literal["ddpm", "ddim"]
# Noise and variance of (batch, mel, frames) at a (batch,) timestep; the flag: with the condition.
Predict = Callable[[Tensor, Tensor, bool], Tensor]

TRAINED_STEPS = 4000
# Ho et al.'s 1e-4 to 0.02 over 1000 steps, stretched over four times as many.
SCHEDULE = {
    "num_train_timesteps": TRAINED_STEPS,
    "beta_schedule": "linear",
    "beta_start": 2.5e-5,
    "beta_end": 5e-3,
    "prediction_type": "epsilon",
    "clip_sample": True,
}
# Natural logarithms of magnitudes; the decoder's -1 to 1.
QUIETEST = -11.512925148010254
LOUDEST = 2.3143386840820312


def mel_from_unit(mel: Tensor) -> Tensor:
    """Return log-mel magnitudes of the decoder's -1 to 1."""
    return QUIETEST + (mel + 1) / 2 * (LOUDEST - QUIETEST)


def build_tortoise_scheduler(sampler: Sampler, steps: int) -> DDPMScheduler | DDIMScheduler:
    """Return the scheduler, its timesteps set.

    DDPM's timesteps are spread over all 4000, both ends taken. DDIM's start at 0 at equal
    distances, because diffusers takes the step before `t` to be `t - 4000 // steps`.
    """
    if not 1 <= steps <= TRAINED_STEPS:
        raise ValueError(f"Tortoise takes 1 to {TRAINED_STEPS} denoising steps, not {steps}")
    scheduler: DDPMScheduler | DDIMScheduler
    if sampler == "ddpm":
        scheduler = DDPMScheduler(
            **SCHEDULE, variance_type="learned_range", timestep_spacing="linspace"
        )
    elif sampler == "ddim":
        scheduler = DDIMScheduler(**SCHEDULE, timestep_spacing="leading", set_alpha_to_one=True)
    else:
        raise ValueError(f"Tortoise is sampled by ddpm or ddim, not {sampler!r}")
    scheduler.set_timesteps(steps)
    return scheduler


def guidance_weight(scale: float, index: int, steps: int) -> float:
    """Return how far step `index` of `steps` goes past the conditioned noise.

    It grows from next to nothing in full noise towards `scale - 1` at the end: noise first needs
    a shape, which guidance would only distort. 0 where `scale` is at most 1.
    """
    counted_down = steps - 1 - index
    return max(0.0, scale - 1) * (1 - counted_down / steps)


@torch.inference_mode()
def sample_mel(
    predict: Predict,
    noise: Tensor,
    scheduler: DDPMScheduler | DDIMScheduler,
    *,
    guidance_scale: float = 1.0,
    eta: float = 0.0,
    generator: torch.Generator | None = None,
    on_step: Callable[[int], None] = lambda index: None,
) -> Tensor:
    """Return the (batch, mel, frames) fp32 mel, in -1 to 1, that `noise` is denoised to.

    `predict` is called twice a step where there is guidance. `eta` belongs to DDIM. `generator`
    draws DDPM's noise. `on_step` is called after each step with its index, and may raise.
    """
    channels = noise.shape[1]
    timesteps = scheduler.timesteps.tolist()
    x = noise.float()
    for index, timestep in enumerate(timesteps):
        at = torch.full((x.shape[0],), timestep, device=x.device)
        output = predict(x, at, True).float()
        weight = guidance_weight(guidance_scale, index, len(timesteps))
        if weight:
            free = predict(x, at, False).float()[:, :channels]
            # The variance stays that of the conditioned pass.
            guided = (1 + weight) * output[:, :channels] - weight * free
            output = torch.cat([guided, output[:, channels:]], dim=1)
        if isinstance(scheduler, DDIMScheduler):
            x = scheduler.step(
                output[:, :channels],
                timestep,
                x,
                eta=eta,
                use_clipped_model_output=True,
                generator=generator,
            ).prev_sample
        else:
            x = scheduler.step(output, timestep, x, generator=generator).prev_sample
        on_step(index)
    return x
