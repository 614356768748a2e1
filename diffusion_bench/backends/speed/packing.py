"""Weights laid out once as oneDNN's kernels read them, instead of anew in every call.

A convolution over few pixels spends much of its time there. These are the operators that
`torch.compile` puts in with its option `freezing`, without its minute of compiling.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn

Forward = Callable[[torch.Tensor], torch.Tensor]


def packs(dtype: torch.dtype) -> bool:
    """Return whether oneDNN has kernels of packed weights of a type for this processor.

    Of 16 bits it has none where there is AVX2 alone, say.
    """
    if dtype == torch.bfloat16:
        return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
    if dtype == torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    return True


def why_no_packing(device: str, dtype: torch.dtype) -> str | None:
    """Return why weights of a type cannot be packed here; `None` where they can."""
    if device != "cpu":
        return f"packed weights are for oneDNN on a CPU; the device is {device}"
    if not (torch.backends.mkldnn.is_available() and torch.backends.mkldnn.enabled):
        return "packed weights need oneDNN, which this torch does not have or has switched off"
    if not packs(dtype):
        name = str(dtype).removeprefix("torch.")
        return f"oneDNN cannot pack weights in {name} on this processor; leave out packed"
    return None


def pack(network: nn.Module) -> int:
    """Pack the convolutions of a network, and its linear layers in bf16; return how many.

    MKL's fp32 products, which the other linear layers use, gain nothing.
    """
    count = 0
    for module in network.modules():
        forward: Forward | None = None
        # Not of subclasses, whose forward may do more.
        if type(module) is nn.Conv2d and module.padding_mode == "zeros":
            forward = _convolution(module)
        elif type(module) is nn.Linear and module.weight.dtype == torch.bfloat16:
            forward = _linear(module)
        if forward is not None:
            module.forward = forward
            _let_go(module)
            count += 1
    return count


def _convolution(module: nn.Conv2d) -> Forward | None:
    if isinstance(module.padding, str):
        return None
    shape: tuple[Any, ...] = (
        list(module.padding),
        list(module.stride),
        list(module.dilation),
        module.groups,
    )
    weight = torch.ops.mkldnn._reorder_convolution_weight(module.weight.detach(), *shape, [])
    bias = None if module.bias is None else module.bias.detach()

    def forward(x: torch.Tensor) -> torch.Tensor:
        done: torch.Tensor = torch.ops.mkldnn._convolution_pointwise(
            x, weight, bias, *shape, "none", [], ""
        )
        return done

    return forward


def _linear(module: nn.Linear) -> Forward:
    weight = torch.ops.mkldnn._reorder_linear_weight(module.weight.detach(), None)
    bias = None if module.bias is None else module.bias.detach()

    def forward(x: torch.Tensor) -> torch.Tensor:
        done: torch.Tensor = torch.ops.mkldnn._linear_pointwise(x, weight, bias, "none", [], "")
        return done

    return forward


def _let_go(module: nn.Module) -> None:
    """Free a weight that has been packed. Its shape and type stay; who reads it gets NaN."""
    weight = module.weight
    assert isinstance(weight, torch.Tensor)
    nothing = weight.new_full((), torch.nan).expand(weight.shape)
    module.weight = nn.Parameter(nothing, requires_grad=False)
