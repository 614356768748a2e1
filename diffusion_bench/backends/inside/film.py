"""A picture as it comes to be: what each step began with, and what the network saw under it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.inside.recorder import Recorder, SeenStep
from diffusion_bench.backends.inside.viewer import NOBODY, Viewer
from diffusion_bench.records import ImageRequest

MOST_FRAMES = 10  # that are shown of a film: each is decoded twice
RESOLUTION = 1e-6  # of fp32 latents, about: what is less than that is rounding


class Progress(NamedTuple):
    """A step in numbers.

    `signal` and `noise` are the factors of x_t, √ᾱ and √(1-ᾱ); `to_final` is how far the x_0 that
    the network sees is from the picture's still, and `added_noise` what was put in anew, both as a
    root mean square of latents; what is less than fp32 can tell is 0.
    """

    step: int
    timestep: int
    signal: float
    noise: float
    to_final: float
    added_noise: float


class Frame(NamedTuple):
    """A step as PIL images: `noisy` is x_t, `clean` the x_0 that the network sees under it."""

    at: Progress
    noisy: Any
    clean: Any


class Film(NamedTuple):
    """How one picture was drawn. `progress` has every step, `frames` as many as can be shown."""

    frames: tuple[Frame, ...]
    progress: tuple[Progress, ...]
    picture: Any
    latents: Tensor


def film(
    backend: ImageBackend,
    request: ImageRequest,
    viewer: Viewer = NOBODY,
    *,
    most: int = MOST_FRAMES,
) -> Film:
    """Draw a request and return how it came to be; of a batch the first picture.

    The picture is the one that `backend.generate` draws without being looked at. Raises ValueError
    for what the model cannot draw and for one without a noise schedule.
    """
    recorder = Recorder()
    drawn = backend.generate(request, viewer.on_step, watching=recorder.watching)
    steps = recorder.steps
    progress = progress_of(steps)
    shown = evenly(len(steps), most)
    noisy = show_each(backend, [steps[index].noisy for index in shown], request, viewer)
    clean = show_each(backend, [steps[index].clean for index in shown], request, viewer)
    return Film(
        frames=tuple(
            Frame(progress[index], dirty, tidy)
            for index, dirty, tidy in zip(shown, noisy, clean, strict=True)
        ),
        progress=progress,
        picture=drawn.images[0],
        latents=steps[-1].following,
    )


def progress_of(steps: Sequence[SeenStep]) -> tuple[Progress, ...]:
    """Return the steps in numbers."""
    final = steps[-1].following
    return tuple(
        Progress(
            step=step.index + 1,
            timestep=step.timestep,
            signal=step.signal,
            noise=step.noise,
            to_final=told(rms(step.clean - final)),
            added_noise=told(added_noise(step)),
        )
        for step in steps
    )


def told(value: float) -> float:
    """Return a root mean square, 0 where it is rounding."""
    return value if value >= RESOLUTION else 0.0


def added_noise(step: SeenStep) -> float:
    """Return the deviation of the fresh noise that a step put into what it handed on.

    A step without any (DDIM at eta 0, Song et al. 2021, eq. 12) hands on a sum of the x_0 it sees
    and of the noise that x_t holds beside it. What lies outside these two is fresh: the residual of
    the least squares in both, which asks for no timestep that the sampler went to.
    """
    old_noise = (step.noisy - step.signal * step.clean) / max(step.noise, 1e-8)
    known = torch.stack([step.clean.flatten(), old_noise.flatten()], dim=1).double()
    handed_on = step.following.flatten().double()
    shares = torch.linalg.lstsq(known, handed_on.unsqueeze(1)).solution
    return rms(handed_on - (known @ shares).squeeze(1))


def show_each(
    backend: ImageBackend,
    latents: Sequence[Tensor],
    request: ImageRequest,
    viewer: Viewer = NOBODY,
) -> list[Any]:
    """Return each (channels, rows, columns) as a picture: one at a time, as memory is dear.

    Raises ValueError where the model's decoder cannot show what is half done.
    """
    found = []
    for each in latents:
        viewer.check()
        pictures = backend.show(each.unsqueeze(0), request)
        if not pictures:
            raise ValueError(
                "this model's decoder overflows in fp16, so its steps cannot be shown; take fp32 "
                "or bf16"
            )
        found.append(pictures[0])
    return found


def evenly(count: int, most: int) -> list[int]:
    """Return at most `most` of the indices below `count`, evenly apart, first and last among."""
    if count <= most:
        return list(range(count))
    if most < 2:
        return [count - 1][:most]
    return sorted({round(place * (count - 1) / (most - 1)) for place in range(most)})


def rms(values: Tensor) -> float:
    """Return the root mean square."""
    return float(values.square().mean().sqrt())
