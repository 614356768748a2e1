"""The words of the bundled image model: objects, background colours, sizes and relations."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

RELATIONS: dict[str, tuple[int, int]] = {
    "left of": (-1, 0),
    "right of": (1, 0),
    "above": (0, -1),
    "below": (0, 1),
}
"""Relation to the direction, in x and y, in which the first object lies from the second."""

GRAMMAR_WORDS = ("a", "an", "on", "background", "and", "with", "the", "in", "of")


@dataclass(frozen=True)
class Vocabulary:
    """What captions may say: pictograms by word, RGB by colour, share of the side by size."""

    objects: dict[str, str]
    colours: dict[str, tuple[int, int, int]]
    sizes: dict[str, float]
    bare: tuple[str, ...]
    unique: tuple[str, ...]

    def with_article(self, phrase: str) -> str:
        """Return a noun phrase with the article that English gives its last word."""
        noun = phrase.split()[-1]
        if noun in self.bare:
            return phrase
        if noun in self.unique:
            return f"the {phrase}"
        vowel = phrase[0] in "aeio" or phrase.startswith("umb")
        return f"{'an' if vowel else 'a'} {phrase}"

    def words(self) -> list[str]:
        """Return every word a caption may hold, sorted."""
        relation_words = {word for relation in RELATIONS for word in relation.split()}
        said_sizes = self.sizes.keys() - {"medium"}
        return sorted({*self.objects, *self.colours, *said_sizes, *relation_words, *GRAMMAR_WORDS})


@cache
def load_vocabulary() -> Vocabulary:
    """Return the vocabulary of `vocabulary.toml`, which lies beside this file."""
    text = Path(__file__).with_suffix(".toml").read_text(encoding="utf-8")
    tables = tomllib.loads(text)
    return Vocabulary(
        objects=tables["objects"],
        colours={name: tuple(rgb) for name, rgb in tables["colours"].items()},
        sizes=tables["sizes"],
        bare=tuple(tables["bare"]),
        unique=tuple(tables["unique"]),
    )
