"""What the bundled image models have in common: noise schedule, losses, how a pipeline is saved."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import DDIMScheduler, StableDiffusionPipeline
from torch import Tensor


def new_scheduler() -> DDIMScheduler:
    """Return the noise schedule the model is trained with, 1000 steps."""
    return DDIMScheduler(
        num_train_timesteps=1000,
        beta_schedule="squaredcos_cap_v2",
        prediction_type="v_prediction",
        timestep_spacing="trailing",
        clip_sample=False,
        set_alpha_to_one=True,
        steps_offset=0,
    )


def reconstruction_loss(output: Tensor, target: Tensor) -> Tensor:
    """Return L1 + MSE + L1 of the finite differences, which keeps edges sharp."""
    loss = (output - target).abs().mean() + (output - target).square().mean()
    for axis in (2, 3):
        loss = loss + (output.diff(dim=axis) - target.diff(dim=axis)).abs().mean()
    return loss


def unit_variance_penalty(latents: Tensor) -> Tensor:
    """Return how far the latents' channels are from zero mean and unit deviation."""
    mean = latents.mean(dim=(0, 2, 3))
    deviation = latents.std(dim=(0, 2, 3))
    return (mean.square() + deviation.clamp_min(1e-4).log().square()).mean()


def save_in_half(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Save the pipeline in fp16 safetensors that a stock `from_pretrained` loads in fp32."""
    pipeline.to(torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    # transformers loads in the precision its configuration names, diffusers in fp32: a stock
    # `from_pretrained(folder)` would mix the two.
    _change(folder / "text_encoder" / "config.json", dtype="float32")
    # diffusers notes where the trainer happened to keep the network.
    _change(folder / "vae" / "config.json", _name_or_path=None)
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)


def _change(path: Path, **changes: str | None) -> None:
    """Set settings of a JSON file, or with None leave them out."""
    settings = json.loads(path.read_text(encoding="utf-8")) | changes
    kept = {name: value for name, value in settings.items() if changes.get(name, "") is not None}
    path.write_text(json.dumps(kept, indent=2) + "\n", encoding="utf-8")
