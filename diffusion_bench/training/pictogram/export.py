"""Write the trained networks as a folder that stock `StableDiffusionPipeline` loads."""

from __future__ import annotations

import json
from pathlib import Path

from diffusers import AutoencoderTiny, StableDiffusionPipeline
from transformers import CLIPTokenizer

from diffusion_bench.training.pictogram.denoiser import Denoiser
from diffusion_bench.training.pictogram.tokenizer import new_tokenizer
from diffusion_bench.training.pictogram.vocabulary import RELATIONS, load_vocabulary
from diffusion_bench.training.stable_diffusion import new_scheduler, save_in_half
from diffusion_bench.training.word_tokenizer import save_tokenizer


def assemble(
    vae: AutoencoderTiny, denoiser: Denoiser, tokenizer: CLIPTokenizer
) -> StableDiffusionPipeline:
    """Return the networks as one pipeline."""
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
    words = load_vocabulary()
    known = {
        "objects": list(words.objects),
        "colours": list(words.colours),
        "sizes": [size for size in words.sizes if size != "medium"],
        "relations": list(RELATIONS),
        "words": words.words(),
    }
    text = json.dumps(known, indent=1, ensure_ascii=False) + "\n"
    (folder / "vocabulary.json").write_text(text, encoding="utf-8")
