"""Write the trained networks as a folder that stock `StableDiffusionPipeline` loads."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTokenizer

from diffusion_bench.training.picturebook.denoiser import Denoiser
from diffusion_bench.training.picturebook.tokenizer import canonical_ids, new_tokenizer
from diffusion_bench.training.picturebook.vocabulary import NUMBERS, RELATIONS, load_vocabulary
from diffusion_bench.training.stable_diffusion import new_scheduler, save_in_half
from diffusion_bench.training.word_tokenizer import save_tokenizer


def assemble(
    vae: AutoencoderKL, denoiser: Denoiser, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """Return the networks as one pipeline, in which a synonym is exactly its word."""
    with torch.no_grad():
        embedding = denoiser.text_encoder.get_input_embeddings().weight
        embedding.copy_(embedding[canonical_ids(tokenizer)])
    return StableDiffusionPipeline(
        vae=vae,
        text_encoder=denoiser.text_encoder,
        tokenizer=tokenizer,
        unet=denoiser.unet,
        scheduler=new_scheduler(),
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )


def export(pipeline: StableDiffusionPipeline, folder: Path) -> None:
    """Save the pipeline in fp16 safetensors with the words it knows beside it."""
    save_in_half(pipeline, folder)
    save_tokenizer(new_tokenizer, folder / "tokenizer")
    text = json.dumps(known_words(), indent=1, ensure_ascii=False) + "\n"
    (folder / "vocabulary.json").write_text(text, encoding="utf-8")


def known_words() -> dict[str, object]:
    """Return what the model knows, by kind, as the app shows it."""
    words = load_vocabulary()
    canonical = words.canonical()
    return {
        "objects": list(words.objects),
        "colours": list(words.colours),
        "settings": words.settings,
        "sizes": [size for size in words.sizes if size != "medium"],
        "relations": [*RELATIONS, "riding"],
        "numbers": list(NUMBERS),
        "riders": list(words.riders),
        "mounts": sorted({word for word, _ in words.mounts}),
        "synonyms": {word: meant for word, meant in canonical.items() if word != meant},
        "words": list(canonical),
    }
