"""Marks that end sentences and clauses, Latin and wide, and how long a text is to say.

Chinese and Japanese have wide marks, and no spaces after them nor between words.
"""

from __future__ import annotations

import re
from itertools import pairwise

SENTENCE_ENDS = (".", "!", "?", "…")
WIDE_SENTENCE_ENDS = tuple("。！？；．｡")
CLAUSE_ENDS = (",", ";", ":", "—", "–", ")", "]", *"，、：")
CLOSING_QUOTES = "\"'”’»」』"
CLOSING = f"{CLOSING_QUOTES})]）》】〉〕"  # may follow the mark that ends a sentence
# A wide character is a syllable: 0.21 s of speech, where a letter of English lasts 0.08 s.
WIDE_CHARS = 2.6
_WIDE = "\u2e80-\u9fff\uac00-\ud7a3\uf900-\ufaff\uff00-\uffef\U00020000-\U0003ffff"
_WIDE_CHAR = re.compile(f"[{_WIDE}]")
# What is not to be cut: a character that is a word, else a word or number, 10：30 as well.
_ATOM = re.compile(rf"[^{_WIDE}]+(?:(?<=\d)[，、：．](?=\d)[^{_WIDE}]+)*|[{_WIDE}]")
# Between digits a mark is of a time or a number.
# Narrow marks end a phrase of wide characters where more of them follow; many write so.
_WIDE_END = re.compile(
    rf"(?:[。！？；｡]|(?<!\d)[，、：．]|[，、：．](?!\d))+[.!?…]*[{re.escape(CLOSING)}]*"
    rf"|(?<=[{_WIDE}{CLOSING_QUOTES}])[.!?,;:…—]+[{re.escape(CLOSING)}]*(?=[“‘]?[{_WIDE}])"
)


def spoken_chars(text: str) -> float:
    """Return how many characters of English take as long to say as a text does."""
    if text.isascii():
        return len(text)
    return len(text) + (WIDE_CHARS - 1) * len(_WIDE_CHAR.findall(text))


def phrases(token: str) -> list[str]:
    """Return the parts of a token without spaces that end in marks of Chinese; mostly it is one."""
    ends = [] if token.isascii() else [match.end() for match in _WIDE_END.finditer(token)]
    places = [0, *ends, len(token)]
    return [token[start:stop] for start, stop in pairwise(places) if stop > start]


def cut(phrase: str, max_chars: int) -> list[str]:
    """Return a phrase whole where it fits, else its words, those too long cut to `max_chars`."""
    if spoken_chars(phrase) <= max_chars:
        return [phrase]
    words = _ATOM.findall(phrase)
    return [
        word[start : start + max_chars]
        for word in words
        for start in range(0, len(word), max_chars)
    ]
