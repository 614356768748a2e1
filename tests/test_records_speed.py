"""A speed is typed as words, travels as words, and changes no name of work that does not use it."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from diffusion_bench.records import ImageRequest, Speed, explain, parse_speed
from diffusion_bench.records.speed import WORDS


def test_work_that_uses_no_option_keeps_the_name_it_had_before_there_were_any() -> None:
    # Computed with the version before `speed` was a field.
    first = {"prompt": "a cat", "model": "pictogram", "width": 64, "height": 64}
    assert ImageRequest(**first).workload_id() == "d2292130bc163169"
    assert ImageRequest(**first, speed="plain").workload_id() == "d2292130bc163169"


def test_each_speed_is_work_of_another_name() -> None:
    speeds = ["plain", "auto", *WORDS]
    names = {ImageRequest(prompt="a cat", speed=speed).workload_id() for speed in speeds}
    assert len(names) == len(speeds)


@pytest.mark.parametrize("word", WORDS)
def test_every_word_sets_its_option_and_is_written_back(word: str) -> None:
    speed = parse_speed(word)
    assert isinstance(speed, Speed)
    name, value = WORDS[word]
    assert speed == Speed(**{name: value})
    assert str(speed) == word


def test_every_option_has_a_word_for_each_of_its_values() -> None:
    for name, field in Speed.model_fields.items():
        values = getattr(field.annotation, "__args__", (True, False))
        worded = {value for option, value in WORDS.values() if option == name}
        assert worded == set(values) - {field.default}, name


def test_words_may_stand_in_any_order_and_with_commas_or_blanks() -> None:
    speeds = {parse_speed(text) for text in ("packed, bf16", "bf16 packed", " bf16,packed ")}
    assert [str(speed) for speed in speeds] == ["bf16, packed"]


def test_a_request_keeps_its_speed_through_json() -> None:
    for speed in ("plain", "auto", "bf16, packed", "cuda-graphs"):
        request = ImageRequest(prompt="a cat", speed=speed)
        assert f'"speed":"{speed}"' in request.model_dump_json()
        assert ImageRequest.model_validate_json(request.model_dump_json()) == request


MISTAKES = [
    ("fast", "unknown speed 'fast'; say auto, plain or some of bf16, bf16-products,"),
    ("auto, bf16", "unknown speed 'auto'"),
    ("", "the speed is empty"),
    ("sliced-vae, tiled-vae", "only one value of vae at a time"),
    ("compile, packed", "compile does what packed does"),
    ("cuda-graphs keys", "compile does what keep_keys does"),
    ("compile, traced", "compile does what traced does"),
    ("traced, keys", "what traced records cannot hold keep_keys"),
    ("packed traced", "what traced records cannot hold packed"),
    ("traced, sequential-offload", "traced and offload exclude each other"),
    ("compile, model-offload", "compile and offload exclude each other"),
    (3, "speed"),
    ({"warp": 9}, "warp"),
]


@pytest.mark.parametrize(("speed", "complaint"), MISTAKES)
def test_a_wrong_speed_is_refused_in_one_line(speed: object, complaint: str) -> None:
    with pytest.raises(ValidationError) as caught:
        ImageRequest(prompt="a cat", speed=speed)
    line = explain(caught.value)
    assert complaint in line
    assert "\n" not in line


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_bf16_as_a_speed_is_for_models_in_fp32(precision: str) -> None:
    for word in ("bf16", "bf16-products"):
        with pytest.raises(ValidationError, match=f"speed {word} is for fp32 models"):
            ImageRequest(prompt="a cat", speed=word, precision=precision)
    assert ImageRequest(prompt="a cat", speed="packed", precision=precision)
