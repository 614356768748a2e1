"""The denoiser of the bundled model: a U-Net and a small CLIP text encoder, trained together.

v-prediction (Salimans and Ho, 2022, eq. in section 4) on a squared-cosine noise schedule (Nichol
and Dhariwal, 2021, eq. 17), whose last step holds next to no signal, so that inference may start
from pure noise. Captions are dropped at random for classifier-free guidance (Ho and Salimans,
2022).
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderTiny, UNet2DConditionModel
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffusion_bench.training.loop import Schedule, train
from diffusion_bench.training.pictogram.autoencoder import LATENT_CHANNELS
from diffusion_bench.training.pictogram.scenes import draw_scene, random_scene
from diffusion_bench.training.pictogram.slots import (
    SLOT_LOSS_WEIGHT,
    SlotReader,
    slot_labels,
    slot_loss,
)
from diffusion_bench.training.pictogram.tokenizer import MAX_TOKENS
from diffusion_bench.training.stable_diffusion import new_scheduler
from diffusion_bench.training.word_tokenizer import tokenize

CAPTION_DROPOUT = 0.12
NUM_SCENES = 60_000
TEXT_WIDTH = 160
DENOISER = Schedule(steps=4000, batch=64, peak_lr=7e-4, ema_decay=0.9995, warmup_steps=300)


class Denoiser(nn.Module):
    """The two networks that learn together, and the reader that only training needs."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder
        self.slot_reader = SlotReader(TEXT_WIDTH)


@dataclass(frozen=True)
class LatentScenes:
    """Encoded scenes: latents (n, 12, h, w) float16, caption tokens (n, 24), slots (n, 5) int64."""

    latents: Tensor
    tokens: Tensor
    slots: Tensor


def new_denoiser(tokenizer: CLIPTokenizer) -> Denoiser:
    """Return untrained networks, about 11 M parameters."""
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(128, 176),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    text_encoder = CLIPTextModel(
        CLIPTextConfig(
            vocab_size=len(tokenizer),
            hidden_size=TEXT_WIDTH,
            intermediate_size=4 * TEXT_WIDTH,
            projection_dim=TEXT_WIDTH,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=MAX_TOKENS,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )
    return Denoiser(unet, text_encoder)


@torch.inference_mode()
def encode_scenes(
    vae: AutoencoderTiny, tokenizer: CLIPTokenizer, *, side: int, count: int, device: str
) -> LatentScenes:
    """Draw and encode `count` scenes, the same ones each time."""
    chance = random.Random("scenes")
    latents: list[Tensor] = []
    captions: list[str] = []
    slots: list[list[int]] = []
    for start in range(0, count, 100):
        scenes = [random_scene(chance) for _ in range(min(100, count - start))]
        drawn = torch.from_numpy(np.stack([draw_scene(scene, side) for scene in scenes]))
        pictures = drawn.permute(0, 3, 1, 2).float().to(device) / 127.5 - 1
        with torch.autocast(device, torch.bfloat16):
            latents.append(vae.encode(pictures).latents.half().cpu())
        captions.extend(scene.caption for scene in scenes)
        slots.extend(slot_labels(scene) for scene in scenes)
    return LatentScenes(torch.cat(latents), tokenize(tokenizer, captions), torch.tensor(slots))


def train_denoiser(
    denoiser: Denoiser,
    scenes: LatentScenes,
    tokenizer: CLIPTokenizer,
    *,
    folder: Path,
    device: str,
    schedule: Schedule = DENOISER,
) -> None:
    """Train U-Net and text encoder on encoded scenes."""
    scheduler = new_scheduler()
    empty = tokenize(tokenizer, [""])[0]

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(scenes.latents), (schedule.batch,), generator=generator)
        latents = scenes.latents[chosen].float()
        tokens = scenes.tokens[chosen]
        dropped = torch.rand(schedule.batch, generator=generator) < CAPTION_DROPOUT
        tokens = torch.where(dropped[:, None], empty, tokens).to(device)
        noise = torch.randn(latents.shape, generator=generator)
        # One timestep from each of `batch` equal strata: less variance than independent draws.
        strata = torch.arange(schedule.batch) + torch.rand(schedule.batch, generator=generator)
        timesteps = (strata * (1000 / schedule.batch)).long()
        noisy = scheduler.add_noise(latents, noise, timesteps).to(device)
        target = scheduler.get_velocity(latents, noise, timesteps).to(device)
        context = denoiser.text_encoder(tokens)[0]
        velocity = denoiser.unet(noisy, timesteps.to(device), context).sample
        slots = scenes.slots[chosen].masked_fill(dropped[:, None], 0).to(device)
        binding = slot_loss(denoiser.slot_reader(context), slots)
        return F.mse_loss(velocity.float(), target) + SLOT_LOSS_WEIGHT * binding

    train(denoiser, loss_of_step, schedule, folder=folder, device=device)
