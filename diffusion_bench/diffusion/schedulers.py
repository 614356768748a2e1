"""Schedulers from diffusers, built from a model's own noise schedule.

ddpm    ancestral sampling, Ho et al. (2020), algorithm 2, variance `fixed_small`
ddim    Song et al. (2021), eq. 12; eta 0 is deterministic, eta 1 has DDPM's variance (eq. 16)
dpm++   Lu et al. (2022), "DPM-Solver++", second order multistep; deterministic
unipc   Zhao et al. (2023), a predictor and corrector; deterministic
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    UniPCMultistepScheduler,
)

SCHEDULERS: dict[str, Any] = {
    "ddim": DDIMScheduler,
    "ddpm": DDPMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "unipc": UniPCMultistepScheduler,
}

# x0 of a latent model is not bounded by 1, so clipping or thresholding it would destroy pictures.
LATENT_SETTINGS = {"clip_sample": False, "thresholding": False}


def build_scheduler(sampler: str, config: Mapping[str, Any], steps: int = 0) -> Any:
    """Return the scheduler of that name on the noise schedule of `config`, for so many steps.

    `config` is the configuration of the scheduler the model came with: betas, prediction type and
    timestep spacing are kept. Raises ValueError for an unknown sampler, and for a model trained by
    flow matching, on which neither sampler is defined.
    """
    if sampler not in SCHEDULERS:
        raise ValueError(f"unknown sampler {sampler!r}; known: {', '.join(SCHEDULERS)}")
    if "beta_schedule" not in config:
        raise ValueError(
            f"this model's scheduler ({config.get('_class_name', 'unnamed')}) has no noise "
            "schedule in betas (flow matching), so ddpm and ddim are not defined for it"
        )
    settings: dict[str, Any] = dict(LATENT_SETTINGS)
    if sampler == "ddpm":
        settings["variance_type"] = "fixed_small"
    if steps >= config.get("num_train_timesteps", 1000):
        # Every timestep is taken. Stable Diffusion's shift by one would begin past the last.
        settings["steps_offset"] = 0
    return SCHEDULERS[sampler].from_config(dict(config), **settings)
