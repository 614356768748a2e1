"""What of a prompt a model never saw or has no room for is left out, and never unsaid."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from diffusers import FluxPipeline, StableDiffusionPipeline
from tiny_models import save_tiny_sd, text_config
from tiny_other_pipelines import OTHERS
from tiny_pipelines import save_flux
from transformers import CLIPTextModel

from diffusion_bench.backends import prompt_room
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.records import BUNDLED_MODEL, Generation, ImageRequest

LONG = "a small penguin left of a big whale and two cats above a tree in a meadow at night"


@pytest.fixture(scope="module")
def bundled() -> ImageBackend:
    return ImageBackend.load(BUNDLED_MODEL, device="cpu")


def draw(backend: ImageBackend, prompt: str, **settings: object) -> Generation:
    asked = {"steps": 2, "width": 32, "height": 32, "sampler": "native", **settings}
    return backend.generate(ImageRequest(prompt=prompt, model=backend.model, **asked))


def pixels(generation: Generation) -> np.ndarray:
    return np.asarray(generation.images[0])


def cuts(generation: Generation) -> list[str]:
    return [warning for warning in generation.warnings if "can read" in warning]


def test_an_unknown_word_takes_no_room_from_the_known_ones(bundled: ImageBackend) -> None:
    plain = draw(bundled, "a cat on a blue background")
    strange = draw(bundled, "A beautiful, photorealistic cat (on a blue background!)")
    assert np.array_equal(pixels(strange), pixels(plain))
    (told,) = strange.warnings
    assert "trained on: beautiful" in told
    assert told.endswith("; left out")
    negative = draw(bundled, "a cat", negative_prompt="a dog")
    same = draw(bundled, "a cat", negative_prompt="a bewildering dog")
    assert np.array_equal(pixels(same), pixels(negative))


def test_the_captions_of_a_batch_are_told_as_its_prompt_would_be(bundled: ImageBackend) -> None:
    request = ImageRequest(prompt="a cat", model=BUNDLED_MODEL, steps=2, width=32, height=32)
    plain, strange = (
        bundled.generate(request, captions=[caption]) for caption in ("a dog", "a zorped dog")
    )
    assert np.array_equal(pixels(plain), pixels(strange))


def test_known_words_for_which_there_is_no_room_are_named(bundled: ImageBackend) -> None:
    assert cuts(draw(bundled, LONG.removesuffix(" night"))) == []
    assert cuts(draw(bundled, LONG)) == [
        f"18 tokens of a prompt is all that {BUNDLED_MODEL} can read; cut off: night"
    ]
    far = draw(bundled, f"{LONG} on a red background left of an owl", guidance_scale=1.0)
    (told,) = cuts(far)
    assert told.endswith("cut off: night on a red background left of an owl")


def test_a_negative_prompt_is_cut_only_where_it_is_read(bundled: ImageBackend) -> None:
    assert len(cuts(draw(bundled, "a cat", negative_prompt=LONG, guidance_scale=3.0))) == 1
    assert cuts(draw(bundled, "a cat", negative_prompt=LONG, guidance_scale=1.0)) == []
    assert len(cuts(draw(bundled, LONG, negative_prompt=LONG, guidance_scale=3.0))) == 1


def test_a_model_of_77_tokens_names_what_it_cuts_off(tmp_path: Path) -> None:
    pipeline = StableDiffusionPipeline.from_pretrained(save_tiny_sd(tmp_path))
    pipeline.tokenizer.model_max_length = 77
    config = text_config(len(pipeline.tokenizer))
    config.max_position_embeddings = 77
    pipeline.text_encoder = CLIPTextModel(config)
    pipeline.save_pretrained(tmp_path / "hub")
    model = str(tmp_path / "hub")
    backend = ImageBackend.load(model, device="cpu")

    whole = " ".join(["cat"] * 75)
    assert draw(backend, whole).warnings == ()
    assert draw(backend, f"{whole} on Mars at night").warnings == (
        f"75 tokens of a prompt is all that {model} can read; cut off: on mars at night",
    )


def test_what_is_cut_off_is_shown_also_where_it_has_no_spaces(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for lost, shown in [
        ("河" * 400, "河" * 296 + " ..."),
        ("河" * 300, "河" * 300),
        ("a\nb", "a b"),
    ]:
        monkeypatch.setattr(prompt_room, "_lost", lambda *_, lost=lost: (75, lost))
        monkeypatch.setattr(prompt_room, "_readers", lambda *_: [(None, 77)])
        (told,) = prompt_room.cut_off("m", None, {"prompt": ["a"]})
        assert told == f"75 tokens of a prompt is all that m can read; cut off: {shown}"


def test_what_a_pipeline_says_first_itself_takes_room_of_the_prompt(tmp_path: Path) -> None:
    folder = str(OTHERS["Lumina-Image 2"](tmp_path))
    backend = ImageBackend.load(folder, device="cpu")
    tokenizer, read = backend._pipeline.tokenizer, []
    tokenizer.model_max_length = 256
    encoder = backend._pipeline.text_encoder
    encoder.register_forward_pre_hook(
        lambda _, given: read.append(tokenizer.decode(given[0][0])), with_kwargs=False
    )
    words = ["cat"] * 300
    (told,) = cuts(draw(backend, " ".join(words), guidance_scale=1.0))
    heard = read[0].split().count("cat")
    assert told.startswith(f"{heard} tokens")
    assert 0 < heard < 254


def test_of_several_text_encoders_it_is_said_how_many_cut(tmp_path: Path) -> None:
    pipeline = FluxPipeline.from_pretrained(save_flux(tmp_path))
    pipeline.tokenizer_2.model_max_length = 512
    pipeline.save_pretrained(tmp_path / "hub")
    model = str(tmp_path / "hub")
    backend = ImageBackend.load(model, device="cpu")

    assert draw(backend, LONG).warnings == (
        f"18 tokens of a prompt is all that 1 of {model}'s 2 text encoders can read; "
        "cut off: night",
    )
    far = draw(backend, " ".join([LONG] * 20)).warnings
    assert [told.split()[0] for told in far] == ["18", "254"]  # 256 are asked of the second one
