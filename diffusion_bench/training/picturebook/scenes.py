"""Captioned scenes: pictograms on a coloured background or in a setting.

What the caption does not say (the place, the size, the side it faces, a tilt, which of a word's
pictograms, the shade, an unnamed background) is drawn at random, so that the noise of the diffusion
model decides it at inference. Places lie on a lattice of an eighth of the side, one cell of the
latents at 128 pixels, so that the networks, which are convolutional, see each object in one phase;
and there are three sizes, so that each object is one of a few pictures to the autoencoder. Tilts,
which it must learn anew and which lose the finest lines, are rare.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from diffusion_bench.training.picturebook.backgrounds import draw_background
from diffusion_bench.training.picturebook.pictograms import sprite
from diffusion_bench.training.picturebook.vocabulary import NUMBERS, RELATIONS, load_vocabulary

LATTICE = 1 / 8
SETTING_SHARE = 0.35
UNNAMED_SHARE = 0.06
TERSE_SHARE = 0.15  # captions without articles: "cat on blue background"
KINDS = {"single": 0.42, "pair": 0.28, "riding": 0.1, "together": 0.08, "count": 0.12}
TILT_DEG = 12
SIZES = {"small": 0.2, "medium": 0.6, "big": 0.2}  # where none is said
MIRRORED_SHARE = 0.5
TILTED_SHARE = 0.1
RIDER_Y, MOUNT_Y = 0.25, 0.625
PLACES = ("middle", "left", "right", "top", "bottom", "rider", "mount")


class Freedom(NamedTuple):
    """Which share of objects take any size, side, tilt and pictogram, and which stand anywhere.

    The others are upright, of middle size and as the pictogram faces, or in the middle of where the
    caption puts them.
    """

    pose: float
    place: float


FREE, STILL = Freedom(pose=1.0, place=1.0), Freedom(pose=0.0, place=0.0)


@dataclass(frozen=True)
class Placed:
    """One object: word, which of its pictograms, centre and longer side as shares of the side."""

    word: str
    x: float
    y: float
    side: float
    number: int = 0
    mirrored: bool = False
    tilt_deg: int = 0


@dataclass(frozen=True)
class Scene:
    """A caption and all that is needed to draw it. Objects are drawn in their order.

    `kind` is one of KINDS; `named` gives the object that the caption puts at a place of PLACES;
    `background` is a colour or a setting, `said` whether the caption names it.
    """

    caption: str
    kind: str
    objects: tuple[Placed, ...]
    named: dict[str, str]
    background: str = ""
    background_seed: int = 0
    said: bool = True


def random_scene(chance: random.Random, *, freedom: Freedom = FREE) -> Scene:
    """Draw a caption and a layout that agrees with it."""
    words = load_vocabulary()
    kind = chance.choices(list(KINDS), weights=list(KINDS.values()))[0]
    scene = LAYOUTS[kind](chance, freedom)
    if chance.random() < SETTING_SHARE:
        background = chance.choice(list(words.settings))
        phrase = words.settings[background]
    else:
        background = chance.choice(list(words.colours))
        phrase = f"on {words.with_article(f'{background} background')}"
    said = chance.random() >= UNNAMED_SHARE
    caption = f"{scene.caption} {phrase}" if said else scene.caption
    if chance.random() < TERSE_SHARE:
        caption = " ".join(word for word in caption.split() if word not in ("a", "an", "the"))
    return replace(
        scene,
        caption=caption,
        background=background,
        background_seed=chance.randrange(1 << 30),
        said=said,
    )


def _posed(placed: Placed, chance: random.Random, freedom: Freedom) -> Placed:
    """Return the object in a pose that nothing was said about."""
    if chance.random() >= freedom.pose:
        return placed
    return replace(
        placed,
        number=chance.randrange(len(load_vocabulary().objects[placed.word])),
        mirrored=chance.random() < MIRRORED_SHARE,
        tilt_deg=chance.choice((-TILT_DEG, TILT_DEG)) if chance.random() < TILTED_SHARE else 0,
    )


def _single(chance: random.Random, freedom: Freedom) -> Scene:
    words = load_vocabulary()
    word = chance.choice(list(words.objects))
    size = chance.choices(("medium", "small", "big"), weights=(6, 1, 1))[0]
    said = word if size == "medium" else f"{size} {word}"
    placed = _posed(Placed(word, 0.5, 0.5, words.sizes[size]), chance, freedom)
    kept = chance.random()
    if kept < freedom.pose and size == "medium":  # of which nothing is said
        size = chance.choices(list(SIZES), weights=list(SIZES.values()))[0]
        placed = replace(placed, side=words.sizes[size])
    if kept < freedom.place:
        reach = {"small": 2, "medium": 1, "big": 0}[size]
        x, y = (0.5 + LATTICE * chance.randint(-reach, reach) for _ in range(2))
        placed = replace(placed, x=x, y=y)
    return Scene(words.with_article(said), "single", (placed,), {"middle": word})


def _pair(chance: random.Random, freedom: Freedom) -> Scene:
    words = load_vocabulary()
    first, second = chance.sample(list(words.objects), 2)
    relation = chance.choice(list(RELATIONS))
    caption = f"{words.with_article(first)} {relation} {words.with_article(second)}"
    places = PLACES_OF[relation]
    return Scene(
        caption,
        "pair",
        _side_by_side((first, second), RELATIONS[relation], chance, freedom),
        dict(zip(places, (first, second), strict=True)),
    )


def _side_by_side(
    pair: tuple[str, str], direction: tuple[int, int], chance: random.Random, freedom: Freedom
) -> tuple[Placed, ...]:
    dx, dy = direction
    size = load_vocabulary().sizes["small"]

    def one(word: str, sign: int) -> Placed:
        shift = _shift(chance, freedom)
        x = 0.5 + 2 * LATTICE * sign * dx + shift * abs(dy)
        y = 0.5 + 2 * LATTICE * sign * dy + shift * abs(dx)
        return _posed(Placed(word, x, y, size), chance, freedom)

    first, second = pair
    return one(first, 1), one(second, -1)


def _shift(chance: random.Random, freedom: Freedom) -> float:
    """Return how far something is moved along an axis on which nothing was said of it."""
    return LATTICE * chance.randint(-1, 1) if chance.random() < freedom.place else 0.0


def _riding(chance: random.Random, freedom: Freedom) -> Scene:
    words = load_vocabulary()
    mount, number = chance.choice(words.mounts)
    rider = chance.choice([word for word in words.riders if word != mount])
    mirrored = chance.random() < MIRRORED_SHARE * freedom.pose
    shift = _shift(chance, freedom)
    # The rider first: the mount's back hides its lower edge.
    sizes = words.sizes
    sitting = Placed(rider, 0.5 + shift, RIDER_Y, sizes["small"], mirrored=mirrored)
    back = Placed(mount, 0.5 + shift, MOUNT_Y, sizes["medium"], number, mirrored=mirrored)
    caption = f"{words.with_article(rider)} riding {words.with_article(mount)}"
    return Scene(caption, "riding", (sitting, back), {"rider": rider, "mount": mount})


def _together(chance: random.Random, freedom: Freedom) -> Scene:
    words = load_vocabulary()
    first, second = chance.sample(list(words.objects), 2)
    joint = chance.choice(("and", "with"))
    caption = f"{words.with_article(first)} {joint} {words.with_article(second)}"
    side = chance.choice(((-1, 0), (1, 0)))  # which stands left is left open
    objects = _side_by_side((first, second), side, chance, freedom)
    return Scene(caption, "together", objects, {})


def _count(chance: random.Random, freedom: Freedom) -> Scene:
    words = load_vocabulary()
    word, number = chance.choice(list(words.objects)), chance.choice(list(NUMBERS))
    which = chance.randrange(len(words.objects[word])) if chance.random() < freedom.pose else 0
    spots = COUNT_SPOTS[NUMBERS[number]]
    size = words.sizes["small"]
    upside_down = chance.random() < 0.5 * freedom.place
    down = _shift(chance, freedom) if len(spots) == 2 else 0.0  # three fill the height
    objects = tuple(
        replace(
            _posed(Placed(word, x, (1 - y if upside_down else y) + down, size), chance, freedom),
            number=which,
        )
        for x, y in spots
    )
    return Scene(f"{number} {words.plural(word)}", "count", objects, {"middle": word})


PLACES_OF = {
    "left of": ("left", "right"),
    "right of": ("right", "left"),
    "above": ("top", "bottom"),
    "below": ("bottom", "top"),
}
"""Where a relation puts its first and its second object, by name of the place."""

COUNT_SPOTS = {
    2: ((0.25, 0.5), (0.75, 0.5)),
    3: ((0.5, 0.25), (0.25, 0.75), (0.75, 0.75)),
}

LAYOUTS = {
    "single": _single,
    "pair": _pair,
    "riding": _riding,
    "together": _together,
    "count": _count,
}


def random_collage(chance: random.Random) -> Scene:
    """Draw a scene without a caption, full of objects: more to learn from for an autoencoder."""
    words = load_vocabulary()

    def one(x: float, y: float, size: str) -> Placed:
        return _posed(
            Placed(chance.choice(list(words.objects)), x, y, words.sizes[size]), chance, FREE
        )

    objects = [one(x, y, "small") for x in (0.25, 0.75) for y in (0.25, 0.75)]
    if chance.random() < 0.5:
        x, y = (0.5 + LATTICE * chance.randint(-2, 2) for _ in range(2))
        objects.append(one(x, y, chance.choices(list(SIZES), weights=(0, 4, 1))[0]))
    background = chance.choice([*words.colours, *words.settings])
    scene = Scene("", "collage", tuple(objects), {})
    return replace(scene, background=background, background_seed=chance.randrange(1 << 30))


def draw_scene(scene: Scene, side: int) -> NDArray[np.uint8]:
    """Draw a scene as (side, side, 3) uint8."""
    picture = draw_background(scene.background, scene.background_seed, side)
    for placed in scene.objects:
        drawn = sprite(
            placed.word,
            placed.number,
            max(4, round(placed.side * side)),
            mirrored=placed.mirrored,
            tilt_deg=placed.tilt_deg,
        )
        corner = (
            round(placed.x * side - drawn.width / 2),
            round(placed.y * side - drawn.height / 2),
        )
        picture.paste(drawn, corner, drawn)
    return np.asarray(picture)
