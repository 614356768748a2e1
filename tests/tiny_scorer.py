"""Scorers with random weights: the bundled one's folder, and a CLIP as the hub would give one."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from transformers import CLIPConfig, CLIPModel, CLIPVisionConfig, CLIPVisionModel

from diffusion_bench.backends.scoring.distance import Moments
from diffusion_bench.backends.scoring.reference import save_reference
from diffusion_bench.training.picturebook.tokenizer import new_tokenizer
from diffusion_bench.training.scorer.export import export
from diffusion_bench.training.scorer.networks import FEATURES, Scorer

CAPTIONS = [
    "a cat on a red background",
    "a dog left of a cat in the sea",
    "two apples on a blue background",
    "an astronaut riding a horse on mars",
]
VISION = {
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "image_size": 32,
    "patch_size": 8,
}


def save_tiny_scorer(folder: Path, *, with_reference: bool = True) -> Path:
    """Save an untrained scorer as the bundled one is laid out, with a reference made up."""
    torch.manual_seed(0)
    tokenizer = new_tokenizer(folder / "scratch")
    export(Scorer(tokenizer), tokenizer, folder / "scorer")
    if with_reference:
        features = torch.nn.functional.normalize(torch.randn(300, FEATURES), dim=-1)
        save_reference(folder / "scorer", Moments.of(features), CAPTIONS)
    return folder / "scorer"


def save_tiny_clip(folder: Path, *, pixels: dict[str, object] | None = None) -> Path:
    """Save a CLIP without anything of ours beside it; `pixels` are other preprocessor settings."""
    torch.manual_seed(0)
    tokenizer = new_tokenizer(folder / "scratch")
    text = {
        "vocab_size": len(tokenizer),
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "max_position_embeddings": 12,
        "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id,
        "pad_token_id": tokenizer.pad_token_id,
    }
    config = CLIPConfig(text_config=text, vision_config=VISION, projection_dim=8)
    CLIPModel(config).save_pretrained(folder / "clip")
    tokenizer.save_pretrained(folder / "clip")
    settings: dict[str, object] = {
        "do_center_crop": True,
        "crop_size": {"height": 32, "width": 32},
        "size": {"shortest_edge": 32},
        "image_mean": [0.48, 0.46, 0.41],
        "image_std": [0.27, 0.26, 0.28],
    }
    path = folder / "clip" / "preprocessor_config.json"
    path.write_text(json.dumps(settings | (pixels or {})), encoding="utf-8")
    return folder / "clip"


def save_vision_only(folder: Path) -> Path:
    """Save a vision encoder without a text encoder, which is no CLIP."""
    CLIPVisionModel(CLIPVisionConfig(**VISION)).save_pretrained(folder / "vision")
    return folder / "vision"
