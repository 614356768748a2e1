"""What a bundled model does not know in a prompt, said with the nearest words that it does."""

from __future__ import annotations

import json
import re
from difflib import get_close_matches
from functools import cache
from pathlib import Path

from diffusion_bench.backends.catalog import find_model, unknown_words
from diffusion_bench.records import Record

MOST_NEAR = 3
LIKENESS = 0.6  # of difflib's ratio, from which a word is near
MOST_OBJECTS = 2


class KnownWords(Record):
    """The words of a bundled model, by kind; `words` are all of them."""

    words: tuple[str, ...]
    objects: tuple[str, ...] = ()
    colours: tuple[str, ...] = ()
    synonyms: dict[str, str] = {}


def known_words(model: str) -> KnownWords | None:
    """Return the words a bundled model was taught, `None` for a model that lists none."""
    path = Path(find_model(model).location) / "vocabulary.json"
    return _read(path) if path.is_file() else None


@cache
def _read(path: Path) -> KnownWords:
    told = json.loads(path.read_text(encoding="utf-8"))
    return KnownWords(**{name: told[name] for name in KnownWords.model_fields if name in told})


def nearest_words(model: str, word: str) -> tuple[str, ...]:
    """Return up to three known words spelt like a word, the nearest first."""
    known = known_words(model)
    if known is None:
        return ()
    return tuple(get_close_matches(word.lower(), known.words, n=MOST_NEAR, cutoff=LIKENESS))


def doubts(model: str, prompt: str, negative_prompt: str = "") -> tuple[str, ...]:
    """Return what of a prompt a bundled model will not draw, a sentence each.

    Unknown words of both prompts, each with the nearest known ones; a colour that is no
    background's; more than two objects. Empty for a model that lists no words: it may know any.
    """
    known = known_words(model)
    if known is None:
        return ()
    strangers = _strangers(model, f"{prompt} {negative_prompt}")
    return (*strangers, *_colours(model, prompt, known), *_many(prompt, known))


def _strangers(model: str, prompt: str) -> tuple[str, ...]:
    strange = unknown_words(model, prompt)
    if not strange:
        return ()
    named = []
    for word in strange:
        near = nearest_words(model, word)
        named.append(f"{word} (near: {', '.join(near)})" if near else word)
    return (f"{model} was not trained on: {', '.join(named)}",)


def _colours(model: str, prompt: str, known: KnownWords) -> tuple[str, ...]:
    said = re.findall(r"[^\W_]+", prompt.lower())
    meant = [known.synonyms.get(word, word) for word in said]
    lost = [
        word
        for at, word in enumerate(said)
        if meant[at] in known.colours
        and meant[at] not in known.objects
        and said[at + 1 : at + 2] != ["background"]
    ]
    if not lost:
        return ()
    names = ", ".join(dict.fromkeys(lost))
    return (f"{model} has colours for backgrounds only, as in 'on a red background': {names}",)


def _many(prompt: str, known: KnownWords) -> tuple[str, ...]:
    said = re.findall(r"[^\W_]+", prompt.lower())
    objects = [word for word in said if known.synonyms.get(word, word) in known.objects]
    if len(objects) <= MOST_OBJECTS:
        return ()
    return (
        f"more than {MOST_OBJECTS} objects in one picture come out mixed: {', '.join(objects)}",
    )
