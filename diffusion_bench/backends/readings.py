"""What people write for the words of a bundled model: "3", "rides", "ice cream", "next to".

Unlike a synonym, which is a token of the model's own, a reading is text: it takes the place of what
was written before the model is told anything, and may be a phrase.
"""

from __future__ import annotations

import tomllib
from collections.abc import Sequence
from functools import cache
from pathlib import Path


@cache
def readings_for(words: frozenset[str]) -> dict[str, str]:
    """Return what is read as other words, of which a model that knows `words` has all."""
    tables = tomllib.loads(Path(__file__).with_suffix(".toml").read_text(encoding="utf-8"))
    plurals = {f"{phrase}s": meant for phrase, meant in tables["objects"].items()}
    readings = plurals | tables["objects"] | tables["others"]
    return {
        phrase: meant
        for phrase, meant in readings.items()
        if phrase not in words and words.issuperset(meant.split())
    }


def read(said: Sequence[str], words: frozenset[str]) -> list[str]:
    """Return the words of a prompt with readings in the place of what they stand for."""
    readings, lengths = readings_for(words), _lengths(words)
    meant: list[str] = []
    at = 0
    while at < len(said):
        for length in lengths:
            reading = readings.get(" ".join(said[at : at + length]))
            if reading is not None:
                meant += reading.split()
                at += length
                break
        else:
            meant.append(said[at])
            at += 1
    return meant


@cache
def _lengths(words: frozenset[str]) -> tuple[int, ...]:
    """Return of how many words readings are for a model, the most first."""
    return tuple(sorted({len(each.split()) for each in readings_for(words)}, reverse=True))
