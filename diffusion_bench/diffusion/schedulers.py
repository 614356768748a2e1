"""Schedulers from diffusers, built from a model's own noise schedule.

ddpm    ancestral sampling, Ho et al. (2020), algorithm 2, variance `fixed_small`
ddpm-large  the same with `fixed_large`, beta_t: sigma-hat of Song et al. (2021), section 5.1
ddim    Song et al. (2021), eq. 12; eta 0 is deterministic, eta 1 has DDPM's variance (eq. 16)
dpm++   Lu et al. (2022), "DPM-Solver++", second order multistep (2M); deterministic
euler   Karras et al. (2022), algorithm 1 without its correction and noise; deterministic
unipc   Zhao et al. (2023), a predictor and corrector; deterministic
lcm     Luo et al. (2023), algorithm 3: predicts x0 and adds noise again, each step
native  the scheduler that the model came with

Models trained by flow matching (Lipman et al. 2023) have no betas: ddpm, ddim and lcm are not
defined on them; dpm++, euler and unipc step through their own sigmas.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import diffusers
import torch
from diffusers import (
    DDIMScheduler,
    DDPMScheduler,
    DPMSolverMultistepScheduler,
    EulerDiscreteScheduler,
    FlowMatchEulerDiscreteScheduler,
    LCMScheduler,
    UniPCMultistepScheduler,
)

SCHEDULERS: dict[str, Any] = {
    "ddim": DDIMScheduler,
    "ddpm": DDPMScheduler,
    "ddpm-large": DDPMScheduler,
    "dpm++": DPMSolverMultistepScheduler,
    "euler": EulerDiscreteScheduler,
    "unipc": UniPCMultistepScheduler,
    "lcm": LCMScheduler,
}
DDPM_VARIANCES = {"ddpm": "fixed_small", "ddpm-large": "fixed_large"}
NATIVE = "native"
TRAINED_STEPS = 1000  # where a configuration does not say, as diffusers has it
LCM_STEPS = 50  # of the schedule that latent consistency models are distilled on

# x0 of a latent model is not bounded by 1, so clipping or thresholding it would destroy pictures.
LATENT_SETTINGS = {"clip_sample": False, "thresholding": False}
# diffusers' own bound where the last SNR is zero: sigma 4096, which fp16 can hold.
LEAST_SIGNAL = 2.0**-24


class FlowSolver(DPMSolverMultistepScheduler):
    """DPM-Solver++ on flow matching, also for pipelines that always say by how much to shift."""

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        mu: float | None = None,
        timesteps: list[int] | None = None,
        sigmas: list[float] | None = None,
    ) -> None:
        """Set the timesteps; `mu` counts where the model shifts by the size of the picture.

        Of `sigmas` only the number counts: the solver lays out its own.
        """
        own = mu if self.config.use_dynamic_shifting else None
        steps = len(sigmas) if num_inference_steps is None and sigmas is not None else None
        super().set_timesteps(steps or num_inference_steps, device, own, timesteps)


FLOW_SCHEDULERS: dict[str, Any] = {
    "dpm++": FlowSolver,
    "euler": FlowMatchEulerDiscreteScheduler,
    "unipc": UniPCMultistepScheduler,
}


def is_flow(config: Mapping[str, Any]) -> bool:
    """Return whether a scheduler's configuration is of a model trained by flow matching."""
    return (
        str(config.get("_class_name", "")).startswith("FlowMatch")
        or bool(config.get("use_flow_sigmas"))
        or config.get("prediction_type") == "flow_prediction"
    )


def why_not(sampler: str, config: Mapping[str, Any], steps: int = 0) -> str | None:
    """Return in one line why a sampler is not defined for a model, or for so many steps.

    `None` where it is.
    """
    if sampler == NATIVE:
        return None
    if sampler not in SCHEDULERS:
        return f"unknown sampler {sampler!r}; known: {', '.join((*SCHEDULERS, NATIVE))}"
    name = config.get("_class_name", "unnamed")
    if is_flow(config):
        if sampler in FLOW_SCHEDULERS:
            return None
        return (
            f"this model's scheduler ({name}) has no noise schedule in betas (flow matching), so "
            f"{sampler} is not defined for it; take native, {', '.join(FLOW_SCHEDULERS)}"
        )
    if "beta_schedule" not in config:
        return (
            f"this model's scheduler ({name}) has no noise schedule in betas, so {sampler} is not "
            "defined for it; take native"
        )
    return _too_many(sampler, config, steps)


def _too_many(sampler: str, config: Mapping[str, Any], steps: int) -> str | None:
    """Return that a sampler does not take so many steps, `None` where it does."""
    if sampler == "lcm" and steps > LCM_STEPS:
        return f"lcm takes at most {LCM_STEPS} steps, not {steps}; 4 to 8 are usual"
    trained = config.get("num_train_timesteps", TRAINED_STEPS)
    if sampler in ("ddim", *DDPM_VARIANCES) and steps > trained:
        return f"{sampler} takes at most the model's {trained} steps, not {steps}"
    return None


def scheduler_class(sampler: str, config: Mapping[str, Any]) -> Any | None:
    """Return the class that a sampler is on a configuration; `None` where that names none."""
    if sampler == NATIVE:
        return getattr(diffusers, str(config.get("_class_name", "")), None)
    return (FLOW_SCHEDULERS if is_flow(config) else SCHEDULERS).get(sampler)


def build_scheduler(sampler: str, config: Mapping[str, Any], steps: int = 0) -> Any:
    """Return the scheduler of that name on the noise schedule of `config`, for so many steps.

    `config` is the configuration of the scheduler the model came with: betas, prediction type and
    timestep spacing are kept. Raises ValueError for an unknown sampler, for one that is not defined
    for the model, and for more steps than it can take.
    """
    reason = why_not(sampler, config, steps)
    if reason:
        raise ValueError(reason)
    if is_flow(config) and sampler != NATIVE:
        return _flow_scheduler(sampler, config)
    native = sampler == NATIVE
    scheduler = _native_scheduler(config, steps) if native else _of_betas(sampler, config, steps)
    if scheduler.config.get("timestep_spacing") == "trailing" and scheduler.order == 1:
        _end_before_zero(scheduler)
    return scheduler


def _of_betas(sampler: str, config: Mapping[str, Any], steps: int) -> Any:
    """Return the scheduler of a sampler on a noise schedule in betas."""
    scheduler = SCHEDULERS[sampler].from_config(
        dict(config), **LATENT_SETTINGS, **_settings(sampler, config, steps)
    )
    if sampler == "euler":
        scheduler.alphas_cumprod.clamp_(min=LEAST_SIGNAL)
    return scheduler


def _native_scheduler(config: Mapping[str, Any], steps: int) -> Any:
    """Return the model's own scheduler, as its pipeline has it."""
    if "_class_name" not in config:
        raise ValueError("this configuration names no scheduler, so none is native to it")
    # What its file did not say may be other than a default: Stable Diffusion's pipeline says of
    # old files that nothing is clipped and that timesteps are shifted by one.
    own = {name: value for name, value in config.items() if name != "_use_default_values"}
    if own.get("steps_offset"):  # not every class knows it
        own |= _unshifted(own, steps)
    return getattr(diffusers, own["_class_name"]).from_config(own)


def _end_before_zero(scheduler: Any) -> None:
    """Let a scheduler leave out the timestep -1 that diffusers adds to 61 trailing ones.

    Or to 103, 121, ...: a stride taken so many times is, in floats, less than the whole. The
    table of noise, read at -1, gives its noisiest entry for the last step.
    """
    lay_out = scheduler.set_timesteps

    @functools.wraps(lay_out)  # pipelines read its signature
    def set_timesteps(*given: Any, **named: Any) -> None:
        lay_out(*given, **named)
        if scheduler.timesteps[-1] >= 0:
            return
        scheduler.timesteps = scheduler.timesteps[:-1]
        scheduler.num_inference_steps = len(scheduler.timesteps)
        if hasattr(scheduler, "sigmas"):  # which have one more, where the last step ends
            scheduler.sigmas = torch.cat([scheduler.sigmas[:-2], scheduler.sigmas[-1:]])

    scheduler.set_timesteps = set_timesteps


def _unshifted(config: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return that timesteps are not shifted where every one is taken, nothing where not."""
    # Stable Diffusion's shift by one would begin past the last.
    every = steps >= config.get("num_train_timesteps", TRAINED_STEPS)
    return {"steps_offset": 0} if every else {}


def _settings(sampler: str, config: Mapping[str, Any], steps: int) -> dict[str, Any]:
    """Return what a scheduler needs to be told apart from the model's own settings."""
    trained = config.get("num_train_timesteps", TRAINED_STEPS)
    settings = _unshifted(config, steps)
    if sampler in DDPM_VARIANCES:
        settings["variance_type"] = DDPM_VARIANCES[sampler]
    if sampler == "dpm++":
        settings["algorithm_type"] = "dpmsolver++"
    if sampler == "lcm":
        settings["original_inference_steps"] = LCM_STEPS
    leading = config.get("timestep_spacing", "leading") == "leading"
    if leading and config.get("rescale_betas_zero_snr"):
        # Lin et al. (2024), section 3.3: the last timestep has no signal and must be the first.
        settings["timestep_spacing"] = "trailing"
    if leading and sampler in ("dpm++", "unipc", "euler") and 2 * steps > trained:
        # Whole strides from 0 would begin far from pure noise, or not move at all.
        settings["timestep_spacing"] = "trailing"
    return settings


def _flow_scheduler(sampler: str, config: Mapping[str, Any]) -> Any:
    shift = config.get("shift", config.get("flow_shift", 1.0))
    own = {name: value for name, value in config.items() if name != "algorithm_type"}
    if sampler == "euler":
        return FlowMatchEulerDiscreteScheduler.from_config(own, shift=shift)
    return FLOW_SCHEDULERS[sampler].from_config(
        own, prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=shift
    )
