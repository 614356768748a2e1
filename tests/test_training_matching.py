"""The judge of the image model sees in true drawings what they show, wherever it stands."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from diffusers import StableDiffusionPipeline
from PIL import Image
from tiny_models import save_tiny_sd

from diffusion_bench.training.drawing import draw, save_grid, save_losses
from diffusion_bench.training.picturebook import card
from diffusion_bench.training.picturebook.evaluate import (
    PLACES,
    ask,
    border_colour,
    nearest_background,
    score,
    variety,
)
from diffusion_bench.training.picturebook.matching import nearest_words
from diffusion_bench.training.picturebook.pictograms import FONT_PATHS
from diffusion_bench.training.picturebook.scenes import Scene, draw_scene, random_scene
from diffusion_bench.training.picturebook.vocabulary import load_vocabulary

needs_font = pytest.mark.skipif(
    not any(path.exists() for path in FONT_PATHS), reason="Noto Color Emoji is not installed"
)


def freely_posed(kind: str, count: int) -> list[Scene]:
    chance, words = random.Random(7), load_vocabulary()
    kept: list[Scene] = []
    while len(kept) < count:
        scene = random_scene(chance)
        sized = {"big", "small"} & set(scene.caption.split())
        if scene.kind == kind and scene.background in words.colours and not sized:
            kept.append(scene)
    return kept


@needs_font
@pytest.mark.parametrize(("kind", "least"), [("single", 1.0), ("pair", 0.95), ("riding", 0.7)])
def test_true_drawings_in_any_pose_are_seen_right(kind: str, least: float) -> None:
    scenes = freely_posed(kind, 16)
    found = score(scenes, np.stack([draw_scene(scene, 128) for scene in scenes]))
    assert found.object_share >= least, found.failed
    assert found.background_share >= 0.95


@needs_font
def test_other_objects_at_the_place_are_seen_as_wrong() -> None:
    scenes = freely_posed("single", 8)
    pictures = np.stack([draw_scene(scene, 128) for scene in scenes])
    found = score(scenes, np.roll(pictures, 1, axis=0))
    assert found.objects_share <= 1 / 8
    assert sum(found.failed.values()) >= 7


@needs_font
def test_the_half_of_a_pair_alone_decides() -> None:
    (scene,) = freely_posed("pair", 1)
    picture = draw_scene(scene, 128)[None]
    colour = border_colour(picture[0])[None]
    for place, word in scene.named.items():
        assert nearest_words(picture, colour, PLACES[place]) == [word]


@needs_font
def test_every_background_is_told_from_the_others() -> None:
    words, chance = load_vocabulary(), random.Random(3)
    scenes = [random_scene(chance) for _ in range(60)]
    assert {scene.background for scene in scenes} >= {*words.settings}
    seen = [nearest_background(draw_scene(scene, 128)) for scene in scenes]
    wrong = [s for s, found in zip(scenes, seen, strict=True) if s.background != found]
    assert len(wrong) <= 1, wrong


def test_each_object_is_asked_for_once_in_new_combinations() -> None:
    words = load_vocabulary()
    asked = ask("single", 0, seed=1, every_object=True)
    assert [scene.named["middle"] for scene in asked] == list(words.objects)
    pairs = ask("pair", 5, seed=1)
    assert pairs == ask("pair", 5, seed=1) != ask("pair", 5, seed=2)
    assert all(scene.said and scene.background in words.colours for scene in pairs)


def test_variety_is_of_the_pictures_of_one_caption_and_not_of_captions() -> None:
    alike = np.stack([np.full((3, 4, 4, 3), value, np.uint8) for value in (0, 255)])
    assert variety(alike) == 0.0
    alike[0, 0] += 30  # of three pairs of its caption two differ
    assert variety(alike) == pytest.approx(30 * 2 / 3 / 2)


def test_a_grid_holds_every_picture_once(tmp_path: Path) -> None:
    pictures = np.arange(3, dtype=np.uint8)[:, None, None, None] * np.ones((1, 4, 4, 3), np.uint8)
    save_grid(pictures, tmp_path / "grid.png", columns=2)
    with Image.open(tmp_path / "grid.png") as opened:
        grid = np.asarray(opened)
    assert grid.shape == (8, 8, 3)
    assert [grid[0, 0, 0], grid[0, 4, 0], grid[4, 0, 0]] == [0, 1, 2]


def test_a_model_is_drawn_with_by_both_samplers_for_its_card(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def few_steps(*given: Any, sampler: str, steps: int, seed: int) -> np.ndarray:
        asked.append((sampler, steps))
        return draw(*given, sampler=sampler, steps=2, seed=seed)

    monkeypatch.setattr(card, "draw", few_steps)
    tiny = StableDiffusionPipeline.from_pretrained(save_tiny_sd(tmp_path / "sd"))
    pictures = card.one_caption(tiny)
    assert asked == [("ddim", 20), ("ddpm", 100)]
    assert pictures.dtype == np.uint8
    assert len(pictures) == 16
    assert len({picture.tobytes() for picture in pictures}) == 16
    assert (card.one_caption(tiny) == pictures).all()


def test_the_loss_curves_of_the_stages_that_ran_are_saved(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    (tmp_path / "denoiser").mkdir()
    row = {"step": 50, "loss": 0.5, "hours": 0.1, "images": 400}
    (tmp_path / "denoiser" / "losses.jsonl").write_text(json.dumps(row) + "\n")
    save_losses(tmp_path, tmp_path / "losses.png", ["denoiser"])
    with Image.open(tmp_path / "losses.png") as picture:
        assert picture.width == 880
