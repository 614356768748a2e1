"""The bundled weights are the trained ones: they draw what they are told, with both samplers."""

from __future__ import annotations

import json

import pytest
from diffusers import StableDiffusionPipeline

from diffusion_bench.backends.catalog import MODELS_FOLDER, bundled_words
from diffusion_bench.records import BUNDLED_MODEL, BUNDLED_SIDE
from diffusion_bench.training.drawing import draw
from diffusion_bench.training.picturebook.evaluate import ask, score
from diffusion_bench.training.picturebook.export import known_words
from diffusion_bench.training.picturebook.pictograms import FONT_PATHS

FOLDER = MODELS_FOLDER / BUNDLED_MODEL
needs_font = pytest.mark.skipif(
    not any(path.exists() for path in FONT_PATHS), reason="Noto Color Emoji is not installed"
)


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(FOLDER, use_safetensors=True)


@needs_font
@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_single_objects_are_recognised_on_the_background_asked_for(
    pipeline: StableDiffusionPipeline, sampler: str
) -> None:
    asked = ask("single", 12, seed=11)
    drawn = draw(pipeline, [scene.caption for scene in asked], sampler=sampler, steps=10)
    assert drawn.shape == (12, BUNDLED_SIDE, BUNDLED_SIDE, 3)
    found = score(asked, drawn)
    assert found.objects_share >= 0.9, found.failed
    assert found.background_share >= 0.9


@needs_font
def test_pairs_show_both_objects_each_on_its_side(pipeline: StableDiffusionPipeline) -> None:
    asked = ask("pair", 12, seed=12)
    found = score(asked, draw(pipeline, [scene.caption for scene in asked], steps=10))
    assert found.objects_share >= 0.9, found.failed
    assert found.background_share >= 0.9


def test_the_words_beside_the_weights_are_those_of_the_training() -> None:
    known = json.loads((FOLDER / "vocabulary.json").read_text(encoding="utf-8"))
    assert known == json.loads(json.dumps(known_words()))
    assert bundled_words(BUNDLED_MODEL) == set(known["words"])


def test_the_model_card_names_data_licence_and_failures() -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    for heading in ("Data", "Training", "Figures", "Known failures", "Licence"):
        assert f"## {heading}" in card
    for picture in ("objects.png", "scenes.png", "losses.png", "one_caption.png"):
        assert f"({picture})" in card
        assert (FOLDER / picture).is_file()
