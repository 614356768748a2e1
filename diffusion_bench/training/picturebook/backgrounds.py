"""What stands behind the objects: a colour in some shade, or one of six settings."""

from __future__ import annotations

import random
from collections.abc import Callable

from PIL import Image, ImageDraw

from diffusion_bench.training.picturebook.vocabulary import load_vocabulary

SHADE_JITTER = 12
RGB = tuple[int, int, int]


def draw_background(name: str, seed: int, side: int) -> Image.Image:
    """Return a (side, side) picture of a colour or setting; the seed decides what is left open."""
    chance = random.Random(f"{name}/{seed}")
    colours = load_vocabulary().colours
    if name in colours:
        return Image.new("RGB", (side, side), _shade(colours[name], chance))
    return SETTINGS[name](chance, side)


def _shade(colour: RGB, chance: random.Random, jitter: int = SHADE_JITTER) -> RGB:
    red, green, blue = (
        min(255, max(0, channel + chance.randint(-jitter, jitter))) for channel in colour
    )
    return red, green, blue


def _land(chance: random.Random, side: int, sky: RGB, ground: RGB) -> tuple[Image.Image, int]:
    """Return sky over ground, and the row of the horizon."""
    picture = Image.new("RGB", (side, side), _shade(sky, chance))
    horizon = side * chance.choice((9, 10, 11)) // 16
    ImageDraw.Draw(picture).rectangle((0, horizon, side, side), fill=_shade(ground, chance))
    return picture, horizon


def _dots(
    picture: Image.Image, chance: random.Random, count: int, colour: RGB, rows: tuple[int, int]
) -> None:
    """Draw round dots of 1 to 2 percent of the side between two rows."""
    draw, side = ImageDraw.Draw(picture), picture.width
    for _ in range(count):
        radius = side * chance.uniform(0.008, 0.018)
        x, y = chance.uniform(0, side), chance.uniform(*rows)
        draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=colour)


def _mars(chance: random.Random, side: int) -> Image.Image:
    picture, horizon = _land(chance, side, (232, 178, 138), (186, 84, 48))
    draw = ImageDraw.Draw(picture)
    for _ in range(chance.randint(3, 5)):
        width = side * chance.uniform(0.08, 0.2)
        x, y = chance.uniform(0, side), chance.uniform(horizon + side * 0.05, side)
        draw.ellipse((x - width / 2, y - width / 6, x + width / 2, y + width / 6), (150, 62, 36))
    return picture


def _space(chance: random.Random, side: int) -> Image.Image:
    picture = Image.new("RGB", (side, side), _shade((18, 16, 44), chance))
    _dots(picture, chance, 24, (240, 240, 255), (0, side))
    return picture


def _sea(chance: random.Random, side: int) -> Image.Image:
    picture = Image.new("RGB", (side, side), _shade((150, 215, 245), chance))
    draw = ImageDraw.Draw(picture)
    top = side * chance.choice((4, 5, 6)) // 16
    draw.rectangle((0, top, side, side), fill=_shade((28, 104, 190), chance))
    wave, tall = side // 8, side // 32
    for row in range(top + side // 8, side, side // 5):
        start = -chance.randrange(wave)
        for x in range(start, side, 2 * wave):
            box = (x, row - tall, x + wave, row + tall)
            draw.arc(box, 180, 360, fill=(120, 190, 235), width=max(1, side // 64))
    return picture


def _night(chance: random.Random, side: int) -> Image.Image:
    picture, horizon = _land(chance, side, (22, 30, 84), (16, 44, 40))
    _dots(picture, chance, 9, (250, 245, 200), (0, horizon))
    draw, radius = ImageDraw.Draw(picture), side / 12
    x = side * chance.choice((2, 14)) / 16
    y = side / 8
    draw.ellipse((x - radius, y - radius, x + radius, y + radius), fill=(250, 240, 190))
    return picture


def _meadow(chance: random.Random, side: int) -> Image.Image:
    picture, horizon = _land(chance, side, (158, 214, 250), (98, 186, 74))
    for colour in ((250, 250, 250), (250, 215, 60), (235, 110, 130)):
        _dots(picture, chance, 5, colour, (horizon + side // 32, side))
    return picture


def _snow(chance: random.Random, side: int) -> Image.Image:
    picture, horizon = _land(chance, side, (176, 200, 226), (242, 246, 252))
    _dots(picture, chance, 20, (255, 255, 255), (0, horizon))
    return picture


SETTINGS: dict[str, Callable[[random.Random, int], Image.Image]] = {
    "mars": _mars,
    "space": _space,
    "sea": _sea,
    "night": _night,
    "meadow": _meadow,
    "snow": _snow,
}
