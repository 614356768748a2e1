"""Write the trained scorer as a folder that transformers' stock `CLIPModel` loads.

Beside it: what the features of true scenes are like, and captions to draw from.
"""

from __future__ import annotations

import json
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPModel, CLIPTokenizer

from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.backends.scoring.distance import Moments
from diffusion_bench.backends.scoring.reference import save_reference
from diffusion_bench.training.picturebook.denoiser import FREEDOM
from diffusion_bench.training.picturebook.export import known_words
from diffusion_bench.training.picturebook.scenes import draw_scene
from diffusion_bench.training.picturebook.tokenizer import canonical_ids, new_tokenizer
from diffusion_bench.training.scorer.networks import SIDE, Scorer
from diffusion_bench.training.scorer.train import scenes_of
from diffusion_bench.training.word_tokenizer import save_tokenizer

# Streams of scenes of which nothing is taught; a common caption may be in several.
REFERENCE_STREAM, CAPTION_STREAM = "reference", "captions"
DRAWN_SIDE = 128  # as the image model draws, so that both are made smaller in the same way
REFERENCE_SCENES = 10_000
HELD_OUT_CAPTIONS = 2500
SCENES_AT_ONCE = 250


def export(scorer: Scorer, tokenizer: CLIPTokenizer, folder: Path) -> None:
    """Save encoders and reader in fp16 safetensors, the tokenizer, and the words beside them."""
    with torch.no_grad():
        embedding = scorer.clip.text_model.get_input_embeddings().weight
        embedding.copy_(embedding[canonical_ids(tokenizer)])
    folder.mkdir(parents=True, exist_ok=True)
    scorer.clip.half().save_pretrained(folder)
    weights = {name: part.half().contiguous() for name, part in scorer.reader.state_dict().items()}
    save_file(weights, folder / "reader.safetensors")
    save_tokenizer(new_tokenizer, folder)
    (folder / "tokenizer.json").unlink()  # it says what the two older files say, in 250 KB more
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


def restore_exported(scorer: Scorer, folder: Path) -> None:
    """Give a scorer the weights of an exported one, in fp32."""
    clip = CLIPModel.from_pretrained(folder, use_safetensors=True, dtype=torch.float32)
    scorer.clip.load_state_dict(clip.state_dict())
    scorer.reader.load_state_dict(load_file(folder / "reader.safetensors"))


def export_reference(
    folder: Path, *, scenes: int = REFERENCE_SCENES, captions: int = HELD_OUT_CAPTIONS
) -> None:
    """Write moments of true scenes' features, and held-out captions, beside an exported scorer.

    Ten thousand scenes take some minutes of one core.
    """
    scorer = ClipScorer.load(str(folder), device="cpu")
    features = []
    for step, start in enumerate(range(0, scenes, SCENES_AT_ONCE)):
        count = min(SCENES_AT_ONCE, scenes - start)
        # In as many poses as the image model was shown: else the distance would tell mostly that.
        drawn = scenes_of(step, count, stream=REFERENCE_STREAM, freedom=FREEDOM)
        pictures = [Image.fromarray(draw_scene(scene, DRAWN_SIDE)) for scene in drawn]
        features.append(scorer.features(pictures))
    told = [scene.caption for scene in scenes_of(0, captions, stream=CAPTION_STREAM)]
    save_reference(folder, Moments.of(torch.cat(features)), told)


def _write(path: Path, told: dict[str, object]) -> None:
    path.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
