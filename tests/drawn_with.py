"""Backends of tiny checkpoints, each made and loaded once, and what they have drawn as numbers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.records import Generation

Load = Callable[[str], ImageBackend]


def loads_once(
    makers: Mapping[str, Callable[[Path], Path]], new_folder: Callable[[], Path]
) -> Load:
    """Return what loads a model by its name, of those that are made into a new folder each."""
    loaded: dict[str, ImageBackend] = {}

    def load(model: str) -> ImageBackend:
        if model not in loaded:
            loaded[model] = ImageBackend.load(str(makers[model](new_folder())), device="cpu")
        return loaded[model]

    return load


def pixels(generation: Generation) -> np.ndarray:
    return np.stack([np.asarray(image, dtype=int) for image in generation.images])
