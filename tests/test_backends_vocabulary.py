"""The words beside a model's weights are read in either shape, and damage is no traceback."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tiny_words import LARGE, SMALL, save_words

from diffusion_bench.backends.catalog import MODELS_FOLDER, unknown_words
from diffusion_bench.backends.scoring.asked import read_caption, words_of
from diffusion_bench.backends.vocabulary import LISTS, TABLES, KnownWords, read_words
from diffusion_bench.backends.words import doubts, known_words
from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.training.picturebook import export


@pytest.mark.parametrize("shape", [SMALL, LARGE], ids=["small", "large"])
def test_every_list_of_a_vocabulary_is_read(shape: dict[str, object], tmp_path: Path) -> None:
    known = read_words(Path(save_words(tmp_path, shape)))
    assert known is not None
    told = json.loads(known.model_dump_json())
    assert {name: told[name] for name in shape} == shape
    assert not any(told[name] for name in told.keys() - shape.keys())


@pytest.mark.parametrize("shape", [SMALL, LARGE], ids=["small", "large"])
def test_a_prompt_is_judged_by_either_shape(shape: dict[str, object], tmp_path: Path) -> None:
    model = save_words(tmp_path, shape)
    assert doubts(model, "a cat left of a dog on a red background") == ()
    assert unknown_words(model, "a zorp") == ("zorp",)
    words = words_of(tmp_path / "vocabulary.json")
    asked = read_caption("a cat left of a dog on a red background", words)
    assert asked is not None
    assert (asked.objects, asked.relation, asked.background) == (("cat", "dog"), "left of", "red")


def test_what_picturebooks_training_writes_has_a_place_for_each_of_its_lists(
    tmp_path: Path,
) -> None:
    written = export.known_words()
    known = read_words(Path(save_words(tmp_path, written)))
    assert known is not None
    assert written.keys() == {*LISTS, *TABLES}
    assert known.others == {}
    assert set(known.every()) == set(written["words"])


def test_a_list_of_another_kind_is_kept_apart(tmp_path: Path) -> None:
    told = {**SMALL, "weather": ["rain"], "plurals": {"mouse": "mice"}, "version": 3}
    known = read_words(Path(save_words(tmp_path, told)))
    assert known is not None
    assert known.others == {"weather": ("rain",), "plurals": ("mouse",)}


def test_a_synonym_is_known_also_where_it_is_not_listed_as_a_word(tmp_path: Path) -> None:
    model = save_words(tmp_path, {"words": ["cat"], "synonyms": {"kitty": "cat"}})
    assert unknown_words(model, "kitty cat kitten") == ("kitten",)


@pytest.mark.parametrize("text", ["", "[]", "{", '{"words": 3}', "{}", '{"words": [1]}', "\xff"])
def test_a_file_that_lists_no_words_is_as_none(text: str, tmp_path: Path) -> None:
    save_words(tmp_path, {})
    (tmp_path / "vocabulary.json").write_bytes(text.encode("latin-1"))
    assert read_words(tmp_path) is None
    assert unknown_words(str(tmp_path), "zorp") == ()
    assert doubts(str(tmp_path), "zorp") == ()


def test_the_bundled_model_lists_its_words() -> None:
    known = known_words(BUNDLED_MODEL)
    assert known == read_words(MODELS_FOLDER / BUNDLED_MODEL)
    assert isinstance(known, KnownWords)
    assert known.objects
    assert {*known.objects, *known.colours} <= set(known.every())
