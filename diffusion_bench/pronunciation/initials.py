"""Letters that are named one by one: G P U, B two B, io.

While a text is being normalised, a letter to be named is marked, so that no later rule takes it for
a word; at the end it becomes a capital, and all words are small.
"""

from __future__ import annotations

import re

# From Unicode's private use area; `plain` lets none of it in.
_MARKED = "\ue000"
LETTER = rf"{_MARKED}[a-z]"


def initials(text: str) -> str:
    """Return the letters of a string marked to be named one by one."""
    return " ".join(f"{_MARKED}{letter}" for letter in text.lower())


def unmark(text: str) -> str:
    """Return a text in small letters with its marked letters as capitals."""
    return re.sub(rf"{_MARKED}(.)", lambda match: match[1].upper(), text.lower())
