"""Usual steps and guidance of a distilled model that no row of the catalog names, by its files."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FEW_STEPS = 4


def settings_of_distilled(
    pipeline: str, denoiser: Mapping[str, Any], schedule: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the usual `steps` and `guidance_scale` of a model distilled to need less of them.

    By the settings in its files; none of a model that does not look so. The numbers are those of
    diffusers' pipelines and of the model cards of LCM Dreamshaper, SDXL-Turbo and FLUX.1.
    """
    if schedule.get("_class_name") == "LCMScheduler":
        # Its own U-Net is told the guidance; one that a LoRA has made so is asked once a step.
        return _usual(8.5 if denoiser.get("time_cond_proj_dim") else 1.0)
    if pipeline.startswith("Flux") and denoiser:
        return _usual(3.5, steps=28) if denoiser.get("guidance_embeds") else _usual(0.0)
    turbo = {"timestep_spacing": "trailing", "prediction_type": "epsilon"}
    if "Euler" in str(schedule.get("_class_name")) and turbo.items() <= schedule.items():
        return _usual(0.0)
    return {}


def _usual(guidance_scale: float, steps: int = FEW_STEPS) -> dict[str, Any]:
    return {
        "steps": steps,
        "guidance_scale": guidance_scale,
        "figures": "usual for what its files look distilled to; see the model's own card",
    }
