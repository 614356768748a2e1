"""The words of the bundled image model: objects, backgrounds, settings, sizes and relations."""

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

NUMBERS = {"two": 2, "three": 3}
GRAMMAR_WORDS = ("a", "on", "background", "and", "with", "the", "in", "of", "at", "riding")


@dataclass(frozen=True)
class Vocabulary:
    """What captions may say.

    `objects`: pictograms by word; `synonyms` and `plurals`: other words to the word they stand for;
    `colours`: RGB; `settings`: how a caption says them; `sizes`: shares of the picture's side;
    `mounts`: word and which of its pictograms has a back to sit on.
    """

    objects: dict[str, tuple[str, ...]]
    synonyms: dict[str, str]
    plurals: dict[str, str]
    colours: dict[str, tuple[int, int, int]]
    settings: dict[str, str]
    sizes: dict[str, float]
    bare: tuple[str, ...]
    unique: tuple[str, ...]
    riders: tuple[str, ...]
    mounts: tuple[tuple[str, int], ...]

    def with_article(self, phrase: str) -> str:
        """Return a noun phrase with the article that English gives its last word."""
        noun = phrase.split()[-1]
        if noun in self.bare:
            return phrase
        if noun in self.unique:
            return f"the {phrase}"
        vowel = phrase[0] in "aeio" or phrase.startswith("umb")
        return f"{'an' if vowel else 'a'} {phrase}"

    def plural(self, word: str) -> str:
        """Return the plural of a word, by English's rules where no exception is listed."""
        if word in self.plurals:
            return self.plurals[word]
        if word.endswith(("s", "x", "z", "ch", "sh")):
            return f"{word}es"
        if word.endswith("y") and word[-2] not in "aeiou":
            return f"{word[:-1]}ies"
        return f"{word}s"

    def canonical(self) -> dict[str, str]:
        """Return every word a caption may hold, with the one that means the same to the model."""
        own = {word for relation in RELATIONS for word in relation.split()}
        own |= self.objects.keys() | self.colours.keys() | self.settings.keys() | NUMBERS.keys()
        own |= {*GRAMMAR_WORDS, *(size for size in self.sizes if size != "medium")}
        meaning = {word: word for word in own}
        for word, stands_for in self.synonyms.items():
            meaning.setdefault(word, stands_for)
        for word in [*self.objects, *self.synonyms]:
            stands_for = self.synonyms.get(word, word)
            if stands_for in self.objects:
                meaning.setdefault(self.plural(word), stands_for)
        return dict(sorted(meaning.items()))


@cache
def load_vocabulary() -> Vocabulary:
    """Return the vocabulary of `vocabulary.toml`, which lies beside this file."""
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    mounts = [mount.partition(":") for mount in tables["mounts"]]
    return Vocabulary(
        objects={word: tuple(pictures) for word, pictures in tables["objects"].items()},
        synonyms=tables["synonyms"],
        plurals=tables["plurals"],
        colours={name: tuple(rgb) for name, rgb in tables["colours"].items()},
        settings=tables["settings"],
        sizes=tables["sizes"],
        bare=tuple(tables["bare"]),
        unique=tuple(tables["unique"]),
        riders=tuple(tables["riders"]),
        mounts=tuple((word, int(number or 0)) for word, _, number in mounts),
    )
