"""The words that a bundled model was taught, from the `vocabulary.json` in its folder.

A model lists what it has: the smallest list is `words` alone, a larger model tells settings,
numbers and synonyms too.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from diffusion_bench.records import Record

FILE = "vocabulary.json"
LISTS = ("words", "objects", "colours", "sizes", "relations", "numbers", "riders", "mounts")
TABLES = ("settings", "synonyms")


class KnownWords(Record):
    """The words of a model, by kind.

    `words` are all that a prompt may hold, alike those that only mean another one (`synonyms`, by
    the word they stand for) and those without a kind ("a", "on"). `settings` are phrases by their
    word; `riders` and `mounts` are objects that take part in riding. `others` are lists of a kind
    that is not known here.
    """

    words: tuple[str, ...] = ()
    objects: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    settings: dict[str, str] = {}
    sizes: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    numbers: tuple[str, ...] = ()
    riders: tuple[str, ...] = ()
    mounts: tuple[str, ...] = ()
    synonyms: dict[str, str] = {}
    others: dict[str, tuple[str, ...]] = {}

    def every(self) -> tuple[str, ...]:
        """Return all words a prompt may hold, each once; none where the model lists none."""
        return tuple(dict.fromkeys((*self.words, *self.synonyms))) if self.words else ()


@cache
def read_words(folder: Path) -> KnownWords | None:
    """Return the words of a model's folder; `None` where it lists none, or not as words."""
    try:
        told = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    if not isinstance(told, dict):
        return None
    lists = {name: tuple(each) for name, each in told.items() if _is_list(each)}
    tables = {name: each for name, each in told.items() if _is_table(each)}
    known = {name: lists.pop(name) for name in LISTS if name in lists}
    known |= {name: tables.pop(name) for name in TABLES if name in tables}
    others = lists | {name: tuple(each) for name, each in tables.items()}
    return KnownWords(**known, others=others) if known or others else None


def _is_list(each: object) -> bool:
    return isinstance(each, list) and all(isinstance(word, str) for word in each)


def _is_table(each: object) -> bool:
    return isinstance(each, dict) and _is_list([*each, *each.values()])
