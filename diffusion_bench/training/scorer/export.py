"""Write the trained scorer as a folder that transformers' stock `CLIPModel` loads."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from safetensors.torch import save_file
from transformers import CLIPTokenizer

from diffusion_bench.training.picturebook.export import known_words, save_tokenizer
from diffusion_bench.training.picturebook.tokenizer import canonical_ids
from diffusion_bench.training.scorer.networks import SIDE, Scorer


def export(scorer: Scorer, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Save encoders and reader in fp16 safetensors, the tokenizer, and the words beside them."""
    with torch.no_grad():
        embedding = scorer.clip.text_model.get_input_embeddings().weight
        embedding.copy_(embedding[canonical_ids(tokenizer)])
    folder.mkdir(parents=True, exist_ok=True)
    scorer.clip.half().save_pretrained(folder)
    weights = {name: part.half().contiguous() for name, part in scorer.reader.state_dict().items()}
    save_file(weights, folder / "reader.safetensors")
    save_tokenizer(tokenizer, folder)
    pixels = {
        "do_center_crop": True,
        "crop_size": {"height": SIDE, "width": SIDE},
        "size": {"shortest_edge": SIDE},
        "image_mean": [0.5] * 3,
        "image_std": [0.5] * 3,
        "image_processor_type": "CLIPImageProcessor",
    }
    _write(folder / "preprocessor_config.json", pixels)
    _write(folder / "vocabulary.json", known_words())
    settings = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    _write(folder / "config.json", settings | {"dtype": "float32"})
    for path in folder.glob("*.safetensors"):
        path.chmod(0o644)
    scorer.float()


def _write(path: Path, told: dict[str, object]) -> None:
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
