"""From trained networks, or a run's checkpoint, to the folder that is bundled."""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers.training_utils import EMAModel
from torch import nn

from diffusion_bench.backends.echo.pipeline import EchoPipeline
from diffusion_bench.backends.echo.vocoder import MelVocoder
from diffusion_bench.training.echo.train_acoustic import Acoustic, noise_schedule


def restore(network: nn.Module, folder: Path) -> int:
    """Put the moving average of a run's last checkpoint into a network; return its step."""
    held = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    network.load_state_dict(held["network"])
    ema = EMAModel(network.parameters())
    ema.load_state_dict(held["ema"])
    ema.copy_to(network.parameters())
    network.eval()
    return int(held["step"])


def restored_acoustic(folder: Path) -> Acoustic:
    """Return the acoustic networks of a run's last checkpoint."""
    held = torch.load(folder / "checkpoint.pt", map_location="cpu", weights_only=True)
    weights = held["network"]
    networks = Acoustic(len(weights["who.weight"]), len(weights["facts.weight"]))
    restore(networks, folder)
    return networks


def assemble(acoustic: Acoustic, vocoder: MelVocoder) -> EchoPipeline:
    """Return the pipeline of trained networks."""
    return EchoPipeline(
        speaker_encoder=acoustic.speaker.eval(),
        prior=acoustic.prior.eval(),
        unet=acoustic.unet.eval(),
        vocoder=vocoder.eval(),
        scheduler=noise_schedule(),
    )


def export(pipeline: EchoPipeline, folder: Path) -> None:
    """Write the folder, weights as 16-bit safetensors."""
    pipeline.to(dtype=torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    pipeline.to(dtype=torch.float32)
