"""The words the letter-to-sound net learns from, and those kept from it."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator

from diffusion_bench.pronunciation.letter_net import SLOTS
from diffusion_bench.pronunciation.lexicon import symbols, words

MAX_LETTERS = 20
HELD_OUT_OF = 20  # one word in twenty is held out
_VOWEL_LETTERS = set("aeiouy")

Ways = dict[str, tuple[tuple[str, ...], ...]]


def spoken_words() -> Ways:
    """Return the words of plain letters that are said as words, with each way to say them.

    Left out are initialisms: words without a vowel letter, or of more symbols than slots.
    """
    ways: dict[str, list[tuple[str, ...]]] = {}
    for entry in words():
        word = entry.partition("(")[0]
        plain = word.isascii() and word.isalpha() and 2 <= len(word) <= MAX_LETTERS
        if plain and _VOWEL_LETTERS & set(word) and len(symbols(entry)) <= SLOTS * len(word):
            ways.setdefault(word, []).append(symbols(entry))
    return {word: tuple(said) for word, said in ways.items()}


def is_held_out(word: str) -> bool:
    """Return whether a word is kept from training: by a digest, so it never depends on order."""
    return hashlib.sha256(word.encode()).digest()[0] % HELD_OUT_OF == 0


def batches(chosen: Iterable[str], size: int, shuffle: random.Random | None) -> Iterator[list[str]]:
    """Yield batches of words of one length each, in random order or by length."""
    lengths: dict[int, list[str]] = {}
    for word in chosen:
        lengths.setdefault(len(word), []).append(word)
    if shuffle:
        for group in lengths.values():
            shuffle.shuffle(group)
    cut = [g[i : i + size] for g in lengths.values() for i in range(0, len(g), size)]
    if shuffle:
        shuffle.shuffle(cut)
    yield from cut
