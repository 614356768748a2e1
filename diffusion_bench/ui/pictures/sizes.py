"""Sizes of pictures to choose from: shapes of about as many pixels as a model was trained for."""

from __future__ import annotations

import math

from diffusion_bench.backends.catalog import ModelEntry

SHAPES = {
    "Square": (1, 1),
    "Landscape 4:3": (4, 3),
    "Landscape 3:2": (3, 2),
    "Wide 16:9": (16, 9),
    "Portrait 3:4": (3, 4),
    "Portrait 2:3": (2, 3),
    "Tall 9:16": (9, 16),
}
COARSE = 64  # sides are multiples of, for models of 512 pixels or more
COARSE_FROM = 512


def size_presets(entry: ModelEntry) -> dict[str, tuple[int, int]]:
    """Return width and height by label, of sides that the model can draw.

    The label names the shape only: the fields beside it show the sides.
    """
    side = entry.side
    step = math.lcm(COARSE, entry.multiple) if side >= COARSE_FROM else entry.multiple
    sizes = {}
    for shape, (across, down) in SHAPES.items():
        width = _rounded(side * math.sqrt(across / down), step)
        height = _rounded(side * math.sqrt(down / across), step)
        sizes[shape] = (width, height)
    return sizes


def size_words(entry: ModelEntry) -> str:
    """Return what a choice of a shape does, and that a bundled model has one side it draws well."""
    said = "Sets both sides."
    if entry.source != "bundled":
        return said
    return f"{said} It was trained at {entry.side} px only: other sizes are for timing."


def _rounded(length: float, step: int) -> int:
    return max(step, round(length / step) * step)
