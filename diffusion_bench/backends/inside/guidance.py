"""Classifier-free guidance: two answers of one network, and how far to go from one to the other.

Ho and Salimans (2022), eq. 6, in diffusers' form: without + scale (with - without), which is
without any guidance at scale 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from torch import Tensor

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.inside.film import evenly, rms, show_each
from diffusion_bench.backends.inside.recorder import Recorder, SeenStep
from diffusion_bench.backends.inside.viewer import NOBODY, Viewer
from diffusion_bench.records import ImageRequest

MOST_MOMENTS = 5


class Moment(NamedTuple):
    """The x_0 that the network sees at one step, as PIL images: both passes', and the guided one.

    `apart` is how far the two x_0 are from each other, as a root mean square of latents.
    """

    step: int
    timestep: int
    apart: float
    without_prompt: Any
    with_prompt: Any
    guided: Any


class Guided(NamedTuple):
    """A picture at one guidance scale, and how far apart its two x_0 were at each step."""

    scale: float
    picture: Any
    apart: tuple[float, ...]
    moments: tuple[Moment, ...]


def guided(
    backend: ImageBackend,
    request: ImageRequest,
    scales: Sequence[float],
    viewer: Viewer = NOBODY,
) -> list[Guided]:
    """Return the request drawn at each guidance scale; the moments of the request's own scale.

    At 1 or less there is one pass, and nothing to be apart. Raises ValueError for a model whose
    guidance is inside its network.
    """
    found = []
    for scale in scales:
        own = request.model_copy(update={"guidance_scale": scale})
        recorder = Recorder()
        drawn = backend.generate(own, viewer.on_step, watching=recorder.watching)
        two = [(step, step.passes) for step in recorder.steps if step.passes is not None]
        if scale > 1 and not two:
            raise ValueError(
                "this model's network is asked once a step, also with guidance: there are no two "
                "answers to compare"
            )
        looked_at = two if scale == request.guidance_scale else []
        found.append(
            Guided(
                scale=scale,
                picture=drawn.images[0],
                apart=tuple(_apart(passes) for _, passes in two),
                moments=_moments(backend, own, looked_at, viewer),
            )
        )
    return found


def _apart(passes: tuple[Tensor, Tensor]) -> float:
    without, prompted = passes
    return rms(prompted - without)


def _moments(
    backend: ImageBackend,
    request: ImageRequest,
    steps: Sequence[tuple[SeenStep, tuple[Tensor, Tensor]]],
    viewer: Viewer,
) -> tuple[Moment, ...]:
    moments = []
    for step, passes in (steps[index] for index in evenly(len(steps), MOST_MOMENTS)):
        shown = show_each(backend, [*passes, step.clean], request, viewer)
        moments.append(Moment(step.index + 1, step.timestep, _apart(passes), *shown))
    return tuple(moments)
