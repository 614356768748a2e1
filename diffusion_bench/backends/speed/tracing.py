"""The denoiser as TorchScript records it: the same operations, called from C++ and not from Python.

A small network on a processor spends a third of its time between operations. Unlike compiling this
takes a second and no compiler, and the sums are the same to the last bit.
"""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from diffusion_bench.backends.speed.results import as_asked

MOST_PROGRAMS = 4  # one for each size and batch; the oldest goes
Program = Callable[..., torch.Tensor]


class Traced:
    """A denoiser's forward, recorded when it is first called with inputs of a shape."""

    def __init__(self, denoiser: nn.Module) -> None:
        denoiser.requires_grad_(False)  # or its weights could not be part of a recording
        self.seconds = 0.0
        self._forward = denoiser.forward
        self._programs: dict[tuple[Any, ...], Program] = {}
        denoiser.forward = self

    def __call__(self, *given: Any, **named: Any) -> Any:
        """Return what the denoiser returns."""
        tensors: list[torch.Tensor] = []
        shape = _take_out((given, {**named, "return_dict": False}), tensors)
        key = (repr(shape), *((each.shape, each.dtype, each.device) for each in tensors))
        if key not in self._programs:
            if len(self._programs) == MOST_PROGRAMS:
                del self._programs[next(iter(self._programs))]
            self._programs[key] = self._record(shape, tensors)
        return as_asked(self._programs[key](*tensors), named)

    def _record(self, shape: Any, tensors: list[torch.Tensor]) -> Program:
        def run(*inputs: torch.Tensor) -> torch.Tensor:
            given, named = _put_back(shape, iter(inputs))
            result: torch.Tensor = self._forward(*given, **named)[0]
            return result

        began_s = time.perf_counter()
        with warnings.catch_warnings(), torch.inference_mode(False), torch.no_grad():
            # Of Python values that a recording keeps: they follow from the shapes, as `key` does.
            warnings.simplefilter("ignore")
            copies = tuple(each.clone() for each in tensors)
            program = _recorded(run, copies)
        self.seconds += time.perf_counter() - began_s
        return program


def _recorded(run: Program, inputs: tuple[torch.Tensor, ...]) -> Program:
    try:
        program: Program = torch.jit.trace(run, inputs, check_trace=False)
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[0]
        raise ValueError(
            f"speed traced: TorchScript cannot record this denoiser ({reason:.150})"
        ) from error
    return program


class _Slot:
    """Where a tensor was taken out of the arguments."""

    def __repr__(self) -> str:
        return "tensor"


def _take_out(value: Any, tensors: list[torch.Tensor]) -> Any:
    """Return the arguments with a slot for each tensor, which goes to the end of `tensors`."""
    if isinstance(value, torch.Tensor):
        tensors.append(value)
        return _Slot()
    if isinstance(value, dict):
        return {name: _take_out(part, tensors) for name, part in value.items()}
    if isinstance(value, (tuple, list)):
        return tuple(_take_out(part, tensors) for part in value)
    return value


def _put_back(value: Any, tensors: Any) -> Any:
    if isinstance(value, _Slot):
        return next(tensors)
    if isinstance(value, dict):
        return {name: _put_back(part, tensors) for name, part in value.items()}
    if isinstance(value, tuple):
        return tuple(_put_back(part, tensors) for part in value)
    return value
