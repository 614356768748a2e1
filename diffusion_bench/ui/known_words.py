"""The words that a bundled model knows, to browse and to choose from."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path

from diffusion_bench.backends.catalog import UnknownModel, find_model

ALL = "words"  # of the vocabulary's lists: the words of the other lists taken apart


@cache
def word_groups(model: str) -> dict[str, tuple[str, ...]]:
    """Return a bundled model's words and phrases by kind: objects, colours and so on.

    Empty for a model that lists none.
    """
    try:
        path = Path(find_model(model).location) / "vocabulary.json"
    except UnknownModel:
        return {}
    if not path.is_file():
        return {}
    found = json.loads(path.read_text(encoding="utf-8"))
    groups = {name: tuple(map(str, each)) for name, each in found.items() if _is_words(each)}
    if len(groups) > 1:
        groups.pop(ALL, None)
    return groups


def _is_words(each: object) -> bool:
    return isinstance(each, list) and all(isinstance(word, str) for word in each)


def word_choices(model: str) -> list[tuple[str, str]]:
    """Return the words to choose from, as label and word, those of a kind together."""
    return [
        (f"{word} ({kind.replace('_', ' ')})", word)
        for kind, words in word_groups(model).items()
        for word in words
    ]


def with_word(prompt: str | None, word: str | None) -> str:
    """Return the prompt with a word put at its end."""
    return " ".join(filter(None, ((prompt or "").rstrip(), word)))
