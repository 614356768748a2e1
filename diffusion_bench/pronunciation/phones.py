"""The phones a voice model speaks, and what it is told of each.

The names are flite's: ARPAbet in lower case, with `ax` for the unstressed vowel of "sofa" and
`pau` for a pause. The training speech is aligned by flite, whose voices slt, rms, awb and kal16
print these 41 and no others.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Literal

Mark = Literal["", ",", ".", "?", "!"]

MARKS: tuple[Mark, ...] = ("", ",", ".", "?", "!")
PAUSE = "pau"
VOWELS = (
    "aa",
    "ae",
    "ah",
    "ao",
    "aw",
    "ax",
    "ay",
    "eh",
    "er",
    "ey",
    "ih",
    "iy",
    "ow",
    "oy",
    "uh",
    "uw",
)
CONSONANTS = (
    "b", "ch", "d", "dh", "f", "g", "hh", "jh", "k", "l", "m", "n", "ng", "p", "r", "s", "sh",
    "t", "th", "v", "w", "y", "z", "zh",
)  # fmt: skip
# A phone's place here is its index in an embedding: only ever append. 0 pads a batch.
PHONES = ("", PAUSE, *VOWELS, *CONSONANTS)

# Narrower names that other tools print.
_MERGED = {
    "axr": ("er",),
    "dx": ("t",),
    "nx": ("n",),
    "hv": ("hh",),
    "ux": ("uw",),
    "ix": ("ih",),
    "el": ("ax", "l"),
    "em": ("ax", "m"),
    "en": ("ax", "n"),
}
_INDEX = {symbol: index for index, symbol in enumerate(PHONES)}


@dataclass(frozen=True, slots=True)
class Phone:
    """One phone, and where it stands.

    `stress` of a vowel as in CMUdict: 0 none, 1 primary, 2 secondary; 0 of a consonant and a pause.
    `word_start` marks the first phone of a word. `phrase_end` is the mark that ends the phrase the
    phone is in; a pause belongs to the phrase it ends, the first one to the phrase it begins.
    """

    symbol: str
    stress: int = 0
    word_start: bool = False
    phrase_end: Mark = ""

    @property
    def index(self) -> int:
        """Return the place of its symbol in `PHONES`."""
        return _INDEX[self.symbol]

    @property
    def mark_index(self) -> int:
        """Return the place of its phrase's mark in `MARKS`."""
        return MARKS.index(self.phrase_end)


@cache
def phone(symbol: str, stress: int = 0, word_start: bool = False, phrase_end: Mark = "") -> Phone:
    """Return the one `Phone` of these values; there are some hundred, made once each."""
    return Phone(symbol, stress, word_start, phrase_end)


def merge(symbol: str) -> tuple[str, ...]:
    """Return the phones of `PHONES` that stand for a symbol of flite, festival or TIMIT.

    Raises ValueError for a symbol that is none of them.
    """
    merged = _MERGED.get(symbol, (symbol,))
    if merged[0] not in _INDEX or not symbol:
        raise ValueError(f"{symbol!r} is no phone; there are {' '.join(PHONES[1:])}")
    return merged


def read_arpabet(text: str) -> tuple[Phone, ...]:
    """Return the phones of a word written as in CMUdict, "HH AH0 L OW1"; AH0 is `ax`.

    Raises ValueError for what is no phone.
    """
    phones = [found for symbol in text.split() for found in _read_symbol(symbol)]
    if not phones:
        raise ValueError("a word needs at least one phone, as in 'HH AH0 L OW1'")
    return tuple(phones)


def _read_symbol(symbol: str) -> list[Phone]:
    bare = symbol.lower().rstrip("012")
    stress = symbol[len(bare) :]
    if stress == "0" and bare == "ah":
        bare = "ax"
    merged = merge(bare)
    if PAUSE in merged or len(stress) > 1 or (stress and merged[0] not in VOWELS):
        raise ValueError(f"{symbol!r} is no phone of a word; stress is 0, 1 or 2 after a vowel")
    return [phone(one, int(stress or 0) if one in VOWELS else 0) for one in merged]
