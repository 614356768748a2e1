"""Which optimiser learns what: Muon the matrices, AdamW everything else.

Muon (Jordan et al., 2024) makes each matrix's momentum orthogonal before it steps, so that no
direction is learnt only after the loud ones. A convolution's kernel is a matrix of
(out, in * height * width). Embeddings, biases, norms and the first and last layers are AdamW's.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import AdamW, Muon, Optimizer

NOT_HIDDEN = ("conv_in", "conv_out", "embedding", "slot_reader")


def is_hidden_matrix(name: str, parameter: Tensor) -> bool:
    """Return whether a parameter is a matrix, or a kernel, between hidden layers."""
    return parameter.ndim >= 2 and not any(part in name for part in NOT_HIDDEN)


class MuonAndAdamW:
    """Step both optimisers as one; learning rates of both follow AdamW's scale."""

    def __init__(self, network: nn.Module, *, lr: float, weight_decay: float) -> None:
        named = list(network.named_parameters())
        self.hidden = [p for name, p in named if is_hidden_matrix(name, p)]
        others = [p for name, p in named if not is_hidden_matrix(name, p)]
        # The same memory, seen as matrices: Muon takes nothing else.
        self.matrices = [nn.Parameter(p.detach().flatten(1)) for p in self.hidden]
        self.both: list[Optimizer] = [
            Muon(self.matrices, lr=lr, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw"),
            AdamW(others, lr=lr, weight_decay=weight_decay, fused=True),
        ]

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
        for parameter, matrix in zip(self.hidden, self.matrices, strict=True):
            matrix.grad = None if parameter.grad is None else parameter.grad.flatten(1)
        for optimiser in self.both:
            optimiser.step()

    def state_dict(self) -> dict[str, Any]:
        """Return the state of both."""
        return {"muon": self.both[0].state_dict(), "adamw": self.both[1].state_dict()}

    def load_state_dict(self, held: dict[str, Any]) -> None:
        """Take up the state of both."""
        for optimiser, name in zip(self.both, ("muon", "adamw"), strict=True):
            optimiser.load_state_dict(held[name])
