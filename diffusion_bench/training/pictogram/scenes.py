"""Captioned scenes: pictograms of the Noto Color Emoji font on a coloured background.

What the caption does not say (the shade, an unnamed background) is drawn at random, so that the
noise of the diffusion model decides it at inference. An object has one place: the middle, or its
side of a pair. Places lie on a lattice of an eighth of the side, at 64 pixels one cell of the
latents, so that the networks, which are convolutional, see each object in few phases and learn it
in about an hour of one CPU core.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from diffusion_bench.training.pictogram.vocabulary import RELATIONS, load_vocabulary

FONT_PATHS = (
    Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf"),
    Path("/usr/share/fonts/google-noto-color-emoji-fonts/NotoColorEmoji.ttf"),
)
FONT_SIZE = 109  # the one size of the font's bitmaps
LATTICE = 1 / 8
PAIR_SHARE = 0.55
SIZE_WEIGHTS = {"medium": 6, "small": 1, "big": 1}
UNNAMED_BACKGROUND_SHARE = 0.08
TERSE_SHARE = 0.15  # captions without articles: "cat on blue background"
SHADE_JITTER = 10


@dataclass(frozen=True)
class Placed:
    """One object in a scene: word, centre and longer side as shares of the picture's side."""

    word: str
    x: float
    y: float
    side: float


@dataclass(frozen=True)
class Scene:
    """A caption and all that is needed to draw it."""

    caption: str
    background: tuple[int, int, int]
    objects: tuple[Placed, ...]


def random_scene(chance: random.Random, *, pair_share: float = PAIR_SHARE) -> Scene:
    """Draw a caption and a layout that agrees with it."""
    words = load_vocabulary()
    colour = chance.choice(list(words.colours))
    red, green, blue = (
        min(255, max(0, channel + chance.randint(-SHADE_JITTER, SHADE_JITTER)))
        for channel in words.colours[colour]
    )
    if chance.random() < pair_share:
        phrase, objects = _random_pair(chance)
    else:
        phrase, objects = _random_single(chance)
    if chance.random() >= UNNAMED_BACKGROUND_SHARE:
        phrase += f" on {words.with_article(f'{colour} background')}"
    if chance.random() < TERSE_SHARE:
        phrase = " ".join(word for word in phrase.split() if word not in ("a", "an", "the"))
    return Scene(phrase, (red, green, blue), objects)


def _random_single(chance: random.Random) -> tuple[str, tuple[Placed, ...]]:
    words = load_vocabulary()
    word = chance.choice(list(words.objects))
    size = chance.choices(list(SIZE_WEIGHTS), weights=list(SIZE_WEIGHTS.values()))[0]
    said = "" if size == "medium" else size
    return words.with_article(f"{said} {word}".strip()), (
        Placed(word, 0.5, 0.5, words.sizes[size]),
    )


def _random_pair(chance: random.Random) -> tuple[str, tuple[Placed, ...]]:
    words = load_vocabulary()
    first, second = chance.sample(list(words.objects), 2)
    relation = chance.choice(list(RELATIONS))
    dx, dy = RELATIONS[relation]
    placed = tuple(
        Placed(
            word,
            0.5 + 2 * LATTICE * sign * dx,
            0.5 + 2 * LATTICE * sign * dy,
            words.sizes["small"],
        )
        for word, sign in ((first, 1), (second, -1))
    )
    return f"{words.with_article(first)} {relation} {words.with_article(second)}", placed


def draw_scene(scene: Scene, side: int) -> np.ndarray:
    """Draw a scene as (side, side, 3) uint8."""
    picture = Image.new("RGB", (side, side), scene.background)
    for placed in scene.objects:
        sprite = _sprite(placed.word, max(4, round(placed.side * side)))
        corner = (
            round(placed.x * side - sprite.width / 2),
            round(placed.y * side - sprite.height / 2),
        )
        picture.paste(sprite, corner, sprite)
    return np.asarray(picture)


@lru_cache(maxsize=8192)
def _sprite(word: str, longer_side: int) -> Image.Image:
    pictogram = _pictogram(word)
    scale = longer_side / max(pictogram.size)
    width, height = (max(1, round(edge * scale)) for edge in pictogram.size)
    return pictogram.resize((width, height), Image.Resampling.LANCZOS)


@lru_cache(maxsize=512)
def _pictogram(word: str) -> Image.Image:
    """Return the pictogram of a word, RGBA, cropped to its ink."""
    canvas = Image.new("RGBA", (160, 160))
    ImageDraw.Draw(canvas).text(
        (8, 8), load_vocabulary().objects[word], font=_font(), embedded_color=True
    )
    box = canvas.getbbox()
    if box is None:
        raise ValueError(f"the font has no pictogram for {word!r}")
    return canvas.crop(box)


@lru_cache(maxsize=1)
def _font() -> ImageFont.FreeTypeFont:
    for path in FONT_PATHS:
        if path.exists():
            return ImageFont.truetype(str(path), FONT_SIZE)
    raise FileNotFoundError(
        "training needs the Noto Color Emoji font: apt-get install fonts-noto-color-emoji "
        f"(looked in {', '.join(map(str, FONT_PATHS))})"
    )
