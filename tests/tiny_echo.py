"""A tiny Echo of random weights, saved and loaded by the real code."""

from __future__ import annotations

from pathlib import Path

import torch

from diffusion_bench.backends.echo.pipeline import EchoPipeline
from diffusion_bench.backends.echo.prior import Prior
from diffusion_bench.backends.echo.speaker import SpeakerEncoder
from diffusion_bench.backends.echo.unet import MelUNet
from diffusion_bench.backends.echo.vocoder import MelVocoder
from diffusion_bench.training.echo.train_acoustic import noise_schedule

WIDTH, VOICE = 16, 16


def stirred(network: torch.nn.Module, seed: int = 0) -> torch.nn.Module:
    """Give layers that begin at zero something to say, so that nothing is trivially equal."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.05 * torch.randn(parameter.shape, generator=generator))
    return network.eval()


def tiny_prior() -> Prior:
    torch.manual_seed(0)
    return stirred(
        Prior(hidden_channels=WIDTH, voice_channels=VOICE, num_phone_blocks=2, num_frame_blocks=2)
    )


def tiny_unet() -> MelUNet:
    torch.manual_seed(1)
    return stirred(MelUNet(prior_channels=WIDTH, voice_channels=VOICE, block_channels=(16, 24, 32)))


def tiny_pipeline() -> EchoPipeline:
    torch.manual_seed(2)
    return EchoPipeline(
        speaker_encoder=stirred(SpeakerEncoder(hidden_channels=WIDTH, voice_channels=VOICE)),
        prior=tiny_prior(),
        unet=tiny_unet(),
        vocoder=stirred(MelVocoder(hidden_channels=WIDTH, num_blocks=1)),
        scheduler=noise_schedule(),
    )


def save_tiny_echo(folder: Path) -> Path:
    """Write a tiny model's folder and return it."""
    tiny_pipeline().save_pretrained(folder, safe_serialization=True)
    return folder
