"""The bundled weights are the trained ones: they draw what they are told, with both samplers."""

from __future__ import annotations

import json

import pytest
from diffusers import StableDiffusionPipeline

from diffusion_bench.backends.catalog import MODELS_FOLDER, bundled_words
from diffusion_bench.training.drawing import draw
from diffusion_bench.training.pictogram.evaluate import ask_pairs, ask_singles, score
from diffusion_bench.training.pictogram.scenes import FONT_PATHS
from diffusion_bench.training.pictogram.vocabulary import RELATIONS, load_vocabulary

FOLDER = MODELS_FOLDER / "pictogram"
EVERY = 4  # objects drawn: one in so many
needs_font = pytest.mark.skipif(
    not any(path.exists() for path in FONT_PATHS), reason="Noto Color Emoji is not installed"
)


@pytest.fixture(scope="module")
def pipeline() -> StableDiffusionPipeline:
    return StableDiffusionPipeline.from_pretrained(FOLDER, use_safetensors=True)


@needs_font
@pytest.mark.parametrize(("sampler", "steps"), [("ddim", 10), ("ddpm", 20)])
def test_single_objects_are_recognised_on_the_background_asked_for(
    pipeline: StableDiffusionPipeline, sampler: str, steps: int
) -> None:
    asked = ask_singles(1, seed=11, sizes=("medium",))[::EVERY]
    drawn = draw(pipeline, [a.caption for a in asked], sampler=sampler, steps=steps, seed=11)
    found = score("one object", asked, drawn)
    assert found.object_share >= 0.9, found.failed
    assert found.background_share >= 0.95


@needs_font
def test_pairs_show_both_objects_each_on_its_side(
    pipeline: StableDiffusionPipeline,
) -> None:
    asked = ask_pairs(24, seed=12)
    drawn = draw(pipeline, [a.caption for a in asked], sampler="ddim", steps=20, seed=12)
    found = score("two objects", asked, drawn)
    assert found.object_share >= 0.9, found.failed
    assert found.background_share >= 0.95


def test_the_words_beside_the_weights_are_those_of_the_training() -> None:
    known = json.loads((FOLDER / "vocabulary.json").read_text(encoding="utf-8"))
    words = load_vocabulary()
    assert known["words"] == words.words()
    assert known["objects"] == list(words.objects)
    assert known["colours"] == list(words.colours)
    assert known["relations"] == list(RELATIONS)
    assert bundled_words("pictogram") == set(words.words())


def test_the_model_card_names_data_licence_and_failures() -> None:
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    for heading in ("Data", "Training", "Figures", "Known failures", "Licence"):
        assert f"## {heading}" in card
    for picture in ("samples.png", "losses.png", "one_caption.png"):
        assert f"({picture})" in card
        assert (FOLDER / picture).is_file()
