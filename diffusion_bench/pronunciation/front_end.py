"""From any English text to phones.

text > normalise > words, letters and marks > lexicon, rules, letter-to-sound net > phones
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from diffusion_bench.pronunciation.lexicon import look_up
from diffusion_bench.pronunciation.normalise import normalise
from diffusion_bench.pronunciation.phones import PAUSE, Mark, Phone, phone

NOTHING_TO_SAY = "the text has no word to say; write some, as in 'Hello there.'"

_TOKEN = re.compile(r"[a-z']*[a-z][a-z']*|[A-Z]|[,.?!]")
_MARK: dict[str, Mark] = {",": ",", ".": ".", "?": "?", "!": "!"}
_STRENGTH = {",": 0, ".": 1, "!": 2, "?": 3}


def phonemes(text: str) -> tuple[Phone, ...]:
    """Return the phones of a text, pauses at both its ends and where it has marks.

    A text without a mark at its end is taken to end in ".". Raises ValueError when there is
    nothing to say.
    """
    phones: list[Phone] = []
    for words, mark in _phrases(_TOKEN.findall(normalise(text))):
        if not phones:
            phones.append(phone(PAUSE, phrase_end=mark))
        for word in words:
            phones += _placed(_say(word), mark)
        phones.append(phone(PAUSE, phrase_end=mark))
    if not phones:
        raise ValueError(NOTHING_TO_SAY)
    return tuple(phones)


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


def _say(word: str) -> tuple[Phone, ...]:
    known = look_up(word)
    if known is not None:
        return known
    return tuple(p for letter in word for p in look_up(f"{letter}.") or ())


def _placed(phones: tuple[Phone, ...], mark: Mark) -> Iterator[Phone]:
    """Yield a word's phones with its start and its phrase's mark."""
    for place, one in enumerate(phones):
        yield phone(one.symbol, one.stress, place == 0, mark)
