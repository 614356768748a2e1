"""From any English text to phones.

text > normalise > words, letters and marks > lexicons, rules, letter-to-sound net > phones
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence

from diffusion_bench.pronunciation.heteronyms import way_of
from diffusion_bench.pronunciation.letters import spell
from diffusion_bench.pronunciation.lexicon import look_up
from diffusion_bench.pronunciation.normalise import normalise
from diffusion_bench.pronunciation.phones import PAUSE, Mark, Phone, phone
from diffusion_bench.pronunciation.supplement import lightly, supplement
from diffusion_bench.pronunciation.words import add_s, pronounce, starts_with_vowel

NOTHING_TO_SAY = "the text has no English word to say; write some, as in 'Hello there.'"

_TOKEN = re.compile(r"[A-Z](?:'s)?|[a-z']*[a-z][a-z']*|[,.?!]")
_MARK: dict[str, Mark] = {",": ",", ".": ".", "?": "?", "!": "!"}
_STRENGTH = {",": 0, ".": 1, "!": 2, "?": 3}


def phonemes(text: str) -> tuple[Phone, ...]:
    """Return the phones of a text, with pauses at both ends and at its marks.

    A text without a mark at its end is taken to end in ".". Raises ValueError when there is nothing
    to say.
    """
    phones: list[Phone] = []
    for words, mark in _phrases(_TOKEN.findall(normalise(text))):
        if not phones:
            phones.append(phone(PAUSE, phrase_end=mark))
        for said in _say(words):
            phones += [phone(p.symbol, p.stress, i == 0, mark) for i, p in enumerate(said)]
        phones.append(phone(PAUSE, phrase_end=mark))
    if not phones:
        raise ValueError(NOTHING_TO_SAY)
    return tuple(phones)


def phones_digest(text: str) -> str | None:
    """Return a digest of a text's phones, which other rules change; `None` with none to say."""
    try:
        said = repr(phonemes(text))
    except ValueError:
        return None
    return f"sha256:{hashlib.sha256(said.encode()).hexdigest()[:16]}"


def is_speakable(text: str) -> bool:
    """Return whether a text holds anything that `phonemes` can say."""
    return any(token not in _MARK for token in _TOKEN.findall(normalise(text)))


def _phrases(tokens: list[str]) -> Iterator[tuple[list[str], Mark]]:
    """Yield the words of each phrase and its mark; of marks in a row the strongest counts."""
    words: list[str] = []
    mark: Mark = ""
    for token in tokens:
        if token in _MARK:
            if words and (not mark or _STRENGTH[token] > _STRENGTH[mark]):
                mark = _MARK[token]
            continue
        if mark:
            yield words, mark
            words, mark = [], ""
        words.append(token)
    if words:
        yield words, mark or "."


def _say(words: Sequence[str]) -> list[tuple[Phone, ...]]:
    """Return the phones of each word of a phrase, from the last to the first and back in order.

    What follows decides between "dh ax" and "dh iy".
    """
    said: list[tuple[Phone, ...]] = []
    for place in reversed(range(len(words))):
        following = said[-1] if said else None
        said.append(_say_word(words, place, following))
    return said[::-1]


def _say_word(
    words: Sequence[str], place: int, following: tuple[Phone, ...] | None
) -> tuple[Phone, ...]:
    word = words[place]
    if word[0].isupper():
        name = spell(word[0].lower())
        return add_s(name) if len(word) > 1 else name
    # The last word of a phrase is said in full: "What is it for?"
    if following is not None:
        light = lightly(word, starts_with_vowel(following))
        if light:
            return light
    way, takes_s = way_of(words, place)
    said = None if way == word else supplement(way) or look_up(way)
    if said is None:
        return pronounce(word)
    return add_s(said) if takes_s else said
