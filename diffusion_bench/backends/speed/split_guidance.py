"""The two passes of guidance one after the other: half the activations, for small cards."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

from diffusion_bench.backends.speed.results import as_asked


def split_guidance(denoiser: nn.Module, pictures: Callable[[], int]) -> None:
    """Let a denoiser run on the two halves of its batch in turn, where that holds both passes.

    It does where it has two rows for each of the `pictures` of the call. Some pipelines make the
    passes one after the other by themselves, and one without guidance makes a single one.
    """
    forward = denoiser.forward

    def one_after_the_other(*given: Any, **named: Any) -> Any:
        rows = len(given[0] if given else named["hidden_states"])
        if rows != 2 * pictures():
            return forward(*given, **named)
        halves = []
        for half in (slice(rows // 2), slice(rows // 2, rows)):
            of_half = [_part(value, half, rows) for value in given]
            named_half = {name: _part(value, half, rows) for name, value in named.items()}
            halves.append(forward(*of_half, **named_half)[0])
        whole = halves[0] + halves[1] if isinstance(halves[0], list) else torch.cat(halves)
        return as_asked(whole, named)

    denoiser.forward = one_after_the_other


def _part(value: Any, half: slice, rows: int) -> Any:
    """Return that half of what has an entry a row: tensors, and lists of them, as Z-Image's."""
    if isinstance(value, dict):
        return {name: _part(part, half, rows) for name, part in value.items()}
    has_rows = isinstance(value, list) or (isinstance(value, torch.Tensor) and value.ndim)
    return value[half] if has_rows and len(value) == rows else value
