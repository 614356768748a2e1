"""The denoiser of the bundled model: a U-Net and a small CLIP text encoder, trained together.

v-prediction (Salimans and Ho, 2022, eq. in section 4) on a squared-cosine noise schedule (Nichol
and Dhariwal, 2021, eq. 17), whose last step holds next to no signal, so that inference may start
from pure noise. The loss is the plain square error of v: min-SNR weights (Hang et al., 2023) would
all but leave out the noisiest timesteps, and those decide what stands where. Captions are dropped
at random for classifier-free guidance (Ho and Salimans, 2022).
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline, UNet2DConditionModel
from diffusers.models.attention_processor import AttnProcessor
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

from diffusion_bench.training.crew import crew
from diffusion_bench.training.loop import Schedule, train
from diffusion_bench.training.picturebook.autoencoder import LATENT_CHANNELS, encode, pictures_of
from diffusion_bench.training.picturebook.scenes import Freedom, random_scene
from diffusion_bench.training.picturebook.slots import (
    SLOT_LOSS_WEIGHT,
    SlotReader,
    slot_labels,
    slot_loss,
)
from diffusion_bench.training.picturebook.tokenizer import MAX_TOKENS, canonical_ids
from diffusion_bench.training.precision import mixed_precision
from diffusion_bench.training.stable_diffusion import new_scheduler
from diffusion_bench.training.word_tokenizer import tokenize

CAPTION_DROPOUT = 0.1
SHARD = 20_000  # scenes of one file of cached latents
NUM_SHARDS = 3
FREEDOM = Freedom(pose=0.25, place=0.25)  # shapes are learnt sooner in few poses and places ...
# ... and go with little to learn into all places: convolutions see them alike. Every pose as well
# is too much at once: after 253,000 pictures of them a cat was still torn (docs/lab-notes.md).
REFINED_FREEDOM = FREEDOM._replace(place=1.0)
TEXT_WIDTH = 160
DENOISER = Schedule(
    steps=30_000,
    batch=64,
    peak_lr=1.5e-3,
    ema_decay=0.9995,
    warmup_steps=300,
    decay_steps=2_000,
    muon=True,
)
REFINED = replace(DENOISER, steps=2_000, peak_lr=1e-3, warmup_steps=100, decay_steps=1_200)
"""How a trained denoiser goes on, in other scenes."""


class Denoiser(nn.Module):
    """The two networks that learn together, and the reader that only training needs."""

    def __init__(self, unet: UNet2DConditionModel, text_encoder: CLIPTextModel) -> None:
        super().__init__()
        self.unet = unet
        self.text_encoder = text_encoder
        self.slot_reader = SlotReader(TEXT_WIDTH)

    def begin_as(self, pipeline: StableDiffusionPipeline) -> None:
        """Take the weights of a trained pipeline; the reader, which it does not have, stays."""
        self.unet.load_state_dict(pipeline.unet.state_dict())
        self.text_encoder.load_state_dict(pipeline.text_encoder.state_dict())


@dataclass(frozen=True)
class LatentScenes:
    """Encoded scenes: latents (n, 32, h, w) float16, caption tokens (n, 20), labels (n, 9)."""

    latents: Tensor
    tokens: Tensor
    labels: Tensor


def new_denoiser(tokenizer: CLIPTokenizer) -> Denoiser:
    """Return untrained networks, about 11 M parameters."""
    unet = UNet2DConditionModel(
        sample_size=8,
        in_channels=LATENT_CHANNELS,
        out_channels=LATENT_CHANNELS,
        block_out_channels=(128, 160),
        layers_per_block=1,
        down_block_types=("CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D"),
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )
    # Training through the fused attention is a third slower on a CPU: its backward pass. The
    # exported model has no trace of the choice.
    unet.set_attn_processor(AttnProcessor())
    text_encoder = CLIPTextModel._from_config(
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
        ),
        attn_implementation="eager",
    )
    return Denoiser(unet, text_encoder)


@torch.inference_mode()
def encode_scenes(
    vae: AutoencoderKL,
    tokenizer: CLIPTokenizer,
    *,
    side: int,
    shard: int,
    count: int = SHARD,
    freedom: Freedom = FREEDOM,
    device: str = "cpu",
) -> LatentScenes:
    """Draw and encode `count` scenes, the same ones each time for a shard."""
    chance = random.Random(f"scenes {shard}")
    latents: list[Tensor] = []
    captions: list[str] = []
    labels: list[list[int]] = []
    for start in range(0, count, 100):
        scenes = [random_scene(chance, freedom=freedom) for _ in range(min(100, count - start))]
        pictures = pictures_of(scenes, side).to(device)
        with mixed_precision(device):
            latents.append(encode(vae, pictures).half().cpu())
        captions.extend(scene.caption for scene in scenes)
        labels.extend(slot_labels(scene) for scene in scenes)
    tokens = canonical_ids(tokenizer)[tokenize(tokenizer, captions)]
    return LatentScenes(torch.cat(latents), tokens, torch.tensor(labels))


def load_shards(folder: Path) -> LatentScenes:
    """Return the scenes of every shard in a folder."""
    held = [torch.load(path, weights_only=True) for path in sorted(folder.glob("*.pt"))]
    return LatentScenes(*(torch.cat(parts) for parts in zip(*held, strict=True)))


def train_denoiser(
    denoiser: Denoiser,
    scenes: LatentScenes,
    tokenizer: CLIPTokenizer,
    *,
    folder: Path,
    device: str,
    schedule: Schedule = DENOISER,
    compiled: bool = False,
) -> None:
    """Train U-Net and text encoder on encoded scenes."""
    scheduler = new_scheduler()
    empty = tokenize(tokenizer, [""])[0]
    unet = torch.compile(denoiser.unet) if compiled else denoiser.unet
    share = crew().share(schedule.batch)

    def loss_of_step(_: int, generator: torch.Generator) -> Tensor:
        chosen = torch.randint(len(scenes.latents), (share,), generator=generator)
        latents = scenes.latents[chosen].float()
        tokens = scenes.tokens[chosen]
        dropped = torch.rand(share, generator=generator) < CAPTION_DROPOUT
        tokens = torch.where(dropped[:, None], empty, tokens).to(device)
        noise = torch.randn(latents.shape, generator=generator)
        # One timestep from each of as many equal strata: less variance than independent draws.
        strata = torch.arange(share) + torch.rand(share, generator=generator)
        timesteps = (strata * (1000 / share)).long()
        noisy = scheduler.add_noise(latents, noise, timesteps).to(device)
        target = scheduler.get_velocity(latents, noise, timesteps).to(device)
        context = denoiser.text_encoder(tokens)[0]
        velocity = unet(noisy, timesteps.to(device), context).sample
        labels = scenes.labels[chosen].masked_fill(dropped[:, None], 0).to(device)
        binding = slot_loss(denoiser.slot_reader(context), labels)
        return F.mse_loss(velocity.float(), target) + SLOT_LOSS_WEIGHT * binding

    train(denoiser, loss_of_step, schedule, folder=folder, device=device)
