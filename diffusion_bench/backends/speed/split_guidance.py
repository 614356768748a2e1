"""The two passes of guidance one after the other: half the activations, for small cards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def split_guidance(denoiser: nn.Module, is_guided: Callable[[], bool]) -> None:
    """Let a denoiser run on the two halves of its batch in turn, while `is_guided` says so."""
    forward = denoiser.forward

    def one_after_the_other(*given: Any, **named: Any) -> Any:
        if not is_guided():
            return forward(*given, **named)
        rows = len(given[0] if given else named["hidden_states"])
        halves = []
        for half in range(2):
            of_half = [_half(value, half, rows) for value in given]
            named_half = {name: _half(value, half, rows) for name, value in named.items()}
            halves.append(forward(*of_half, **named_half))
        # diffusers' pipelines ask for tuples; the one result is the first.
        return tuple(torch.cat(parts) for parts in zip(*halves, strict=True))

    denoiser.forward = one_after_the_other


def _half(value: Any, half: int, rows: int) -> Any:
    if isinstance(value, dict):
        return {name: _half(part, half, rows) for name, part in value.items()}
    if isinstance(value, torch.Tensor) and value.ndim and len(value) == rows:
        return value.chunk(2)[half]
    return value
