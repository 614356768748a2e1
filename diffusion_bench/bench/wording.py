"""A run in words, for whoever watches it."""

from __future__ import annotations


def in_words(seconds: float) -> str:
    """Return a duration as a person says it."""
    if round(seconds) < 60:
        return f"{seconds:.0f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest:02d} s"
    return f"{minutes // 60} h {minutes % 60:02d} min"
