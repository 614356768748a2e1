"""Which files of a model are read: the variant or the plain ones, all shards, never a pickle."""

from __future__ import annotations

import shutil
from pathlib import Path

from tiny_models import save_tiny_sd

from diffusion_bench.backends.model_files import chosen_files, missing_parts


def test_a_folder_without_a_part_or_a_shard_is_not_whole(tmp_path: Path) -> None:
    folder = save_tiny_sd(tmp_path)
    assert missing_parts(folder) == []
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    shutil.copy(weights, weights.with_name("diffusion_pytorch_model.fp16.safetensors"))
    weights.rename(weights.with_name("diffusion_pytorch_model-00001-of-00002.safetensors"))
    shutil.rmtree(folder / "tokenizer")
    assert missing_parts(folder) == ["tokenizer", "unet"]
    assert missing_parts(folder, "fp16") == ["tokenizer"]


def test_a_tokenizer_without_words_and_weights_without_settings_are_not_whole(
    tmp_path: Path,
) -> None:
    folder = save_tiny_sd(tmp_path)
    words = folder / "tokenizer" / "tokenizer.json"
    words.rename(words.with_name("vocab.json"))
    words.with_name("merges.txt").touch()
    assert missing_parts(folder) == []
    words.with_name("vocab.json").unlink()
    (folder / "vae" / "config.json").unlink()
    assert missing_parts(folder) == ["tokenizer", "vae"]


def test_of_weights_the_variant_is_chosen_where_there_is_one_and_never_a_pickle() -> None:
    names = [
        "model_index.json",
        "README.md",
        "sd.safetensors",
        "unet/config.json",
        "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors",
        "unet/diffusion_pytorch_model.non_ema.safetensors",
        "unet/diffusion_pytorch_model.bin",
        "text/config.json",
        "text/model-00001-of-00002.safetensors",
        "text/model-00002-of-00002.safetensors",
        "text/model.safetensors.index.json",
        "vae_decoder/model.onnx",
    ]
    rest = {
        "model_index.json",
        "unet/config.json",
        "text/config.json",
        "text/model-00001-of-00002.safetensors",
        "text/model-00002-of-00002.safetensors",
        "text/model.safetensors.index.json",
    }
    for variant, weights in ((None, "model"), ("fp16", "model.fp16")):
        chosen = chosen_files(names, ["unet", "text"], variant)
        assert set(chosen) == rest | {f"unet/diffusion_pytorch_{weights}.safetensors"}
