"""What the bundled scorer sees in a picture, and whether it is what the caption asked for."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import torch
from PIL import Image
from safetensors.torch import load_file
from torch import Tensor

from diffusion_bench.backends.scoring.asked import Asked, words_of
from diffusion_bench.backends.scoring.clip import ClipScorer
from diffusion_bench.records import Record

READER, WORDS = "reader.safetensors", "vocabulary.json"
SURE = 0.5  # an object is there when nothing is less likely than this
APART = 2  # patches between the middles of two objects, at least


class Seen(Record):
    """An object: its word, its middle as shares of the side, and how sure the scorer is."""

    word: str
    x: float
    y: float
    confidence: float


class Sight(Record):
    """What is in a picture, the surest object first."""

    objects: tuple[Seen, ...]
    background: str


class Verdict(Record):
    """Whether a picture shows what was asked; `None` where nothing of the kind was.

    `relation` is right only where both objects are. `count` is judged where one kind of object was
    asked for, a single one included.
    """

    objects: bool
    relation: bool | None = None
    count: bool | None = None
    background: bool | None = None


def can_see(scorer: ClipScorer) -> bool:
    """Return whether a scorer has a reader, and the words that it reads, beside its encoders."""
    return all((scorer.folder / name).is_file() for name in (READER, WORDS))


def see(scorer: ClipScorer, images: Sequence[Image.Image]) -> tuple[Sight, ...]:
    """Return what the bundled scorer, or another that has a reader, sees in each picture.

    Raises ValueError for a scorer that `can_see` is not true of.
    """
    if not can_see(scorer):
        raise ValueError(f"the scorer {scorer.name!r} has no reader of objects and backgrounds")
    states = scorer.states(images)
    reader = _reader(scorer.folder)
    patches = _linear(states[:, 1:], reader, "objects").softmax(dim=-1)
    behind = _linear(states[:, 0], reader, "backgrounds").argmax(dim=-1)
    words = words_of(scorer.folder / WORDS)
    names = (*words.colours, *words.settings)
    return tuple(
        Sight(objects=_objects(patch, words.objects), background=names[int(background)])
        for patch, background in zip(patches, behind, strict=True)
    )


def judge(asked: Asked, sight: Sight) -> Verdict:
    """Return whether what is seen is what was asked."""
    many = len(asked.objects) * asked.count
    surest = sight.objects[:many]
    seen = sorted(found.word for found in surest)
    right = (
        seen == sorted(asked.objects * asked.count)
        if asked.count == 1
        else (bool(seen) and set(seen) == set(asked.objects))
    )
    certain = [found for found in sight.objects if found.confidence >= SURE]
    return Verdict(
        objects=right,
        relation=None if asked.relation is None else right and _stands(asked, surest),
        count=len(certain) == asked.count if len(asked.objects) == 1 else None,
        background=None if asked.background is None else sight.background == asked.background,
    )


def _stands(asked: Asked, seen: Sequence[Seen]) -> bool:
    first = next(found for found in seen if found.word == asked.objects[0])
    second = next(found for found in reversed(seen) if found.word == asked.objects[1])
    dx, dy = second.x - first.x, second.y - first.y
    return {
        "left of": dx > abs(dy),
        "right of": -dx > abs(dy),
        "above": dy > abs(dx),
        "below": -dy > abs(dx),
        "riding": dy > abs(dx),
    }[asked.relation or "above"]


def _objects(patches: Tensor, words: Sequence[str]) -> tuple[Seen, ...]:
    """Return the objects of one picture's patches, (64, 1 + words), the surest first.

    Of patches nearer than APART the surest counts: an object's middle may fall between two. At
    least one object is told, however unsure.
    """
    side = round(len(patches) ** 0.5)
    there = 1 - patches[:, 0]
    found: list[Seen] = []
    for index in there.argsort(descending=True).tolist():
        row, column = divmod(index, side)
        middle = ((column + 1) / side, (row + 1) / side)
        if found and float(there[index]) < 0.1:
            break
        if any(
            max(abs(middle[0] - other.x), abs(middle[1] - other.y)) * side < APART
            for other in found
        ):
            continue
        word = words[int(patches[index, 1:].argmax())]
        found.append(Seen(word=word, x=middle[0], y=middle[1], confidence=float(there[index])))
    return tuple(found)


def _linear(states: Tensor, weights: dict[str, Tensor], name: str) -> Tensor:
    return torch.nn.functional.linear(
        states, weights[f"{name}.weight"].float(), weights[f"{name}.bias"].float()
    )


@cache
def _reader(folder: Path) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = load_file(folder / READER)
    return weights
