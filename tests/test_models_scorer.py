"""The bundled scorer: small, loadable by stock code, and of sound judgement on true drawings."""

from __future__ import annotations

import json

import pytest
import torch
from PIL import Image
from transformers import CLIPModel

from diffusion_bench.backends.scoring.asked import read_caption, words_of
from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.backends.scoring.reference import load_captions, load_reference
from diffusion_bench.backends.scoring.scorers import scorer_folder
from diffusion_bench.backends.scoring.sight import judge, see
from diffusion_bench.training.picturebook.export import known_words
from diffusion_bench.training.picturebook.pictograms import FONT_PATHS
from diffusion_bench.training.picturebook.scenes import draw_scene
from diffusion_bench.training.scorer.networks import FEATURES
from diffusion_bench.training.scorer.train import scenes_of

FOLDER = scorer_folder()
needs_font = pytest.mark.skipif(
    not any(path.exists() for path in FONT_PATHS), reason="Noto Color Emoji is not installed"
)


@pytest.fixture(scope="module")
def scorer() -> ClipScorer:
    return ClipScorer.load(device="cpu")


def test_the_folder_is_three_megabytes_at_most_and_holds_no_code() -> None:
    assert sum(path.stat().st_size for path in FOLDER.iterdir()) <= 3_000_000
    assert {path.suffix for path in FOLDER.iterdir()} <= {".json", ".txt", ".safetensors", ".md"}


def test_it_is_a_stock_clip() -> None:
    loaded = CLIPModel.from_pretrained(FOLDER, use_safetensors=True)
    assert loaded.config.projection_dim == FEATURES
    assert loaded.dtype == torch.float32


def test_its_words_are_those_that_scenes_are_drawn_from() -> None:
    held = json.loads((FOLDER / "vocabulary.json").read_text(encoding="utf-8"))
    assert held == known_words()


def test_every_held_out_caption_can_be_read_and_the_reference_fits() -> None:
    words = words_of(FOLDER / "vocabulary.json")
    captions = load_captions(FOLDER)
    assert len(captions) >= 1000
    assert all(read_caption(caption, words) for caption in captions)
    reference = load_reference(FOLDER, FEATURES)
    assert reference is not None
    assert reference.count >= 5000


@needs_font
def test_it_sees_what_true_drawings_show(scorer: ClipScorer) -> None:
    words = words_of(FOLDER / "vocabulary.json")
    scenes = scenes_of(0, 150, stream="test of the bundled scorer")
    images = [Image.fromarray(draw_scene(scene, 128)) for scene in scenes]
    verdicts = []
    for scene, sight in zip(scenes, see(scorer, images), strict=True):
        asked = read_caption(scene.caption, words)
        assert asked is not None
        verdicts.append(judge(asked, sight))
    assert sum(verdict.objects for verdict in verdicts) >= 0.96 * len(verdicts)
    told = [verdict.relation for verdict in verdicts if verdict.relation is not None]
    assert len(told) > 30
    assert sum(told) >= 0.94 * len(told)
    counts = [verdict.count for verdict in verdicts if verdict.count is not None]
    assert sum(counts) >= 0.88 * len(counts)
    behind = [verdict.background for verdict in verdicts if verdict.background is not None]
    assert sum(behind) >= 0.98 * len(behind)


@needs_font
def test_a_picture_fits_its_own_caption_better_than_anothers(scorer: ClipScorer) -> None:
    scenes = scenes_of(1, 24, stream="test of the bundled scorer")
    images = [Image.fromarray(draw_scene(scene, 128)) for scene in scenes]
    captions = [scene.caption for scene in scenes]
    own = scorer.caption_scores(images, captions)
    others = scorer.caption_scores(images, captions[1:] + captions[:1])
    assert (own > others).float().mean() > 0.95


def test_synonyms_score_as_the_word_they_stand_for(scorer: ClipScorer) -> None:
    said, meant = scorer.caption_features(
        ["two kitties on a crimson background", "two cats on a red background"]
    )
    assert torch.equal(said, meant)
