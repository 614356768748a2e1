"""How well the bundled model draws what it is told, by matching its pictures to reference drawings.

A picture is matched, by mean squared difference, to every object drawn at its place, in the size
and on the background that were asked for. It counts as right when the nearest drawing shows the
object that was asked for; for pairs, when the nearest drawings of both halves show both, each on
its side. This needs no other network, and is only valid for a model taught on such drawings.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Sequence

import numpy as np

from diffusion_bench.records import Record
from diffusion_bench.training.pictogram.scenes import LATTICE, Placed, Scene, draw_scene
from diffusion_bench.training.pictogram.vocabulary import RELATIONS, load_vocabulary

SIDE = 64


class Score(Record):
    """How often pictures showed what was asked. `failed` counts wrong drawings by object."""

    what: str
    num_pictures: int
    object_share: float
    background_share: float
    failed: dict[str, int]


class Asked(Record):
    """A caption, its background and its objects: one, or two with their sides."""

    caption: str
    colour: str
    words: tuple[str, ...]
    relation: str | None = None
    size: str = "medium"


def ask_singles(colours_per_object: int, *, seed: int, sizes: Sequence[str]) -> list[Asked]:
    """Return every object on some backgrounds, in sizes by turn."""
    words, chance = load_vocabulary(), random.Random(seed)
    size_of = itertools.cycle(sizes)
    asked = []
    for word in words.objects:
        for colour in chance.sample(list(words.colours), colours_per_object):
            size = next(size_of)
            said = word if size == "medium" else f"{size} {word}"
            phrase = f"{words.with_article(said)} on {words.with_article(f'{colour} background')}"
            asked.append(Asked(caption=phrase, colour=colour, words=(word,), size=size))
    return asked


def ask_pairs(count: int, *, seed: int) -> list[Asked]:
    """Return random pairs in random relations."""
    words, chance = load_vocabulary(), random.Random(seed)
    asked = []
    for _ in range(count):
        first, second = chance.sample(list(words.objects), 2)
        relation, colour = chance.choice(list(RELATIONS)), chance.choice(list(words.colours))
        phrase = f"{words.with_article(first)} {relation} {words.with_article(second)}"
        phrase += f" on {words.with_article(f'{colour} background')}"
        asked.append(Asked(caption=phrase, colour=colour, words=(first, second), relation=relation))
    return asked


def score(what: str, asked: Sequence[Asked], pictures: np.ndarray) -> Score:
    """Return how often the pictures show what was asked."""
    wrong: dict[str, int] = {}
    right = backgrounds = 0
    for wanted, picture in zip(asked, pictures, strict=True):
        backgrounds += nearest_colour(picture) == wanted.colour
        found = _find(wanted, picture)
        right += found == wanted.words
        for word, seen in zip(wanted.words, found, strict=True):
            if word != seen:
                wrong[word] = wrong.get(word, 0) + 1
    return Score(
        what=what,
        num_pictures=len(asked),
        object_share=right / len(asked),
        background_share=backgrounds / len(asked),
        failed=dict(sorted(wrong.items(), key=lambda item: (-item[1], item[0]))),
    )


def nearest_colour(picture: np.ndarray) -> str:
    """Return the background colour nearest to the median of the picture's border."""
    border = np.concatenate([picture[0], picture[-1], picture[:, 0], picture[:, -1]])
    colours = load_vocabulary().colours
    median = np.median(border, axis=0)
    return min(colours, key=lambda name: float(np.abs(median - colours[name]).sum()))


def _find(wanted: Asked, picture: np.ndarray) -> tuple[str, ...]:
    if wanted.relation is None:
        return (_nearest_object(picture, wanted.colour, (0.5, 0.5), wanted.size),)
    dx, dy = RELATIONS[wanted.relation]
    found = []
    for sign in (1, -1):
        place = (0.5 + 2 * LATTICE * sign * dx, 0.5 + 2 * LATTICE * sign * dy)
        half = _half(picture.shape[0], sign * dx, sign * dy)
        found.append(_nearest_object(picture, wanted.colour, place, "small", half))
    return tuple(found)


def _half(side: int, dx: int, dy: int) -> tuple[slice, slice]:
    """Return the half of a picture that lies in a direction, as rows and columns."""
    halves = {-1: slice(0, side // 2), 0: slice(0, side), 1: slice(side // 2, side)}
    return halves[dy], halves[dx]


def _nearest_object(
    picture: np.ndarray,
    colour: str,
    place: tuple[float, float],
    size: str,
    part: tuple[slice, slice] = (slice(None), slice(None)),
) -> str:
    words = load_vocabulary()
    seen = picture[part].astype(np.float32)
    best, best_word = np.inf, ""
    for word in words.objects:
        placed = Placed(word, *place, words.sizes[size])
        drawn = draw_scene(Scene("", words.colours[colour], (placed,)), picture.shape[0])
        distance = float(np.square(drawn[part].astype(np.float32) - seen).mean())
        if distance < best:
            best, best_word = distance, word
    return best_word
