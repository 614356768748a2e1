"""From written to spoken English: only words, letters to be named, and the marks `, . ? !`."""

from __future__ import annotations

import re

_MARKS = str.maketrans({";": ",", ":": ",", "…": ".", "—": ",", "–": ",", "’": "'", "‘": "'"})


def normalise(text: str) -> str:
    """Return the words to say in lower case, a letter to be named as a capital, and marks."""
    return re.sub(r"[^a-z',.?!\s-]", " ", text.translate(_MARKS).lower())
