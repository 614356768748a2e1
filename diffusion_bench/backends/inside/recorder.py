"""What a sampler and a network tell each other at each step, written down while a picture is drawn.

The pipeline and its schedulers are diffusers' own and draw the same picture as without: what goes
through `scheduler.step` and out of the network is only looked at.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from diffusion_bench.backends.latents import denoiser_of
from diffusion_bench.diffusion.taken_step import TakenStep


@dataclass(frozen=True)
class SeenStep:
    """One step: fp32, on the CPU, of the first of a batch; latents are (channels, rows, columns).

    `noisy` is x_t, what the step began with; `clean` the x_0 that the network's answer implies, and
    `passes` those of its two answers, without the prompt and with it, `None` without guidance.
    `following` is the x of the next timestep. `signal` and `noise` are the factors of x_t.
    """

    index: int
    timestep: int
    signal: float
    noise: float
    noisy: Tensor
    clean: Tensor
    passes: tuple[Tensor, Tensor] | None
    following: Tensor


class Recorder:
    """Looks at the steps of one call of a pipeline."""

    def __init__(self) -> None:
        self.steps: list[SeenStep] = []

    @contextmanager
    def watching(self, pipeline: Any) -> Iterator[None]:
        """Write down the steps of what runs in the `with` block.

        Raises ValueError for a scheduler without a noise schedule in betas.
        """
        scheduler = pipeline.scheduler
        if not hasattr(scheduler, "alphas_cumprod"):
            raise ValueError(
                f"{type(scheduler).__name__} has no noise schedule in betas (flow matching): "
                "what is inside its steps cannot be told in signal and noise; take a model of "
                "DDPM's kind"
            )
        said: list[Tensor] = []

        def hear(module: Any, inputs: Any, output: Any) -> None:
            said[:] = [output[0] if isinstance(output, tuple) else output.sample]

        own_step = scheduler.step

        @functools.wraps(own_step)  # pipelines read its signature
        def step(output: Tensor, timestep: Any, sample: Tensor, *more: Any, **named: Any) -> Any:
            stepped = own_step(output, timestep, sample, *more, **named)
            following = stepped[0] if isinstance(stepped, tuple) else stepped.prev_sample
            taken = TakenStep(scheduler, int(timestep), sample, output, following)
            self.steps.append(seen_step(len(self.steps), taken, said[0]))
            return stepped

        hook = denoiser_of(pipeline).register_forward_hook(hear)
        scheduler.step = step
        try:
            yield
        finally:
            hook.remove()
            scheduler.step = own_step


def seen_step(index: int, taken: TakenStep, raw: Tensor | None = None) -> SeenStep:
    """Return what a step of a batch tells of its first one.

    `raw` is the network's own answer: of both passes, where there are two, and with its variance,
    where it learns that too.
    """
    sample = taken.sample
    share = float(taken.scheduler.alphas_cumprod[taken.timestep])
    signal, noise = math.sqrt(share), math.sqrt(max(0.0, 1 - share))
    clean = clean_of(str(taken.scheduler.config.prediction_type), signal, noise)
    passes = None
    if raw is not None and len(raw) == 2 * len(sample):
        halves = raw[:, : sample.shape[1]].chunk(2)
        without, prompted = (_first(clean(part, sample)) for part in halves)
        passes = without, prompted
    return SeenStep(
        index=index,
        timestep=taken.timestep,
        signal=signal,
        noise=noise,
        noisy=_first(sample),
        clean=_first(clean(taken.output, sample)),
        passes=passes,
        following=_first(taken.following),
    )


def clean_of(prediction: str, signal: float, noise: float) -> Callable[[Tensor, Tensor], Tensor]:
    """Return how x_0 follows from a network's answer and x_t.

    `epsilon`: Ho et al. (2020), eq. 15, left; `v_prediction`: Salimans and Ho (2022), appendix D.
    Raises ValueError for another kind of prediction.
    """
    if prediction == "epsilon":
        return lambda output, sample: (sample - noise * output) / max(signal, 1e-8)
    if prediction == "v_prediction":
        return lambda output, sample: signal * sample - noise * output
    if prediction == "sample":
        return lambda output, sample: output
    raise ValueError(f"what a network that predicts {prediction!r} means is not known here")


def _first(latents: Tensor) -> Tensor:
    return latents[0].detach().to("cpu", torch.float32, copy=True)
