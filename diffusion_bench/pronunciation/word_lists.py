"""Lists of words written as one string."""

from __future__ import annotations


def word_list(text: str) -> tuple[str, ...]:
    """Return the words of a string in order."""
    return tuple(text.split())


def word_set(text: str) -> frozenset[str]:
    """Return the words of a string, to look others up in."""
    return frozenset(text.split())
