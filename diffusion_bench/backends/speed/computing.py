"""A network, or only its products, in bf16 inside a pipeline of fp32: cast on the way in and out.

The sampler, whose small differences bf16 would lose, stays in fp32 (Micikevicius et al. 2018,
"Mixed precision training", keep the sums of small updates in fp32 for the same reason).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

LAYERS = (nn.Conv2d, nn.Linear)  # not their subclasses, whose forward may do more
FINE = ("timestep", "guidance")  # large or exact scalars: 999 is 1000 in bf16


class Cast:
    """Casts tensors, and remembers those of the call before: the same prompt stays the same tensor.

    Whoever keeps what follows from a tensor knows it by its identity.
    """

    def __init__(self, dtype: torch.dtype) -> None:
        self._dtype = dtype
        self._known: list[tuple[torch.Tensor, torch.Tensor]] = []
        self._before = self._known

    def begin(self) -> None:
        """Start another call of the network; tensors that this one does not see are forgotten."""
        self._before, self._known = self._known, []

    def __call__(self, value: Any) -> Any:
        """Return a tensor, or a dictionary or list of tensors, in the other type."""
        if isinstance(value, dict):
            return {name: self(part) for name, part in value.items()}
        if isinstance(value, list):
            return [self(part) for part in value]
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        cast = next((new for old, new in self._before if old is value), None)
        cast = value.to(self._dtype) if cast is None else cast
        self._known.append((value, cast))
        return cast

    def forget(self) -> None:
        """Let go of all tensors."""
        self._before = self._known = []


def compute_in(module: nn.Module, dtype: torch.dtype) -> Cast:
    """Let a network run in another type than the pipeline around it."""
    module.to(dtype)
    cast = Cast(dtype)

    def before(_: nn.Module, given: tuple[Any, ...], named: dict[str, Any]) -> Any:
        cast.begin()
        # Of those given by position, the second is the timestep: a U-Net's, and Z-Image's.
        data = tuple(value if place == 1 else cast(value) for place, value in enumerate(given))
        return data, {k: v if k in FINE else cast(v) for k, v in named.items()}

    def after(_: nn.Module, given: Any, result: Any) -> Any:
        return _in_fp32(result)

    module.register_forward_pre_hook(before, with_kwargs=True)
    module.register_forward_hook(after)
    return cast


class Product:
    """A layer that multiplies in the type of its weight, between activations of another."""

    def __init__(self, layer: nn.Module, dtype: torch.dtype) -> None:
        self._forward = layer.forward
        self._dtype = dtype
        layer.forward = self

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """Return the layer's result for `x`, in the type of `x`."""
        result: torch.Tensor = self._forward(x.to(self._dtype)).to(x.dtype)
        return result


def narrow_products(network: nn.Module, dtype: torch.dtype) -> None:
    """Cast the weights of convolutions and linear layers; `multiply_in` must follow."""
    for module in network.modules():
        if type(module) in LAYERS:
            module.to(dtype)


def multiply_in(network: nn.Module, dtype: torch.dtype) -> None:
    """Let the layers whose weights are of a type take and give activations of any other.

    Norms, sums and attention between them stay as exact as they were.
    """
    for module in network.modules():
        if type(module) in LAYERS and module.weight.dtype == dtype:
            Product(module, dtype)


def _in_fp32(result: Any) -> Any:
    if isinstance(result, torch.Tensor):
        return result.float()
    if isinstance(result, (tuple, list)):  # Z-Image's holds a list, a tensor for each picture
        return type(result)(map(_in_fp32, result))
    for name, value in result.items():  # diffusers' own outputs
        result[name] = _in_fp32(value)
    return result
