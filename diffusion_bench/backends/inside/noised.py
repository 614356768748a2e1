"""A picture under more and more noise: what a model is trained to undo."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.inside.film import show_each
from diffusion_bench.backends.inside.viewer import NOBODY, Viewer
from diffusion_bench.diffusion.noising import Level, noise_levels
from diffusion_bench.records import ImageRequest


class Noised(NamedTuple):
    """A picture at one timestep, as PIL images.

    `pixels`: the picture itself under the noise of this level. `latents`: its latents under it,
    decoded, which is what a latent diffusion model works on.
    """

    level: Level
    pixels: Any
    latents: Any


def noised(
    backend: ImageBackend,
    request: ImageRequest,
    latents: Tensor,
    timesteps: Sequence[int],
    viewer: Viewer = NOBODY,
) -> list[Noised]:
    """Return the picture of `latents` (channels, rows, columns) at each of the timesteps.

    The noise is that of the request's seed, the same at all timesteps, as in a picture's own
    course. Raises ValueError for a timestep outside the schedule.
    """
    levels = noise_levels(backend.schedule)
    wrong = [timestep for timestep in timesteps if not 0 <= timestep < len(levels)]
    if wrong:
        raise ValueError(f"timestep {wrong[0]} is none of 0 to {len(levels) - 1}")
    picture = show_each(backend, [latents], request, viewer)[0]
    noise = backend.initial_latents(request)[0].float().cpu()
    chosen = [levels[timestep] for timestep in timesteps]
    mixed = [level.signal * latents + level.noise * noise for level in chosen]
    return [
        Noised(level, _under_noise(picture, level, request.seed), shown)
        for level, shown in zip(chosen, show_each(backend, mixed, request, viewer), strict=True)
    ]


def _under_noise(picture: Any, level: Level, seed: int) -> Any:
    """Return a picture under noise, its pixels from -1 to 1 as in Ho et al. (2020), 3.3."""
    pixels = np.asarray(picture.convert("RGB"), dtype=np.float32) / 127.5 - 1
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(pixels.shape, generator=generator).numpy()
    mixed = level.signal * pixels + level.noise * noise
    # As wide as signal and noise together, so that neither is cut off; grey stays grey.
    wide = level.signal + 2 * level.noise
    return Image.fromarray(np.clip((mixed / wide + 1) * 127.5, 0, 255).astype(np.uint8))


def usual_timesteps(count: int, shown: int = 8) -> list[int]:
    """Return so many of `count` timesteps, evenly apart from the first to the last."""
    return [math.floor(place * (count - 1) / (shown - 1)) for place in range(shown)]
