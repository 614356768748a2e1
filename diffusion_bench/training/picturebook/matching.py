"""Which object stands at a place of a picture: the pictogram that, drawn there, fits it best.

A picture on a plain background is compared, by squared difference, with every pictogram in every
pose that scenes are drawn in: mirrored, tilted, in each size, at each point of the lattice around
the place. It needs no network, knows nothing of the scorer that the app ships, and is only valid
for pictures like the ones it draws.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from diffusion_bench.training.picturebook.pictograms import sprite
from diffusion_bench.training.picturebook.scenes import LATTICE, TILT_DEG
from diffusion_bench.training.picturebook.vocabulary import load_vocabulary

SIDE = 64  # pixels at which pictures are compared
STEP = round(LATTICE * SIDE)


@dataclass(frozen=True)
class Place:
    """Where an object is looked for: centre and sizes as shares of the side, cells it may be off.

    `dx` and `dy` name the half of the picture that counts, 0 for all of it.
    """

    x: float
    y: float
    sizes: tuple[float, ...]
    reach: int = 1
    dx: int = 0
    dy: int = 0


# A small object of which no size was said may be two cells off.
MIDDLE = Place(0.5, 0.5, tuple(load_vocabulary().sizes.values()), reach=2)


@dataclass(frozen=True)
class _Templates:
    """Pictograms of one size in every pose: colour times alpha, alpha, and whose they are."""

    inked: Tensor  # (n, 3, size, size)
    alpha: Tensor  # (n, 1, size, size)
    words: tuple[str, ...]


def nearest_words(pictures: np.ndarray, colours: np.ndarray, place: Place) -> list[str]:
    """Return the word whose pictogram fits best at a place.

    `pictures` are (n, side, side, 3) uint8 and `colours`, of their backgrounds, (n, 3).
    """
    whole = torch.from_numpy(np.array(pictures)).permute(0, 3, 1, 2).float() / 255
    small = F.interpolate(whole, size=(SIDE, SIDE), mode="area")
    ground = torch.from_numpy(colours).float()[:, :, None, None] / 255
    rest = (small - ground) * _half(place)
    fits = []
    for size in place.sizes:
        fits.append(
            torch.cat(
                [
                    _fit(rest[i : i + 16], ground[i : i + 16], size, place)
                    for i in range(0, len(rest), 16)
                ]
            )
        )
    best = torch.stack(fits).amax(dim=0)
    words = _templates(place.sizes[0]).words
    return [words[index] for index in best.argmax(dim=1).tolist()]


def _fit(rest: Tensor, ground: Tensor, size: float, place: Place) -> Tensor:
    """Return (n, templates): how much of a picture's square a template explains at its best spot.

    With r the picture and t the template, both less the background g, that is 2 r.t - t.t, where
    t = ink - alpha g.
    """
    templates = _templates(size)
    pad = templates.inked.shape[-1] // 2
    window = _window(rest, place, pad)
    with_ink = F.conv2d(window, templates.inked, stride=STEP)
    behind = ground[..., 0, 0]
    through = F.conv2d((window * ground).sum(dim=1, keepdim=True), templates.alpha, stride=STEP)
    squares = templates.inked.square().sum(dim=(1, 2, 3))[None]
    crossed = behind @ (templates.inked * templates.alpha).sum(dim=(2, 3)).T
    alphas = templates.alpha.square().sum(dim=(1, 2, 3))[None]
    alphas = alphas * behind.square().sum(dim=1, keepdim=True)
    own = squares - 2 * crossed + alphas
    return (2 * (with_ink - through)).flatten(2).amax(dim=2) - own


def _window(rest: Tensor, place: Place, pad: int) -> Tensor:
    """Return the part of the pictures that templates at the place's spots may cover."""
    reach = place.reach * STEP
    around = F.pad(rest, [pad + reach] * 4)
    left, top = (round(share * SIDE) for share in (place.x, place.y))
    edge = 2 * (pad + reach)
    return around[:, :, top : top + edge, left : left + edge]


def _half(place: Place) -> Tensor:
    """Return (side, side) ones where the picture counts, zeros elsewhere."""
    counts = torch.ones(SIDE, SIDE)
    middle = SIDE // 2
    if place.dx:
        counts[:, slice(middle, None) if place.dx < 0 else slice(0, middle)] = 0
    if place.dy:
        counts[slice(middle, None) if place.dy < 0 else slice(0, middle)] = 0
    return counts


def _templates(size: float) -> _Templates:
    return _all_templates()[size]


@cache
def _all_templates() -> dict[float, _Templates]:
    """Return the templates of every size; a pictogram is turned once for all of its sizes."""
    vocabulary = load_vocabulary()
    sizes = tuple(vocabulary.sizes.values())
    drawn: dict[float, list[np.ndarray]] = {size: [] for size in sizes}
    words = []
    for word, pictograms in vocabulary.objects.items():
        for number, mirrored, tilt_deg in itertools.product(
            range(len(pictograms)), (False, True), (0, -TILT_DEG, TILT_DEG)
        ):
            words.append(word)
            for size in sizes:
                side = round(size * SIDE)
                picture = sprite(word, number, side, mirrored=mirrored, tilt_deg=tilt_deg)
                drawn[size].append(_on_canvas(picture, 2 * (round(size * SIDE * 1.25) // 2)))
    found = {}
    for size, canvases in drawn.items():
        every = torch.from_numpy(np.stack(canvases)).permute(0, 3, 1, 2)
        alpha = every[:, 3:]
        found[size] = _Templates(every[:, :3] * alpha, alpha, tuple(words))
    return found


def _on_canvas(picture: Image.Image, side: int) -> np.ndarray:
    """Return a pictogram in the middle of a clear square; a tilt has made it wider."""
    canvas = np.zeros((side, side, 4), np.float32)
    pixels = np.asarray(picture, np.float32)[:side, :side] / 255
    top, left = ((side - edge) // 2 for edge in pixels.shape[:2])
    canvas[top : top + pixels.shape[0], left : left + pixels.shape[1]] = pixels
    return canvas
