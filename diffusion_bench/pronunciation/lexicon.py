"""Words and their pronunciations: CMUdict, packed beside this file (see cmudict.md)."""

from __future__ import annotations

import lzma
from collections.abc import Iterable, Mapping
from functools import cache, lru_cache
from importlib import resources

from diffusion_bench.pronunciation.phones import CONSONANTS, VOWELS, Phone, read_arpabet

_FILE = "cmudict.xz"
_FIRST = ord("0")
# CMUdict's 69 symbols in a fixed order; the packed file holds one character for each.
SYMBOLS = tuple(f"{vowel}{stress}".upper() for vowel in VOWELS if vowel != "ax" for stress in "012")
SYMBOLS += tuple(consonant.upper() for consonant in CONSONANTS)
_SYMBOL_OF = {chr(_FIRST + index): symbol for index, symbol in enumerate(SYMBOLS)}
_CODE_OF = {symbol: code for code, symbol in _SYMBOL_OF.items()}


def pack(words: Mapping[str, Iterable[str]]) -> bytes:
    """Return words and their CMUdict symbols as the packed file: two columns, each sorted by word.

    The columns apart compress better, and split faster, than lines of both.
    """
    order = sorted(words)
    codes = ("".join(_CODE_OF[symbol] for symbol in words[word]) for word in order)
    columns = "\n".join(order) + "\n\n" + "\n".join(codes)
    return lzma.compress(columns.encode(), preset=9 | lzma.PRESET_EXTREME)


@cache
def _packed() -> dict[str, str]:
    data = resources.files(__package__).joinpath(_FILE).read_bytes()
    words, codes = lzma.decompress(data).decode().split("\n\n")
    return dict(zip(words.split("\n"), codes.split("\n"), strict=True))


def words() -> tuple[str, ...]:
    """Return the lexicon's words in lower case, sorted; "read(2)" is a second way to say "read"."""
    return tuple(_packed())


def is_known(word: str) -> bool:
    """Return whether the lexicon has the word itself, in lower case."""
    return word in _packed()


def symbols(word: str) -> tuple[str, ...]:
    """Return a word's CMUdict symbols, "HH AH0 L OW1"; KeyError for a word that is not in it."""
    return tuple(_SYMBOL_OF[code] for code in _packed()[word])


@lru_cache(maxsize=50_000)
def look_up(word: str) -> tuple[Phone, ...] | None:
    """Return the phones of a lower-case word as the lexicon has it, or `None`."""
    return read_arpabet(" ".join(symbols(word))) if is_known(word) else None
