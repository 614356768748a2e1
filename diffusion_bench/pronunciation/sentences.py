"""Long texts in chunks that a voice model can take: whole sentences, else clauses, else words."""

from __future__ import annotations

import re
from enum import IntEnum
from itertools import pairwise

from diffusion_bench.pronunciation.abbreviations import is_sentence_end
from diffusion_bench.pronunciation.marks import (
    CLAUSE_ENDS,
    CLOSING,
    CLOSING_QUOTES,
    cut,
    phrases,
    spoken_chars,
)

MAX_CHARS = 280
SOON_CHARS, LONG_CHARS = 90, 160  # of a first chunk; a text that is shorter is said in one
LEAST_MAX_CHARS = 20
# Below this a chunk is joined to a neighbour: a model says single words badly.
SHORT_CHARS = 40

_PARAGRAPH = re.compile(r"\n\s*\n")


class _Break(IntEnum):
    """How good a place after a word is to cut."""

    NEVER = 0
    WORD = 1
    CLAUSE = 2
    SENTENCE = 3


_Word = tuple[str, _Break]  # a word with its marks and the space after it, and the place there


def split_text(text: str, max_chars: int = MAX_CHARS) -> tuple[str, ...]:
    """Return a text in chunks of at most `max_chars`, white space single, no word lost.

    Cuts are at ends of sentences, then of clauses, then between words; never inside a number, an
    abbreviation, an address or "Dr. Smith", unless that alone is longer than a chunk. Short
    neighbours are joined. A wide character, as of Chinese, counts as the letters of English that
    take as long to say. A chunk without a letter or digit is left out. A heading, or another
    paragraph before the last that ends in no mark, gets a full stop. Raises ValueError for
    `max_chars` under 20.
    """
    return tuple(chunk.rstrip() for chunk in _chunks(text, max_chars))


def split_to_hear(text: str, max_chars: int = MAX_CHARS) -> tuple[str, ...]:
    """Return a text as `split_text` does, a long one's first chunk short, to be heard soon.

    Who listens waits for the first chunk only, and the shorter it is the sooner it is made.
    """
    chunks = split_text(text, max_chars)
    if not chunks or spoken_chars(chunks[0]) < LONG_CHARS:
        return chunks
    first, *rest = _chunks(chunks[0], min(SOON_CHARS, max_chars))
    return (first.rstrip(), "".join(rest).rstrip(), *chunks[1:]) if rest else chunks


def _chunks(text: str, max_chars: int) -> list[str]:
    """Return the chunks, each with the space that was after it."""
    if max_chars < LEAST_MAX_CHARS:
        raise ValueError(f"max_chars is {max_chars}; the least is {LEAST_MAX_CHARS}")
    pieces = _fit(_words(text, max_chars), _Break.SENTENCE, max_chars)
    chunks = [_joined(piece) for piece in pieces]
    return [chunk for chunk in _merged(chunks, max_chars) if any(map(str.isalnum, chunk))]


def _words(text: str, max_chars: int) -> list[_Word]:
    """Return the words of a text with the place after each; a word too long for a chunk is cut."""
    words: list[_Word] = []
    *before, last = _PARAGRAPH.split(text)
    for paragraph in (*map(_ended, before), last):
        tokens = [part for token in paragraph.split() for part in _cut(token, max_chars)]
        words += [(word, _place(word.rstrip(), following)) for word, following in pairwise(tokens)]
        words += [(tokens[-1], _Break.SENTENCE)] if tokens else []
    return words


def _ended(paragraph: str) -> str:
    """Return a paragraph with a mark at its end, without which it would run on into the next."""
    end = paragraph.rstrip().rstrip(CLOSING)[-1:]
    if not end.isalnum():
        return paragraph
    return f"{paragraph.rstrip()}{'。' if spoken_chars(end) > 1 else '.'}"


def _cut(token: str, max_chars: int) -> list[str]:
    """Return the phrases of a token, cut where they are too long, and a space after the last."""
    parts = [part for phrase in phrases(token) for part in cut(phrase, max_chars)]
    return [*parts[:-1], f"{parts[-1]} "]


def _place(word: str, following: str) -> _Break:
    if is_sentence_end(word, following):
        return _Break.SENTENCE
    bare = word.rstrip(CLOSING_QUOTES)
    latin = bare.lower() in ("e.g.,", "i.e.,")
    if (bare.endswith(CLAUSE_ENDS) and not latin) or following.rstrip() in ("-", "–", "—"):
        return _Break.CLAUSE
    # "Dr. Smith", "5 km", "Chapter 4", "25 November"
    together = bare.endswith((".", ".,")) or word[-1].isdigit() or following[0].isdigit()
    return _Break.NEVER if together else _Break.WORD


def _fit(words: list[_Word], level: _Break, max_chars: int) -> list[list[_Word]]:
    """Return words in pieces that fit, cut at places of a level, and of lower ones where needed."""
    fitting: list[list[_Word]] = []
    for piece in _pieces(words, level):
        if _size(_joined(piece)) <= max_chars:
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
    texts = [_joined(piece) for piece in pieces]
    total = _size("".join(texts))
    target = total / -(-total // max_chars)
    chunks: list[list[_Word]] = []
    so_far = ""
    for piece, text in zip(pieces, texts, strict=True):
        if not chunks or _size(so_far + text) > max_chars or _size(so_far) >= target:
            chunks.append([])
            so_far = ""
        chunks[-1].extend(piece)
        so_far += text
    return chunks


def _joined(words: list[_Word]) -> str:
    return "".join(word for word, _ in words)


def _size(text: str) -> float:
    """Return how long a text is without the space after it."""
    return spoken_chars(text.rstrip())


def _merged(chunks: list[str], max_chars: int) -> list[str]:
    """Return chunks with short ones joined to the one before, or else to the one after."""
    merged: list[str] = []
    for chunk in chunks:
        short = merged and min(_size(chunk), _size(merged[-1])) < SHORT_CHARS
        if short and _size(merged[-1] + chunk) <= max_chars:
            merged[-1] += chunk
        else:
            merged.append(chunk)
    return merged
