"""Long texts in chunks that a voice model can take: whole sentences, else clauses, else words."""

from __future__ import annotations

import re
from enum import IntEnum
from itertools import pairwise

from diffusion_bench.pronunciation.abbreviations import is_sentence_end

MAX_CHARS = 280
SOON_CHARS, LONG_CHARS = 90, 160  # of a first chunk; a text that is shorter is said in one
LEAST_MAX_CHARS = 20
# Below this a chunk is joined to a neighbour: a model says single words badly.
SHORT_CHARS = 40

_PARAGRAPH = re.compile(r"\n\s*\n")
_CLAUSE_ENDS = (",", ";", ":", "—", "–", ")", "]")


class _Break(IntEnum):
    """How good a place after a word is to cut."""

    NEVER = 0
    WORD = 1
    CLAUSE = 2
    SENTENCE = 3


_Word = tuple[str, _Break]  # a word with its marks, and the place after it


def split_text(text: str, max_chars: int = MAX_CHARS) -> tuple[str, ...]:
    """Return a text in chunks of at most `max_chars`, white space single, no word lost.

    Cuts are at ends of sentences, then of clauses, then between words; never inside a number, an
    abbreviation, an address or "Dr. Smith", unless that alone is longer than a chunk. Short
    neighbours are joined. A chunk without a letter or digit is left out. Raises ValueError for
    `max_chars` under 20.
    """
    if max_chars < LEAST_MAX_CHARS:
        raise ValueError(f"max_chars is {max_chars}; the least is {LEAST_MAX_CHARS}")
    pieces = _fit(_words(text, max_chars), _Break.SENTENCE, max_chars)
    chunks = [_joined(piece) for piece in pieces]
    return tuple(chunk for chunk in _merged(chunks, max_chars) if any(map(str.isalnum, chunk)))


def split_to_hear(text: str, max_chars: int = MAX_CHARS) -> tuple[str, ...]:
    """Return a text as `split_text` does, a long one's first chunk short, to be heard soon.

    Who listens waits for the first chunk only, and the shorter it is the sooner it is made.
    """
    chunks = split_text(text, max_chars)
    if not chunks or len(chunks[0]) < LONG_CHARS:
        return chunks
    first, *rest = split_text(chunks[0], min(SOON_CHARS, max_chars))
    return (first, " ".join(rest), *chunks[1:]) if rest else chunks


def _words(text: str, max_chars: int) -> list[_Word]:
    """Return the words of a text with the place after each; a word too long for a chunk is cut."""
    words: list[_Word] = []
    for paragraph in _PARAGRAPH.split(text):
        tokens = [part for token in paragraph.split() for part in _cut(token, max_chars)]
        words += [(word, _place(word, following)) for word, following in pairwise(tokens)]
        words += [(tokens[-1], _Break.SENTENCE)] if tokens else []
    return words


def _cut(token: str, max_chars: int) -> list[str]:
    return [token[start : start + max_chars] for start in range(0, len(token), max_chars)]


def _place(word: str, following: str) -> _Break:
    if is_sentence_end(word, following):
        return _Break.SENTENCE
    bare = word.rstrip("\"'”’»")
    latin = bare.lower() in ("e.g.,", "i.e.,")
    if (bare.endswith(_CLAUSE_ENDS) and not latin) or following in ("-", "–", "—"):
        return _Break.CLAUSE
    # "Dr. Smith", "5 km", "Chapter 4", "25 November"
    together = bare.endswith((".", ".,")) or word[-1].isdigit() or following[0].isdigit()
    return _Break.NEVER if together else _Break.WORD


def _fit(words: list[_Word], level: _Break, max_chars: int) -> list[list[_Word]]:
    """Return words in pieces that fit, cut at places of a level, and of lower ones where needed."""
    fitting: list[list[_Word]] = []
    for piece in _pieces(words, level):
        if len(_joined(piece)) <= max_chars:
            fitting.append(piece)
        elif level > _Break.NEVER:
            fitting += _packed(_fit(piece, _Break(level - 1), max_chars), max_chars)
        else:
            fitting += [[word] for word in piece]
    return fitting


def _pieces(words: list[_Word], level: _Break) -> list[list[_Word]]:
    pieces: list[list[_Word]] = [[]]
    for word in words:
        pieces[-1].append(word)
        if word[1] >= level:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _packed(pieces: list[list[_Word]], max_chars: int) -> list[list[_Word]]:
    """Return the pieces of one sentence joined into few chunks of about one length."""
    lengths = [len(_joined(piece)) for piece in pieces]
    total = sum(lengths) + len(lengths) - 1
    target = total / -(-total // max_chars)
    chunks: list[list[_Word]] = []
    size = max_chars + 1
    for piece, length in zip(pieces, lengths, strict=True):
        if size + 1 + length > max_chars or size >= target:
            chunks.append([])
            size = -1
        chunks[-1].extend(piece)
        size += 1 + length
    return chunks


def _joined(words: list[_Word]) -> str:
    return " ".join(word for word, _ in words)


def _merged(chunks: list[str], max_chars: int) -> list[str]:
    """Return chunks with short ones joined to the one before, or else to the one after."""
    merged: list[str] = []
    for chunk in chunks:
        joined = f"{merged[-1]} {chunk}" if merged else ""
        short = merged and min(len(chunk), len(merged[-1])) < SHORT_CHARS
        if short and len(joined) <= max_chars:
            merged[-1] = joined
        else:
            merged.append(chunk)
    return merged
