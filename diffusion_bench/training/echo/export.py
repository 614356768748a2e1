"""From trained networks, or a run's checkpoint, to the folder that is bundled."""

from __future__ import annotations

from pathlib import Path

import torch

from diffusion_bench.backends.echo.pipeline import EchoPipeline
from diffusion_bench.backends.echo.vocoder import MelVocoder
from diffusion_bench.training.echo.train_acoustic import Acoustic, noise_schedule
from diffusion_bench.training.loop import restore


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
