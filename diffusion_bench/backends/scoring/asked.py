"""What a caption in the bundled model's own grammar asks for, so that a picture can be judged."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path
from typing import Literal

from diffusion_bench.records import Record

Relation = Literal["left of", "right of", "above", "below", "riding"]


class Asked(Record):
    """What a caption demands; `None` is left open.

    `relation` is how the first object stands to the second, `count` how many there are of the only
    one, `background` a colour or a setting.
    """

    objects: tuple[str, ...]
    relation: Relation | None = None
    count: int = 1
    background: str | None = None


class Words(Record):
    """The words a bundled model was taught, from its `vocabulary.json`."""

    objects: tuple[str, ...]
    colours: tuple[str, ...]
    settings: dict[str, str] = {}
    numbers: tuple[str, ...] = ()
    synonyms: dict[str, str] = {}

    def meaning(self, word: str) -> str:
        """Return the word that means the same to the model."""
        return self.synonyms.get(word, word)


@cache
def words_of(path: Path) -> Words:
    """Return the words of a `vocabulary.json`."""
    known = json.loads(path.read_text(encoding="utf-8"))
    return Words(**{name: known[name] for name in Words.model_fields if name in known})


def read_caption(caption: str, words: Words) -> Asked | None:
    """Return what a caption asks for, `None` where it names no known object.

    Synonyms and plurals are read as what they stand for. More than two objects are not told apart
    by relation.
    """
    said = [words.meaning(word) for word in re.findall(r"[^\W_]+", caption.lower())]
    found = [(at, word) for at, word in enumerate(said) if word in words.objects]
    if not found:
        return None
    between = " ".join(said[found[0][0] + 1 : found[1][0]]) if len(found) == 2 else ""
    counts = [words.numbers.index(word) + 2 for word in said if word in words.numbers]
    return Asked(
        objects=tuple(word for _, word in found),
        relation=_relation(between),
        count=counts[0] if counts and len(found) == 1 else 1,
        background=_background(said, words),
    )


def _relation(between: str) -> Relation | None:
    relations: tuple[Relation, ...] = ("left of", "right of", "above", "below", "riding")
    return next((name for name in relations if name in between), None)


def _background(said: list[str], words: Words) -> str | None:
    """Return a colour before "background", or a setting, the last that is said."""
    for at in reversed(range(len(said))):
        if said[at] in words.settings:
            return said[at]
        if said[at] in words.colours and said[at + 1 : at + 2] == ["background"]:
            return said[at]
    return None
