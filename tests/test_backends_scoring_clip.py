"""A CLIP as a judge: the bundled one and any other alike, and folders that are none."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_scorer import save_tiny_clip, save_tiny_scorer, save_vision_only
from transformers import CLIPModel, CLIPTokenizer

from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.scoring import scorers
from diffusion_bench.backends.scoring.clip import BATCH, ClipScorer, Pixels


@pytest.fixture(scope="module")
def stock(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def scorer(stock: Path) -> ClipScorer:
    return ClipScorer.load(str(stock), device="cpu")


def pictures(count: int, size: tuple[int, int] = (40, 48)) -> list[Image.Image]:
    noise = np.random.default_rng(1).integers(0, 256, (count, size[1], size[0], 3), dtype=np.uint8)
    return [Image.fromarray(each) for each in noise]


def test_features_are_those_of_the_stock_model_made_of_unit_length(
    stock: Path, scorer: ClipScorer
) -> None:
    model = CLIPModel.from_pretrained(stock).eval()
    tokenizer = CLIPTokenizer.from_pretrained(stock)
    drawn = pictures(1, (32, 32))
    mean, deviation = np.array([0.48, 0.46, 0.41]), np.array([0.27, 0.26, 0.28])
    pixels = (np.asarray(drawn[0]) / 255 - mean) / deviation
    tokens = tokenizer(["a cat"], return_tensors="pt")
    with torch.inference_mode():
        out = model(
            pixel_values=torch.from_numpy(pixels.transpose(2, 0, 1)).float()[None], **tokens
        )
    assert torch.allclose(scorer.features(drawn), out.image_embeds, atol=1e-5)
    assert torch.allclose(scorer.caption_features(["a cat"]), out.text_embeds, atol=1e-5)
    score = scorer.caption_scores(drawn, ["a cat"])
    assert score.item() == pytest.approx((out.image_embeds @ out.text_embeds.T).item(), abs=1e-5)


def test_how_many_are_scored_at_once_changes_nothing(scorer: ClipScorer) -> None:
    drawn = pictures(BATCH + 3)
    together = scorer.features(drawn)
    assert together.shape == (BATCH + 3, 8)
    assert torch.allclose(together[-1:], scorer.features(drawn[-1:]), atol=1e-5)
    assert torch.allclose(together.norm(dim=1), torch.ones(BATCH + 3))


def test_a_caption_longer_than_the_encoder_is_cut(scorer: ClipScorer) -> None:
    assert scorer.caption_features(["cat " * 500]).shape == (1, 8)


def test_pictures_and_captions_go_in_pairs(scorer: ClipScorer) -> None:
    with pytest.raises(ValueError, match="2 pictures and 1 captions"):
        scorer.caption_scores(pictures(2), ["a cat"])
    with pytest.raises(ValueError, match="no picture to score"):
        scorer.features([])


def test_the_bundled_scorer_is_had_by_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    save_tiny_scorer(tmp_path, with_reference=False)
    monkeypatch.setattr(scorers, "MODELS_FOLDER", tmp_path)
    found = ClipScorer.load(device="cpu")
    assert (found.name, found.folder) == ("scorer", tmp_path / "scorer")
    assert found.features(pictures(1)).shape == (1, 128)
    assert found.states(pictures(2)).shape == (2, 1 + 64, 128)


def test_the_digest_follows_the_weights_and_is_the_commit_of_a_hub_clip(
    stock: Path, tmp_path: Path
) -> None:
    commit = tmp_path / "models--owner--clip" / "snapshots" / "0123abc"
    shutil.copytree(stock, commit)
    assert ClipScorer.load(str(commit), device="cpu").digest == "0123abc"
    first = ClipScorer.load(str(stock), device="cpu").digest
    other = shutil.copytree(stock, tmp_path / "other")
    model = CLIPModel.from_pretrained(other)
    with torch.no_grad():
        model.visual_projection.weight.mul_(1.5)
    model.save_pretrained(other)
    assert first.startswith("sha256:")
    assert ClipScorer.load(str(other), device="cpu").digest != first


@pytest.mark.parametrize(
    ("told", "side"),
    [
        ({"do_center_crop": True, "crop_size": {"height": 24, "width": 24}}, 24),
        ({"do_center_crop": True, "crop_size": 24}, 24),
        ({"do_center_crop": False, "size": {"height": 16, "width": 16}}, 16),
        ({"size": {"shortest_edge": 20}}, 20),
    ],
)
def test_the_side_is_what_old_and_new_preprocessors_say(
    tmp_path: Path, told: dict[str, object], side: int
) -> None:
    settings = told | {"image_mean": [0.5] * 3, "image_std": [0.5] * 3}
    (tmp_path / "preprocessor_config.json").write_text(json.dumps(settings), encoding="utf-8")
    pixels = Pixels.of(tmp_path)
    assert pixels.side == side
    assert pixels.read(pictures(1, (50, 30))).shape == (1, 3, side, side)


def test_a_wide_picture_keeps_its_middle() -> None:
    wide = Image.new("RGB", (96, 32), "black")
    wide.paste(Image.new("RGB", (32, 32), "white"), (32, 0))
    read = Pixels(16, [0.0] * 3, [1.0] * 3).read([wide])
    assert read.mean() > 0.95


def spoilt(stock: Path, tmp_path: Path, name: str, content: bytes | None) -> Path:
    folder = shutil.copytree(stock, tmp_path / "spoilt")
    if content is None:
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("config.json", None),
        ("config.json", b"[]"),
        ("config.json", b"{"),
        ("config.json", b'{"model_type": "siglip"}'),
        ("config.json", b'{"model_type": ["clip"]}'),
        ("preprocessor_config.json", None),
        ("preprocessor_config.json", b"\xff\xfe"),
        ("preprocessor_config.json", b"{}"),
        ("preprocessor_config.json", b'{"size": 9, "image_mean": [0], "image_std": [1]}'),
        ("preprocessor_config.json", b'{"size": -4, "image_mean": [0,0,0], "image_std": [1,1,1]}'),
        ("preprocessor_config.json", b'{"size": 1e9, "image_mean": [0,0,0], "image_std": [1,1,1]}'),
        ("preprocessor_config.json", b'{"size": 64, "image_mean": [0,0,0], "image_std": [0,0,0]}'),
        ("model.safetensors", None),
        ("model.safetensors", b"no weights at all"),
    ],
)
def test_a_hostile_or_unfinished_folder_is_refused_in_one_line(
    stock: Path, tmp_path: Path, name: str, content: bytes | None
) -> None:
    folder = spoilt(stock, tmp_path, name, content)
    with pytest.raises(ModelUnavailable) as refused:
        ClipScorer.load(str(folder), device="cpu")
    message = str(refused.value)
    assert message.startswith(f"the scorer {str(folder)!r} cannot be loaded: ")
    assert "\n" not in message
    assert len(message) < 400 + len(str(folder))


def test_a_long_reason_is_not_cut_in_a_word(stock: Path, tmp_path: Path) -> None:
    folder = spoilt(
        stock, tmp_path / "/".join(["a long way down " * 6] * 3), "model.safetensors", None
    )
    with pytest.raises(ModelUnavailable, match=r"(\.|down \.\.\.)$"):
        ClipScorer.load(str(folder), device="cpu")


def test_a_scorer_that_lacks_a_weight_does_not_judge_with_random_ones(
    stock: Path, tmp_path: Path
) -> None:
    folder = shutil.copytree(stock, tmp_path / "lacking")
    weights = load_file(folder / "model.safetensors")
    del weights["visual_projection.weight"]
    save_file(weights, folder / "model.safetensors", {"format": "pt"})
    with pytest.raises(ModelUnavailable, match=r"lacks visual_projection\.weight"):
        ClipScorer.load(str(folder), device="cpu")


def test_a_name_that_is_nothing_and_an_encoder_without_text_are_refused(tmp_path: Path) -> None:
    for name in ("no such folder", str(save_vision_only(tmp_path))):
        with pytest.raises(ModelUnavailable, match="cannot be loaded"):
            ClipScorer.load(name, device="cpu")
    with pytest.raises(
        ModelUnavailable, match=r"^scorer 'owner/clip' is not on this machine and could"
    ):
        ClipScorer.load("owner/clip", device="cpu")


def test_pickled_weights_are_never_read(stock: Path, tmp_path: Path) -> None:
    folder = shutil.copytree(stock, tmp_path / "pickled")
    torch.save(CLIPModel.from_pretrained(folder).state_dict(), folder / "pytorch_model.bin")
    (folder / "model.safetensors").unlink()
    with pytest.raises(ModelUnavailable, match="cannot be loaded"):
        ClipScorer.load(str(folder), device="cpu")


def test_a_scorer_in_the_home_folder_is_found_by_the_path_that_a_report_has(
    stock: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(stock.parent))
    found = ClipScorer.load(f"~/{stock.name}", device="cpu")
    assert (found.name, found.folder) == (f"~/{stock.name}", stock)
