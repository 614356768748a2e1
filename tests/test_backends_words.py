"""A word that a bundled model does not know is named, with the nearest ones that it does."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_words import LARGE, SMALL, save_words

from diffusion_bench.backends.catalog import bundled_words
from diffusion_bench.backends.readings import readings_for
from diffusion_bench.backends.words import (
    NOTHING_LEFT,
    as_told,
    doubts,
    known_words,
    nearest_words,
)
from diffusion_bench.records import BUNDLED_MODEL

KNOWN = {
    "words": [
        "a",
        "on",
        "background",
        "cat",
        "kitty",
        "dog",
        "red",
        "crimson",
        "orange",
        "sea",
        "in",
    ],
    "objects": ["cat", "dog", "orange"],
    "colours": ["red", "orange"],
    "synonyms": {"kitty": "cat", "crimson": "red"},
}


@pytest.fixture
def model(tmp_path: Path) -> str:
    (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    (tmp_path / "vocabulary.json").write_text(json.dumps(KNOWN), encoding="utf-8")
    return str(tmp_path)


def test_what_a_model_knows_is_drawn_without_a_word(model: str) -> None:
    assert doubts(model, "a Kitty on a crimson background") == ()
    assert doubts(model, "a cat in a dog") == ()


def test_an_unknown_word_is_named_with_the_nearest_known_ones(model: str) -> None:
    assert doubts(model, "a dog on a catt on a zzyx") == (
        f"{model} was not trained on: catt (near: cat), zzyx; left out",
    )
    assert nearest_words(model, "KITTI") == ("kitty",)
    assert doubts(model, "a cat", "dogg") == (
        f"{model} was not trained on: dogg (near: dog); left out",
    )


def test_a_colour_of_an_object_is_said_to_be_lost_and_a_fruit_is_no_colour(model: str) -> None:
    (said,) = doubts(model, "a crimson cat on a red background")
    assert said.endswith("'on a red background': crimson")
    assert doubts(model, "an orange on a red background") == (
        f"{model} was not trained on: an (near: a); left out",
    )


def test_more_than_two_objects_are_said_to_come_out_mixed(model: str) -> None:
    (said,) = doubts(model, "a cat a dog a kitty a cat")
    assert said == "more than 2 objects in one picture come out mixed: cat, dog, kitty"


def test_riding_is_for_those_that_were_taught_to(tmp_path: Path) -> None:
    large = save_words(tmp_path / "large", LARGE)
    assert doubts(large, "a kitty riding a horse on mars") == ()
    assert doubts(large, "a horse riding an orange in the sea") == (
        f"{large} was taught riding with other riders and mounts; not with: horse, orange",
    )
    small = save_words(tmp_path / "small", {**SMALL, "words": [*SMALL["words"], "riding"]})
    assert doubts(small, "an orange riding a cat") == (), "nothing is said of who rides"


def test_the_nearest_words_are_looked_for_among_synonyms_too(tmp_path: Path) -> None:
    large = save_words(tmp_path / "large", LARGE)
    assert nearest_words(large, "kity") == ("kitty",)
    apart = {**LARGE, "words": SMALL["words"]}
    assert nearest_words(save_words(tmp_path / "apart", apart), "crimsn") == ("crimson",)
    assert nearest_words(save_words(tmp_path / "small", SMALL), "kity") == ()


def test_near_words_differ_in_what_they_mean() -> None:
    assert nearest_words(BUNDLED_MODEL, "zebu") == ("zebra",)
    assert nearest_words(BUNDLED_MODEL, "kity")[:2] == ("kitty", "kite")


def test_a_model_that_lists_no_words_may_know_any(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    assert known_words(str(tmp_path)) is None
    assert doubts(str(tmp_path), "zorp") == ()
    assert doubts("owner/name", "zorp") == ()


def test_the_bundled_model_names_near_words() -> None:
    assert nearest_words(BUNDLED_MODEL, "rabit")[0] == "rabbit"


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("a photo of a cat", "a cat"),
        ("A photo of a cute kitten, 4k, trending on artstation", "a kitten"),
        ("an image of a robot on mars", "a robot on mars"),
        ("the oil painting of an elephant on a red background", "an elephant on a red background"),
        ("a cat and a zebu on a blue background", "a cat on a blue background"),
        ("a cat on a xylograph", "a cat"),
        ("a cat and two zebus", "a cat"),
        ("a fluffy cat left of a brave dog", "a cat left of a dog"),
        ("a cat left of a zebu", "a cat"),
        ("zebu", ""),
        ("an astronaut riding a horse on mars", "an astronaut riding a horse on mars"),
    ],
)
def test_what_leads_to_an_unknown_word_goes_with_it(prompt: str, told: str) -> None:
    """What is left of "a photo of a cat", "a of a cat", was drawn with something torn below."""
    assert as_told(BUNDLED_MODEL, prompt) == told


def test_a_model_that_tells_no_objects_is_told_all_words_it_knows(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    words = json.dumps({"words": ["a", "of", "cat"]})
    (tmp_path / "vocabulary.json").write_text(words, encoding="utf-8")
    assert as_told(str(tmp_path), "a photo of a cat") == "a of a cat"


def test_an_object_on_or_in_another_is_said_to_come_out_mixed() -> None:
    for prompt in ("a cat on a chair", "a kitty in an automobile", "an astronaut on a horse"):
        (said,) = doubts(BUNDLED_MODEL, prompt)
        assert said.startswith(
            f"{BUNDLED_MODEL} puts objects left of, right of, above, below, riding"
        )
        assert said.endswith(prompt.split(" ", 1)[1])
    for prompt in (
        "a cat above a chair on mars",
        "a robot riding a horse in a meadow",
        "a cat on a blue background",
        "a cat and a dog in the sea",
    ):
        assert doubts(BUNDLED_MODEL, prompt) == ()


@pytest.mark.parametrize(
    ("prompt", "told"),
    [
        ("3 cats", "three cats"),
        ("a girl rides a horse", "a girl riding a horse"),
        ("A man is riding a pony in the snow", "a man riding a pony on snow"),
        ("a teddy bear next to an ice cream", "a teddy and an icecream"),
        ("a robot to the left of 2 boats", "a robot left of two sailboat"),
        ("a bear left of a teddy", "a bear left of a teddy"),
        ("(cat:1.3), a cat 2.5", "cat a cat"),
    ],
)
def test_what_people_write_is_read_as_the_words_the_model_has(prompt: str, told: str) -> None:
    assert as_told(BUNDLED_MODEL, prompt) == told


def test_every_reading_leads_to_known_words_and_takes_the_place_of_none() -> None:
    words = bundled_words(BUNDLED_MODEL)
    readings = readings_for(words)
    assert {"rides", "3", "flowers", "polar bear"} <= readings.keys()
    assert not readings.keys() & words
    for phrase in readings:
        assert not any(
            said.startswith("picturebook was not") for said in doubts(BUNDLED_MODEL, phrase)
        )


def test_a_reading_is_for_a_model_that_has_its_words_and_misspelt_it_is_near(model: str) -> None:
    """This one has no three and no riding: there is nothing to read them as."""
    assert as_told(model, "a kitty cat on 3 flowers") == "a cat"
    assert nearest_words(BUNDLED_MODEL, "flowerr")[:2] == ("flower", "sunflower")


def test_it_is_said_where_no_word_of_a_prompt_is_left() -> None:
    assert doubts(BUNDLED_MODEL, "zeppelin")[-1] == NOTHING_LEFT
    assert NOTHING_LEFT not in doubts(BUNDLED_MODEL, "a cat and a zeppelin")
    assert doubts(BUNDLED_MODEL, "") == ()
