"""What a bundled model does not know in a prompt, said with the nearest words that it does."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

from diffusion_bench.backends.catalog import (
    bundled_words,
    find_model,
    said_words,
    unknown_words,
)
from diffusion_bench.backends.vocabulary import KnownWords, read_words

MOST_NEAR = 3
LIKENESS = 0.6  # of difflib's ratio, from which a word is near
MOST_OBJECTS = 2
RIDING = "riding"


def known_words(model: str) -> KnownWords | None:
    """Return the words a bundled model was taught, `None` for a model that lists none."""
    return read_words(Path(find_model(model).location))


def nearest_words(model: str, word: str) -> tuple[str, ...]:
    """Return up to three known words spelt like a word, the nearest first."""
    known = known_words(model)
    if known is None:
        return ()
    return tuple(get_close_matches(word.lower(), known.every(), n=MOST_NEAR, cutoff=LIKENESS))


def as_told(model: str, prompt: str) -> str:
    """Return a prompt as a model is told it: of a bundled one's the words it knows, in their order.

    Its tokenizer spells all else, a token a letter: none was taught, and they would push known
    words out at the end. As it is for a model that lists no words.
    """
    known = bundled_words(model)
    return " ".join(word for word in said_words(prompt) if word in known) if known else prompt


def doubts(model: str, prompt: str, negative_prompt: str = "") -> tuple[str, ...]:
    """Return what of a prompt a bundled model will not draw, a sentence each.

    Unknown words of both prompts, each with the nearest known ones; a colour that is no
    background's; more than two objects; riding with others than were taught to. Empty for a model
    that lists no words: it may know any.
    """
    known = known_words(model)
    if known is None:
        return ()
    strangers = _strangers(model, f"{prompt} {negative_prompt}")
    said = said_words(prompt)
    return (
        *strangers,
        *_colours(model, said, known),
        *_many(said, known),
        *_riding(model, said, known),
    )


def _strangers(model: str, prompt: str) -> tuple[str, ...]:
    strange = unknown_words(model, prompt)
    if not strange:
        return ()
    named = []
    for word in strange:
        near = nearest_words(model, word)
        named.append(f"{word} (near: {', '.join(near)})" if near else word)
    return (f"{model} was not trained on: {', '.join(named)}; left out",)


def _colours(model: str, said: Sequence[str], known: KnownWords) -> tuple[str, ...]:
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


def _many(said: Sequence[str], known: KnownWords) -> tuple[str, ...]:
    objects = [word for word in said if known.synonyms.get(word, word) in known.objects]
    if len(objects) <= MOST_OBJECTS:
        return ()
    return (
        f"more than {MOST_OBJECTS} objects in one picture come out mixed: "
        + ", ".join(dict.fromkeys(objects)),
    )


def _riding(model: str, said: Sequence[str], known: KnownWords) -> tuple[str, ...]:
    """Return what rides, or is ridden, that the model was not taught to draw so."""
    if RIDING not in said or not known.riders:
        return ()
    at = said.index(RIDING)
    meant = [known.synonyms.get(word, word) for word in said]
    untaught = [
        said[i]
        for i, word in enumerate(meant)
        if word in known.objects and word not in (known.riders if i < at else known.mounts)
    ]
    if not untaught:
        return ()
    names = ", ".join(dict.fromkeys(untaught))
    return (f"{model} was taught riding with other riders and mounts; not with: {names}",)
