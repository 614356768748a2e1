"""Words beside a model's weights, in the shape of our first image model and in `picturebook`'s."""

from __future__ import annotations

import json
from pathlib import Path

GRAMMAR = ["a", "an", "on", "of", "in", "the", "background"]
SMALL: dict[str, object] = {
    "objects": ["cat", "dog", "orange"],
    "colours": ["red", "orange"],
    "sizes": ["small", "big"],
    "relations": ["left of", "above"],
    "words": [*GRAMMAR, "cat", "dog", "red", "orange", "small", "big", "left", "above"],
}
MEANT = {"kitty": "cat", "kitties": "cat", "cats": "cat", "crimson": "red", "huge": "big"}
LARGE: dict[str, object] = {
    **SMALL,
    "objects": ["cat", "dog", "orange", "horse"],
    "settings": {"mars": "on mars", "sea": "in the sea"},
    "relations": ["left of", "above", "riding"],
    "numbers": ["two", "three"],
    "riders": ["cat", "dog"],
    "mounts": ["horse"],
    "synonyms": MEANT,
    "words": [*SMALL["words"], "horse", "riding", "two", "three", "mars", "sea", *MEANT],  # type: ignore[misc]
}


def save_words(folder: Path, words: object) -> str:
    """Write a model folder that has words and no weights; return its name."""
    folder.mkdir(exist_ok=True)
    (folder / "model_index.json").write_text("{}", encoding="utf-8")
    (folder / "vocabulary.json").write_text(json.dumps(words), encoding="utf-8")
    return str(folder)
