"""Which optimiser learns what: Muon the matrices, AdamW everything else.

Muon (Jordan et al., 2024) makes each matrix's momentum orthogonal before it steps, so that no
direction is learnt only after the loud ones. A convolution's kernel is a matrix of
(out, in * height * width). Embeddings, biases, norms and the first and last layers are AdamW's.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

from diffusion_bench.training.crew import crew
from diffusion_bench.training.precision import computes_in_bf16

NOT_HIDDEN = ("conv_in", "conv_out", "embedding", "slot_reader")


def is_hidden_matrix(name: str, parameter: Tensor, not_hidden: Sequence[str] = NOT_HIDDEN) -> bool:
    """Return whether a parameter is a matrix, or a kernel, between hidden layers.

    Those with one of `not_hidden` in their names are not.
    """
    return parameter.ndim >= 2 and not any(part in name for part in not_hidden)


class Fp32Muon(Muon):
    """Torch's Muon with iterations in fp32, for processors that emulate bf16.

    torch computes them in bf16, which takes 19 times as long with AVX2 alone. Learning rates are
    those of `adjust_lr_fn="match_rms_adamw"`.
    """

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        """Move every parameter that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._move(matrix, matrix.grad, group)

    def _move(self, matrix: Tensor, gradient: Tensor, group: dict[str, Any]) -> None:
        state = self.state[matrix]
        if not state:
            state["momentum_buffer"] = torch.zeros_like(matrix)
        momentum = state["momentum_buffer"]
        momentum.lerp_(gradient, 1 - group["momentum"])
        update = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
        update = orthogonal(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        lr = group["lr"]
        matrix.mul_(1 - lr * group["weight_decay"])
        matrix.add_(update, alpha=-0.2 * lr * math.sqrt(max(matrix.shape)))


def orthogonal(
    matrix: Tensor, coefficients: tuple[float, float, float], steps: int, eps: float
) -> Tensor:
    """Return a matrix of the same directions whose singular values are about 1.

    Newton-Schulz iterations of a quintic (Jordan et al., 2024).
    """
    a, b, c = coefficients
    wide = matrix if matrix.shape[0] <= matrix.shape[1] else matrix.T
    wide = wide / wide.norm().clamp(min=eps)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide if matrix.shape[0] <= matrix.shape[1] else wide.T


class MuonAndAdamW:
    """Step both optimisers as one; learning rates of both follow AdamW's scale.

    Of several processes each makes its share of the matrices orthogonal and is told the others'.
    """

    def __init__(
        self,
        network: nn.Module,
        *,
        lr: float,
        weight_decay: float,
        not_hidden: Sequence[str] = NOT_HIDDEN,
    ) -> None:
        named = list(network.named_parameters())
        self.hidden = [p for name, p in named if is_hidden_matrix(name, p, not_hidden)]
        others = [p for name, p in named if not is_hidden_matrix(name, p, not_hidden)]
        # The same memory, seen as matrices: Muon takes nothing else.
        self.matrices = [nn.Parameter(p.detach().flatten(1)) for p in self.hidden]
        self.shares = fair_shares([cost(matrix) for matrix in self.matrices], crew().size)
        self.own = self.shares[crew().rank]
        self.both: list[Optimizer] = [AdamW(others, lr=lr, weight_decay=weight_decay, fused=True)]
        if self.own:
            own = [self.matrices[index] for index in self.own]
            settings: dict[str, Any] = {"weight_decay": weight_decay, "lr": lr}
            kind = Muon if computes_in_bf16(own[0].device.type) else Fp32Muon
            self.both.append(kind(own, adjust_lr_fn="match_rms_adamw", **settings))

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """Return the groups of both, whose `lr` may be set."""
        return [group for optimiser in self.both for group in optimiser.param_groups]

    def zero_grad(self, *, set_to_none: bool = True) -> None:
        """Forget the gradients."""
        for parameter in self.hidden:
            parameter.grad = None
        for optimiser in self.both:
            optimiser.zero_grad(set_to_none=set_to_none)

    @torch.no_grad()
    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for index in self.own:
            gradient = self.hidden[index].grad
            self.matrices[index].grad = None if gradient is None else gradient.flatten(1)
        for optimiser in self.both:
            optimiser.step()
        for rank, share in enumerate(self.shares):
            crew().hand_out([self.matrices[index] for index in share], rank)

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both, every process's share in it; all of them must ask."""
        adamw, *muon = self.both
        held = muon[0].state_dict()["state"] if muon else {}
        parts = crew().gather({index: held[own] for own, index in enumerate(self.own) if held})
        return {"adamw": adamw.state_dict(), "muon": {"state": _merged(parts)}}

    def load_state_dict(self, held: dict[str, Any]) -> None:
        """Take up the state of both, of Muon's this process's share."""
        adamw, *muon = self.both
        adamw.load_state_dict(held["adamw"])
        for optimiser in muon:
            kept = {own: held["muon"]["state"][index] for own, index in enumerate(self.own)}
            optimiser.load_state_dict(optimiser.state_dict() | {"state": kept})


def cost(matrix: Tensor) -> int:
    """Return the multiplications of one of Muon's iterations, but for a factor."""
    short, long = sorted(matrix.shape)
    return short * short * (2 * long + short)


def fair_shares(costs: list[int], size: int) -> list[list[int]]:
    """Return which items each of `size` takes, the dearest first to who has least."""
    shares: list[list[int]] = [[] for _ in range(size)]
    spent = [0] * size
    for index in sorted(range(len(costs)), key=costs.__getitem__, reverse=True):
        least = spent.index(min(spent))
        shares[least].append(index)
        spent[least] += costs[index]
    return [sorted(share) for share in shares]


def _merged(parts: list[dict[int, Any]]) -> dict[int, Any]:
    return {index: state for part in parts for index, state in part.items()}
