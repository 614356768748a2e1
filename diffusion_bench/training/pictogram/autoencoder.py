"""The autoencoder of the bundled model: 8 times smaller, 12 latent channels of unit variance."""

from __future__ import annotations

import random
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny
from torch import Tensor
from torch.nn import functional as F

from diffusion_bench.training.loop import Schedule, train
from diffusion_bench.training.pictogram.scenes import draw_scene, random_scene
from diffusion_bench.training.stable_diffusion import (
    reconstruction_loss,
    unit_variance_penalty,
)

LATENT_CHANNELS = 12
AUTOENCODER = Schedule(steps=13_000, batch=8, peak_lr=1e-3, ema_decay=0.998)
DECODER = Schedule(steps=2400, batch=8, peak_lr=4e-4, ema_decay=0.998)
LATENT_NOISE = 0.08


def new_autoencoder() -> AutoencoderTiny:
    """Return an untrained autoencoder, about 1 M parameters."""
    return AutoencoderTiny(
        encoder_block_out_channels=(48,) * 4,
        decoder_block_out_channels=(48,) * 4,
        num_encoder_blocks=(1, 1, 1, 1),
        num_decoder_blocks=(3, 3, 3, 1),
        latent_channels=LATENT_CHANNELS,
    )


def random_pictures(step: int, batch: int, side: int, *, stream: int) -> Tensor:
    """Return (batch, 3, side, side) float32 pictures in [-1, 1], the same for the same step."""
    chance = random.Random(f"{stream}/{step}")
    drawn = np.stack([draw_scene(random_scene(chance), side) for _ in range(batch)])
    return torch.from_numpy(drawn).permute(0, 3, 1, 2).float() / 127.5 - 1


def train_autoencoder(vae: AutoencoderTiny, *, side: int, folder: Path, device: str) -> None:
    """Train encoder and decoder together, then make the latents unit normal per channel."""

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        pictures = random_pictures(step, AUTOENCODER.batch, side, stream=1).to(device)
        latents = vae.encode(pictures).latents.float()
        noise = torch.randn(latents.shape, generator=generator).to(device)
        decoded = vae.decode(latents + LATENT_NOISE * noise).sample.float()
        return reconstruction_loss(decoded, pictures) + 0.02 * unit_variance_penalty(latents)

    train(vae, loss_of_step, AUTOENCODER, folder=folder, device=device)
    normalise_latents(vae, side=side, device=device)


@torch.inference_mode()
def normalise_latents(vae: AutoencoderTiny, *, side: int, device: str) -> None:
    """Fold each latent channel's mean and deviation into the convolutions on both its sides.

    Afterwards stock pipelines need no scaling factor. The decoder soft-clips its input before its
    first convolution, so folding is exact only near zero; training the decoder on follows.
    """
    pictures = random_pictures(0, 256, side, stream=2).to(device)
    latents = torch.cat([vae.encode(part).latents for part in pictures.split(32)])
    mean, deviation = latents.mean(dim=(0, 2, 3)), latents.std(dim=(0, 2, 3))
    last, first = vae.encoder.layers[-1], vae.decoder.layers[0]
    last.weight.div_(deviation[:, None, None, None])
    last.bias.sub_(mean).div_(deviation)
    first.bias.add_((first.weight * mean[None, :, None, None]).sum(dim=(1, 2, 3)))
    first.weight.mul_(deviation[None, :, None, None])


def train_decoder(vae: AutoencoderTiny, *, side: int, folder: Path, device: str) -> None:
    """Train the decoder alone, on latents with noise like that a denoiser leaves."""
    vae.encoder.requires_grad_(False)

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        pictures = random_pictures(step, DECODER.batch, side, stream=3).to(device)
        with torch.no_grad():
            latents = vae.encode(pictures).latents.float()
        strength = 0.2 * torch.rand(len(latents), 1, 1, 1, generator=generator)
        noise = torch.randn(latents.shape, generator=generator)
        decoded = vae.decode(latents + (strength * noise).to(device)).sample.float()
        return reconstruction_loss(decoded, pictures)

    train(vae.decoder, loss_of_step, DECODER, folder=folder, device=device)
    vae.encoder.requires_grad_(True)


@torch.inference_mode()
def psnr_db(vae: AutoencoderTiny, *, side: int, device: str, pictures: int = 256) -> float:
    """Return the peak signal-to-noise ratio of unseen reconstructions, in dB."""
    target = random_pictures(0, pictures, side, stream=4).to(device)
    output = torch.cat(
        [vae.decode(vae.encode(part).latents).sample.clamp(-1, 1) for part in target.split(32)]
    )
    return float(10 * torch.log10(4 / F.mse_loss(output, target)))
