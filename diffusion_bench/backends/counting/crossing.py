"""What a call of a network hands from one card to another when each holds half of its weights.

The network runs once on the meta device while hooks look at what goes into its units and comes out
of them: its direct children, and those of its lists of blocks. The cut lies between two units,
where the parameters before it come nearest to half. What was there before the cut and is used after
it must cross: the hidden state, a U-Net's skip connections, embeddings that every block takes. The
output goes back, for the sampler. Each storage counts once.
"""

from __future__ import annotations

from contextlib import ExitStack
from itertools import accumulate
from typing import Any, NamedTuple

import torch
from torch import nn
from torch.utils._pytree import tree_leaves


class Look(NamedTuple):
    """What went into a unit and came out of it, and the parameters of the unit."""

    params: int
    inputs: tuple[torch.Tensor, ...]
    outputs: tuple[torch.Tensor, ...]


def crossing_bytes(network: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]) -> int:
    """Return the bytes that one call sends between two cards, there and back."""
    looks, output = _run(network, inputs, named)
    cut = _half(looks)
    made = {_key(t) for look in looks[cut:] for t in look.outputs}
    before = {_key(t) for look in looks[:cut] for t in (*look.inputs, *look.outputs)}
    before |= {_key(t) for t in looks[cut].inputs}
    used = {_key(t): t for look in looks[cut:] for t in look.inputs}
    crossing = [t for key, t in used.items() if key in before and key not in made]
    return sum(t.numel() * t.element_size() for t in (*crossing, *output))


def units(network: nn.Module) -> list[nn.Module]:
    """Return the parts of a network between which it can be cut, in no order."""
    found: list[nn.Module] = []
    for child in network.children():
        found += list(child) if isinstance(child, nn.ModuleList) else [child]
    return found


def _run(
    network: nn.Module, inputs: tuple[Any, ...], named: dict[str, Any]
) -> tuple[list[Look], tuple[torch.Tensor, ...]]:
    """Return what each unit was seen to do, in the order of their calls, and the output."""
    looks: list[Look] = []

    def look(unit: nn.Module, args: Any, kwargs: Any, out: Any) -> None:
        params = sum(weight.numel() for weight in unit.parameters())
        looks.append(Look(params, _tensors((args, kwargs)), _tensors(out)))

    with ExitStack() as stack, torch.no_grad():
        for unit in units(network):
            stack.callback(unit.register_forward_hook(look, with_kwargs=True).remove)
        out = network(*inputs, **named, return_dict=False)
    return looks, _tensors(out)


def _half(looks: list[Look]) -> int:
    """Return the first unit of the second half."""
    before = [0, *accumulate(look.params for look in looks)]
    return min(range(1, len(looks)), key=lambda cut: abs(2 * before[cut] - before[-1]))


def _key(tensor: torch.Tensor) -> int:
    """Return what views of one storage share; the looks keep it alive, so it is no other's."""
    return int(tensor.untyped_storage()._cdata)


def _tensors(values: Any) -> tuple[torch.Tensor, ...]:
    return tuple(leaf for leaf in tree_leaves(values) if isinstance(leaf, torch.Tensor))
