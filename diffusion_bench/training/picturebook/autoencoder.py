"""The autoencoder of the bundled model: 16 times smaller, 32 latent channels of unit variance.

Sixteen times and not eight: a picture of 128 pixels is then 8 x 8 latents, so the denoiser costs
what one of 64 pixels and eight times does, and an object of a pair is as many latents wide.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.training.crew import crew
from diffusion_bench.training.loop import Schedule, train
from diffusion_bench.training.picturebook.scenes import (
    Scene,
    draw_scene,
    random_collage,
    random_scene,
)
from diffusion_bench.training.stable_diffusion import (
    reconstruction_loss,
    unit_variance_penalty,
)

LATENT_CHANNELS = 32
TRAINED_AUTOENCODER = MODELS_FOLDER / "picturebook" / "vae"
CHANNELS = (12, 48, 64, 96, 128)
AUTOENCODER = Schedule(
    steps=7000, batch=8, peak_lr=2e-3, ema_decay=0.999, decay_steps=2200, muon=True
)
DECODER = Schedule(steps=5000, batch=8, peak_lr=3e-4, ema_decay=0.998)
LATENT_NOISE = 0.08
COLLAGES = 0.6  # of the pictures
NO_VARIANCE = -16.0  # log variance of the encoder's distribution: none to speak of


def new_autoencoder() -> AutoencoderKL:
    """Return an untrained autoencoder, 3.5 M parameters."""
    return AutoencoderKL(
        block_out_channels=CHANNELS,
        down_block_types=("DownEncoderBlock2D",) * len(CHANNELS),
        up_block_types=("UpDecoderBlock2D",) * len(CHANNELS),
        latent_channels=LATENT_CHANNELS,
        layers_per_block=1,
        norm_num_groups=4,  # of three channels at the top: groups of one would lose the colour
        mid_block_add_attention=False,
        use_quant_conv=False,
        use_post_quant_conv=False,
        sample_size=128,
        scaling_factor=1.0,
    )


def random_pictures(
    step: int, batch: int, side: int, *, stream: int, collages: float = 0.0
) -> Tensor:
    """Return (batch, 3, side, side) float32 pictures in [-1, 1], the same for the same step."""
    chance = random.Random(f"{stream}/{step}")
    return pictures_of([_random_picture(chance, collages) for _ in range(batch)], side)


def pictures_of(scenes: Sequence[Scene], side: int) -> Tensor:
    """Return scenes drawn, (scenes, 3, side, side) float32 in [-1, 1]."""
    drawn = np.stack([draw_scene(scene, side) for scene in scenes])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


def _random_picture(chance: random.Random, collages: float) -> Scene:
    return random_collage(chance) if chance.random() < collages else random_scene(chance)


def encode(vae: AutoencoderKL, pictures: Tensor) -> Tensor:
    """Return the latents' means, (batch, 32, height / 16, width / 16)."""
    latents: Tensor = vae.encoder(pictures)[:, :LATENT_CHANNELS]
    return latents.float()


class _Through(nn.Module):
    """Encoder, noise, decoder as one module, so that one compilation covers them."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, pictures: Tensor, noise: Tensor) -> tuple[Tensor, Tensor]:
        latents = encode(self.vae, pictures)
        return self.vae.decoder(latents + noise), latents


def train_autoencoder(
    vae: AutoencoderKL, *, side: int, folder: Path, device: str, compiled: bool = False
) -> None:
    """Train encoder and decoder together, then make the latents unit normal per channel."""
    through = _Through(vae)
    run = torch.compile(through) if compiled else through

    def loss_of_step(number: int, generator: torch.Generator) -> Tensor:
        share = crew().share(AUTOENCODER.batch)
        pictures = random_pictures(number, share, side, stream=1, collages=COLLAGES).to(device)
        shape = (len(pictures), LATENT_CHANNELS, side // 16, side // 16)
        noise = LATENT_NOISE * torch.randn(shape, generator=generator).to(device)
        decoded, latents = run(pictures, noise)
        loss = reconstruction_loss(decoded.float(), pictures)
        return loss + 0.02 * unit_variance_penalty(latents)

    train(vae, loss_of_step, AUTOENCODER, folder=folder, device=device)
    normalise_latents(vae, side=side, device=device)


@torch.inference_mode()
def normalise_latents(vae: AutoencoderKL, *, side: int, device: str) -> None:
    """Fold each latent channel's mean and deviation into the convolutions on both its sides.

    Afterwards stock pipelines need no scaling factor. The encoder's variance, which training does
    not use, becomes none.
    """
    pictures = random_pictures(0, 256, side, stream=2).to(device)
    latents = torch.cat([encode(vae, part) for part in pictures.split(32)])
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    last, first = vae.encoder.conv_out, vae.decoder.conv_in
    last.weight[:LATENT_CHANNELS].div_(deviation[:, None, None, None])
    last.bias[:LATENT_CHANNELS].sub_(mean).div_(deviation)
    last.weight[LATENT_CHANNELS:].zero_()
    last.bias[LATENT_CHANNELS:].fill_(NO_VARIANCE)
    # Exact but at the picture's edge, where the convolution pads with zeros that were no mean.
    first.bias.add_((first.weight * mean[None, :, None, None]).sum(dim=(1, 2, 3)))
    first.weight.mul_(deviation[None, :, None, None])


def train_decoder(vae: AutoencoderKL, *, side: int, folder: Path, device: str) -> None:
    """Train the decoder alone, on latents with noise like that a denoiser leaves."""
    vae.encoder.requires_grad_(False)

    def loss_of_step(number: int, generator: torch.Generator) -> Tensor:
        share = crew().share(DECODER.batch)
        pictures = random_pictures(number, share, side, stream=3, collages=COLLAGES).to(device)
        with torch.no_grad():
            latents = encode(vae, pictures)
        strength = 0.2 * torch.rand(len(latents), 1, 1, 1, generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        decoded = vae.decoder(latents + (strength * noise).to(device)).float()
        return reconstruction_loss(decoded, pictures)

    train(vae.decoder, loss_of_step, DECODER, folder=folder, device=device)
    vae.encoder.requires_grad_(True)


@torch.inference_mode()
def psnr_db(vae: AutoencoderKL, *, side: int, device: str, pictures: int = 256) -> float:
    """Return the peak signal-to-noise ratio of unseen reconstructions, in dB."""
    target = random_pictures(0, pictures, side, stream=4).to(device)
    output = torch.cat([vae.decoder(encode(vae, part)).clamp(-1, 1) for part in target.split(32)])
    return float(10 * torch.log10(4 / F.mse_loss(output, target)))
