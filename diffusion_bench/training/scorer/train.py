"""Train the scorer: captions against pictures, objects by patch, the background."""

from __future__ import annotations

import random
from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import Tensor
from torch.nn import functional as F
from transformers import CLIPTokenizer

from diffusion_bench.records import BUNDLED_SIDE
from diffusion_bench.training.crew import crew
from diffusion_bench.training.loop import Schedule, train
from diffusion_bench.training.picturebook.autoencoder import (
    TRAINED_AUTOENCODER,
    encode,
    pictures_of,
)
from diffusion_bench.training.picturebook.scenes import FREE, Freedom, Scene, random_scene
from diffusion_bench.training.picturebook.slots import background_names
from diffusion_bench.training.picturebook.tokenizer import canonical_ids
from diffusion_bench.training.scorer.networks import NOTHING_WEIGHT, SIDE, Scorer, patch_labels
from diffusion_bench.training.word_tokenizer import tokenize

SCHEDULE = Schedule(steps=7500, batch=96, peak_lr=1e-3, ema_decay=0.998, warmup_steps=300)
# From weights that have learnt what is where: the way one image model draws it.
REFINEMENT = Schedule(
    steps=900,
    batch=96,
    peak_lr=5e-4,
    ema_decay=0.995,
    warmup_steps=100,
    muon=True,
    not_hidden=("embedding", "_projection", "reader"),
)
CAPTION_WEIGHT = 0.5
DECODED_FROM = 6000  # steps from which part of the pictures come out of the image model's decoder
DECODED_SHARE = 0.5
LATENT_NOISE = 0.25  # at most, as a denoiser leaves
# Other scenes than those the image model is taught on, and no scene twice in both schedules.
SEED, REFINEMENT_SEED = "scorer", "scorer, refined"


def scenes_of(step: int, batch: int, *, stream: str = SEED, freedom: Freedom = FREE) -> list[Scene]:
    """Return the scenes of a step, the same ones each time."""
    chance = random.Random(f"{stream}/{step}")
    return [random_scene(chance, freedom=freedom) for _ in range(batch)]


def reduced(pictures: Tensor) -> Tensor:
    """Return pictures made smaller, (n, 3, 64, 64), as the scorer's preprocessor does."""
    small = F.interpolate(pictures, size=(SIDE, SIDE), mode="bicubic", antialias=True)
    return small.clamp(-1, 1)


def worsened(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Return pictures with a model's faults: some blurred, some noisy, contrast a little off.

    What a generative model draws is softer than what it was taught on; a judge of sharp drawings
    alone would fail it for that.
    """
    count = len(pictures)
    small = F.interpolate(pictures, scale_factor=0.5, mode="area")
    soft = F.interpolate(small, scale_factor=2.0, mode="bilinear", align_corners=False)
    share = torch.rand(count, 1, 1, 1, generator=generator)
    share = share * (torch.rand(count, 1, 1, 1, generator=generator) < 0.6)
    noise = torch.randn(pictures.shape, generator=generator)
    strength = 0.15 * torch.rand(count, 1, 1, 1, generator=generator) ** 2
    gain = 1 + 0.1 * torch.randn(count, 1, 1, 1, generator=generator)
    mixed: Tensor = (pictures + share * (soft - pictures)) * gain + strength * noise
    return mixed.clamp(-1, 1)


@torch.no_grad()
def decoded(scenes: list[Scene], vae: AutoencoderKL, generator: torch.Generator) -> Tensor:
    """Return the image model's way of drawing scenes: through its autoencoder, with some noise.

    Drawn at the model's size and made smaller as the scorer does, (scenes, 3, 64, 64).
    """
    latents = encode(vae, pictures_of(scenes, BUNDLED_SIDE))
    strength = LATENT_NOISE * torch.rand(len(scenes), 1, 1, 1, generator=generator)
    noise = torch.randn(latents.shape, generator=generator)
    return reduced(vae.decoder(latents + strength * noise).float().clamp(-1, 1))


def scorer_loss(
    scorer: Scorer, pictures: Tensor, tokens: Tensor, patches: Tensor, backgrounds: Tensor
) -> Tensor:
    """Return the loss: pairs of caption and picture, what is at each patch, the background.

    The first is CLIP's (Radford et al., 2021, figure 3): a cross-entropy both ways.
    """
    out = scorer.clip(input_ids=tokens, pixel_values=pictures)
    own = torch.arange(len(pictures), device=pictures.device)
    logits = out.logits_per_image.float()
    pairs = F.cross_entropy(logits, own) + F.cross_entropy(logits.T, own)
    objects, behind = scorer.reader(out.vision_model_output.last_hidden_state)
    weight = torch.ones(objects.shape[-1], device=pictures.device)
    weight[0] = NOTHING_WEIGHT
    found = F.cross_entropy(objects.flatten(0, 1).float(), patches.flatten(), weight=weight)
    return CAPTION_WEIGHT * pairs + 4 * found + F.cross_entropy(behind.float(), backgrounds)


def train_scorer(
    scorer: Scorer, tokenizer: CLIPTokenizer, *, folder: Path, device: str = "cpu"
) -> None:
    """Train encoders and reader in place from nothing; the checkpoint lies in `folder`."""
    _train(scorer, tokenizer, SCHEDULE, SEED, DECODED_FROM, folder=folder, device=device)


def refine_scorer(
    scorer: Scorer, tokenizer: CLIPTokenizer, *, folder: Path, device: str = "cpu"
) -> None:
    """Go on in place with trained weights, on what the image model's decoder makes of scenes."""
    _train(scorer, tokenizer, REFINEMENT, REFINEMENT_SEED, 0, folder=folder, device=device)


def _train(
    scorer: Scorer,
    tokenizer: CLIPTokenizer,
    schedule: Schedule,
    stream: str,
    decoded_from: int,
    *,
    folder: Path,
    device: str,
) -> None:
    meaning = canonical_ids(tokenizer)
    vae = AutoencoderKL.from_pretrained(TRAINED_AUTOENCODER).float()
    names = background_names()

    def loss_of_step(number: int, generator: torch.Generator) -> Tensor:
        scenes = scenes_of(number, crew().share(schedule.batch), stream=stream)
        count = int(len(scenes) * DECODED_SHARE) if number // crew().size >= decoded_from else 0
        pictures = reduced(pictures_of(scenes, BUNDLED_SIDE))
        if count:
            pictures[:count] = decoded(scenes[:count], vae, generator)
        pictures = worsened(pictures, generator)
        tokens = meaning[tokenize(tokenizer, [scene.caption for scene in scenes])]
        patches = torch.stack([patch_labels(scene) for scene in scenes])
        backgrounds = torch.tensor([names.index(scene.background) for scene in scenes])
        return scorer_loss(
            scorer, *(part.to(device) for part in (pictures, tokens, patches, backgrounds))
        )

    train(scorer, loss_of_step, schedule, folder=folder, device=device)
