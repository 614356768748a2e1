"""What a bundled model does not know in a prompt, said with the nearest words that it does."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from functools import cache
from itertools import pairwise
from pathlib import Path

from diffusion_bench.backends.catalog import (
    bundled_words,
    find_model,
    said_words,
    unknown_words,
)
from diffusion_bench.backends.readings import readings_for
from diffusion_bench.backends.vocabulary import KnownWords, read_words

MOST_NEAR = 3
MOST_LOOKED_AT = 12  # a plural, or a synonym, beside its word tells nothing more
LIKENESS = 0.6  # of difflib's ratio, from which a word is near
MOST_OBJECTS = 2
RIDING, OF, BACKGROUND = "riding", "of", "background"
PLACES = ("on", "in", "at")  # lead to backgrounds and settings, and to no object
NOTHING_LEFT = "no word of the prompt is left: what comes is by chance"
END = ""  # of a prompt, which is no word


def known_words(model: str) -> KnownWords | None:
    """Return the words a bundled model was taught, `None` for a model that lists none."""
    return read_words(Path(find_model(model).location))


def nearest_words(model: str, word: str) -> tuple[str, ...]:
    """Return up to three known words spelt like a word, the nearest first; of one meaning one."""
    known = known_words(model)
    if known is None:
        return ()
    readings = readings_for(bundled_words(model))
    every = (*known.every(), *(each for each in readings if " " not in each))
    near = get_close_matches(word.lower(), every, n=MOST_LOOKED_AT, cutoff=LIKENESS)
    nearest: dict[str, str] = {}
    for each in near:
        nearest.setdefault(known.synonyms.get(each, readings.get(each, each)), each)
    return tuple(nearest.values())[:MOST_NEAR]


def as_told(model: str, prompt: str) -> str:
    """Return a prompt as a model is told it: of a bundled one's the words it knows, in their order.

    Its tokenizer spells all else, a token a letter: none was taught, and they would push known
    words out at the end. With an unknown noun goes what only leads to it ("a photo of", "and a
    zebu"): a model that was taught whole captions draws something torn for the rest of one. As it
    is for a model that lists no words.
    """
    known = known_words(model)
    if known is None or not known.words:
        return prompt
    every, leading = bundled_words(model), _leading_words(model)
    told: list[str] = []
    is_after_gap = False
    for word in [*said_words(model, prompt), END]:
        if word != END and word not in every:
            is_after_gap = True
            continue
        if is_after_gap and (word == END or word in leading):
            while told and told[-1] in leading:
                told.pop()
        is_after_gap = False
        if word == OF and leading and f"{''.join(told[-1:])} {OF}" not in known.relations:
            continue
        told.append(word)
    return " ".join(told[:-1])


@cache
def _leading_words(model: str) -> frozenset[str]:
    """Return the words that lead to a noun, none where a model does not tell which are nouns."""
    known = known_words(model)
    if known is None or not known.objects:
        return frozenset()
    ends = {*known.objects, *known.colours, *known.settings, BACKGROUND}
    return frozenset(w for w in known.every() if known.synonyms.get(w, w) not in ends)


def doubts(model: str, prompt: str, negative_prompt: str = "") -> tuple[str, ...]:
    """Return what of a prompt a bundled model will not draw, a sentence each.

    Unknown words of both prompts, each with the nearest known ones; that no word is left; a colour
    that is no background's; more than two objects; one object on or in another; riding with others
    than were taught to. Empty for a model that lists no words: it may know any.
    """
    known = known_words(model)
    if known is None:
        return ()
    strangers = _strangers(model, f"{prompt} {negative_prompt}")
    said = list(said_words(model, prompt))
    meant = [known.synonyms.get(word, word) for word in said]
    is_empty = prompt.strip() and not as_told(model, prompt)
    return (
        *strangers,
        *((NOTHING_LEFT,) if is_empty and known.words else ()),
        *_colours(model, said, meant, known),
        *_many(said, meant, known),
        *_inside(model, said, meant, known),
        *_riding(model, said, meant, known),
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


def _colours(
    model: str, said: Sequence[str], meant: Sequence[str], known: KnownWords
) -> tuple[str, ...]:
    lost = [
        word
        for at, word in enumerate(said)
        if meant[at] in known.colours
        and meant[at] not in known.objects
        and said[at + 1 : at + 2] != [BACKGROUND]
    ]
    if not lost:
        return ()
    names = ", ".join(dict.fromkeys(lost))
    return (f"{model} has colours for backgrounds only, as in 'on a red background': {names}",)


def _many(said: Sequence[str], meant: Sequence[str], known: KnownWords) -> tuple[str, ...]:
    objects = [word for word, means in zip(said, meant, strict=True) if means in known.objects]
    if len(objects) <= MOST_OBJECTS:
        return ()
    return (
        f"more than {MOST_OBJECTS} objects in one picture come out mixed: "
        + ", ".join(dict.fromkeys(objects)),
    )


def _inside(
    model: str, said: Sequence[str], meant: Sequence[str], known: KnownWords
) -> tuple[str, ...]:
    """Return what is said to be on or in another object, where other relations were taught."""
    at = [i for i, word in enumerate(meant) if word in known.objects and word not in known.settings]
    parted = {*known.colours, *known.settings, BACKGROUND}
    mixed = [
        " ".join(said[first : second + 1])
        for first, second in pairwise(at)
        if set(PLACES) & set(between := meant[first + 1 : second]) and not parted & set(between)
    ]
    if not mixed or not known.relations:
        return ()
    taught = ", ".join(known.relations)
    return (f"{model} puts objects {taught}; others come out mixed: {', '.join(mixed)}",)


def _riding(
    model: str, said: Sequence[str], meant: Sequence[str], known: KnownWords
) -> tuple[str, ...]:
    """Return what rides, or is ridden, that the model was not taught to draw so."""
    if RIDING not in said or not known.riders:
        return ()
    at = said.index(RIDING)
    untaught = [
        said[i]
        for i, word in enumerate(meant)
        if word in known.objects and word not in (known.riders if i < at else known.mounts)
    ]
    if not untaught:
        return ()
    names = ", ".join(dict.fromkeys(untaught))
    return (f"{model} was taught riding with other riders and mounts; not with: {names}",)
