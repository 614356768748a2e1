"""Where a picture starts that is drawn from another: its image under our noise, and what is kept.

Pipelines draw that noise from the generators of the sampler's noise, which lie on the device, and
give it to the scheduler; so the scheduler of the call is where ours takes its place.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from PIL import Image

from diffusion_bench.backends.latents import packed


class Start:
    """The noise of a call, and the images it was put on, once the pipeline has encoded them."""

    def __init__(self, pipeline: Any, noise: torch.Tensor) -> None:
        self._pipeline = pipeline
        self._noise = noise
        self._mix = _mixing(pipeline.scheduler)
        self.images: torch.Tensor | None = None

    def add_noise(
        self, images: torch.Tensor, theirs: torch.Tensor, timesteps: torch.Tensor
    ) -> torch.Tensor:
        """Return images under our noise, not the pipeline's, at the scheduler's timesteps."""
        ours = self._noise if theirs.shape == self._noise.shape else self._packed()
        if self.images is None:
            self.images = images
        mixed: torch.Tensor = self._mix(images, ours.to(theirs), timesteps)
        return mixed

    def scale_noise(
        self, images: torch.Tensor, timesteps: torch.Tensor, theirs: torch.Tensor
    ) -> torch.Tensor:
        """Return the same, by the name and order that flow matching has for it."""
        return self.add_noise(images, theirs, timesteps)

    def _packed(self) -> torch.Tensor:
        return packed(self._pipeline, self._noise)


def start_from(pipeline: Any, noise: torch.Tensor) -> Start:
    """Let the pipeline's scheduler put this noise on images, not what the pipeline draws."""
    start = Start(pipeline, noise)
    pipeline.scheduler.add_noise = start.add_noise
    pipeline.scheduler.scale_noise = start.scale_noise
    return start


def _mixing(scheduler: Any) -> Callable[..., Any]:
    """Return how a scheduler mixes images, noise and timesteps, in this order."""
    add: Callable[..., Any] | None = getattr(scheduler, "add_noise", None)
    if add is not None:
        return add
    scale = scheduler.scale_noise
    return lambda images, noise, timesteps: scale(images, timesteps, noise)


def whole_cells(mask: Any, cell: int) -> Any:
    """Return a mask, black or white, that is white in all of each cell it has a white pixel in.

    A cell of the latents is `cell` pixels wide and high, and drawn anew or not as one; what is kept
    of it is put back when the picture is there.
    """
    pixels = np.asarray(mask)
    rows, columns = (side // cell for side in pixels.shape)
    white = pixels.reshape(rows, cell, columns, cell).max(axis=(1, 3))
    return Image.fromarray(white.repeat(cell, axis=0).repeat(cell, axis=1))


def keep_beside_mask(pipeline: Any, start: Start, mask: Any) -> None:
    """Let an image-to-image pipeline fill a mask: what it keeps is put back after each step.

    Avrahami et al. (2023), "Blended latent diffusion", algorithm 1. diffusers' own pipelines do so
    for networks of 4 latent channels; this is for the others. `mask`: a PIL image of whole cells,
    white where the picture is drawn anew.
    """
    scheduler = pipeline.scheduler
    own_step = scheduler.step
    left: Iterator[torch.Tensor] | None = None  # timesteps of the call that are not taken yet

    @functools.wraps(own_step)  # pipelines read its signature
    def step(output: Any, timestep: Any, sample: Any, *more: Any, **named: Any) -> Any:
        nonlocal left
        if left is None:
            # Heun and PNDM have timesteps twice, so that this one does not tell where it begins.
            left = iter(scheduler.timesteps[-pipeline.num_timesteps :][1:])
        stepped = own_step(output, timestep, sample, *more, **named)
        kept = start.images
        assert kept is not None, "the pipeline has put no noise on its image"
        if (ahead := next(left, None)) is not None:
            kept = start.add_noise(kept, kept, ahead.expand(len(kept)))
        latents = stepped[0]
        return (torch.where(_cells(mask, latents), latents, kept.to(latents)), *stepped[1:])

    scheduler.step = step


def _cells(mask: Any, latents: torch.Tensor) -> torch.Tensor:
    """Return (1, 1, rows, columns) of whether a cell of the latents is drawn anew."""
    width, height = latents.shape[-1], latents.shape[-2]
    drawn = np.asarray(mask.resize((width, height), Image.Resampling.NEAREST)) > 0
    return torch.from_numpy(drawn).to(latents.device)[None, None]
