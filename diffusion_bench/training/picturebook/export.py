"""Write the trained networks as a folder that stock `StableDiffusionPipeline` loads."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

import torch
from diffusers import AutoencoderKL, StableDiffusionPipeline
from transformers import CLIPTokenizer

from diffusion_bench.training.picturebook.denoiser import Denoiser, new_scheduler
from diffusion_bench.training.picturebook.tokenizer import canonical_ids, new_tokenizer
from diffusion_bench.training.picturebook.vocabulary import NUMBERS, RELATIONS, load_vocabulary


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
    pipeline.to(torch.float16)
    pipeline.save_pretrained(folder, safe_serialization=True)
    # transformers loads in the precision its configuration names, diffusers in fp32: a stock
    # `from_pretrained(folder)` would mix the two.
    text_config = folder / "text_encoder" / "config.json"
    settings = json.loads(text_config.read_text(encoding="utf-8")) | {"dtype": "float32"}
    text_config.write_text(json.dumps(settings, indent=2) + "\n", encoding="utf-8")
    for path in folder.rglob("*.safetensors"):
        path.chmod(0o644)
    save_tokenizer(pipeline.tokenizer, folder / "tokenizer")
    text = json.dumps(known_words(), indent=1, ensure_ascii=False) + "\n"
    (folder / "vocabulary.json").write_text(text, encoding="utf-8")


def save_tokenizer(tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Save the tokenizer as both new and old versions of transformers read it."""
    tokenizer.save_pretrained(folder)
    # save_pretrained of transformers 5 writes only tokenizer.json; older ones read these two.
    with tempfile.TemporaryDirectory() as scratch:
        new_tokenizer(Path(scratch))
        for name in ("vocab.json", "merges.txt"):
            (folder / name).write_bytes((Path(scratch) / name).read_bytes())


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
