"""A step of a sampler, as those who look on are told of it."""

from __future__ import annotations

from typing import Any, NamedTuple

from torch import Tensor


class TakenStep(NamedTuple):
    """A step that a diffusers scheduler has taken; the tensors have one shape, a batch first.

    `sample` is x_t, `output` the network's answer, guided where there is guidance, `following` what
    the scheduler made of both.
    """

    scheduler: Any
    timestep: int
    sample: Tensor
    output: Tensor
    following: Tensor
