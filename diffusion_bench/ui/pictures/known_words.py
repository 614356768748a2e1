"""The words that a bundled model knows, to browse and to choose from."""

from __future__ import annotations

import re
from collections.abc import Collection

from diffusion_bench.backends.catalog import UnknownModel, bundled_words
from diffusion_bench.backends.vocabulary import KnownWords
from diffusion_bench.backends.words import doubts, known_words

GROUPS = ("objects", "colours", "settings", "sizes", "relations", "numbers")
HOW = "Type to search; a choice goes to the end of the prompt."


def word_groups(model: str) -> dict[str, tuple[str, ...]]:
    """Return a bundled model's words and phrases by kind: objects, colours and so on.

    A setting is the phrase that says it. Empty for a model that lists none.
    """
    known = _known(model)
    groups = {name: _phrases(known, name) for name in GROUPS} | known.others
    groups = {name: words for name, words in groups.items() if words}
    return groups or ({"words": known.words} if known.words else {})


def _phrases(known: KnownWords, name: str) -> tuple[str, ...]:
    """Return the words of a kind as a prompt says them."""
    words = getattr(known, name)
    return tuple(words.values() if isinstance(words, dict) else words)


def _known(model: str) -> KnownWords:
    try:
        return known_words(model) or KnownWords()
    except UnknownModel:
        return KnownWords()


def word_choices(model: str) -> list[tuple[str, str]]:
    """Return the words to choose from, as label and word, those of a kind together."""
    return [
        (f"{word} ({kind.replace('_', ' ')})", word)
        for kind, words in word_groups(model).items()
        for word in words
    ]


def words_info(model: str) -> str:
    """Return how to choose, and how many words are understood that are not on the list."""
    known = _known(model)
    if not known.synonyms:
        return HOW
    # A plural or a spelling would be a dull example: another word altogether, where there is one.
    others = (pair for pair in known.synonyms.items() if pair[0][:2] != pair[1][:2])
    example, meant = next(others, next(iter(known.synonyms.items())))
    return f"{HOW} {len(known.synonyms)} more are read as one of these: {example} as {meant}."


def doubts_line(model: str, prompt: str | None, negative_prompt: str | None) -> str:
    """Return what of the prompts a bundled model will not draw; empty for a half-typed name.

    Nothing is said yet of a last word that a known one may still come of.
    """
    try:
        every = bundled_words(model)
        typed = (without_half_word(each or "", every) for each in (prompt, negative_prompt))
        return ". ".join(doubts(model, *typed))
    except UnknownModel:
        return ""


def without_half_word(prompt: str, every: Collection[str]) -> str:
    """Return a prompt without its last word where that is none of a model's and begins one."""
    *_, last = re.split(r"[\W_]", prompt.lower())
    begins = last and last not in every and any(word.startswith(last) for word in every)
    return prompt[: len(prompt) - len(last)] if begins else prompt


def with_word(prompt: str | None, word: str | None) -> str:
    """Return the prompt with a word put at its end."""
    return " ".join(filter(None, ((prompt or "").rstrip(), word)))
