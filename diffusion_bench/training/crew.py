"""Several processes that train one network: each takes a share of every batch.

Start them with `torchrun --standalone --nproc-per-node N -m ...`; without it a process is alone and
nothing here does anything. On a CPU one process a core is faster than threads: the networks are
small, and threads wait for each other at every operation, processes once a step.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cache
from typing import Any

import torch
from torch import Tensor, distributed, nn


@dataclass(frozen=True)
class Crew:
    """Which of how many processes this one is."""

    rank: int = 0
    size: int = 1

    @property
    def leads(self) -> bool:
        """Whether this process is the one that logs and saves."""
        return self.rank == 0

    def share(self, batch: int) -> int:
        """Return how much of a batch each process takes; the shares must be equal."""
        if batch % self.size:
            raise ValueError(f"a batch of {batch} cannot be shared by {self.size} processes")
        return batch // self.size

    def average_gradients(self, network: nn.Module) -> None:
        """Replace each process's gradients by their mean over all."""
        if self.size == 1:
            return
        gradients = [p.grad for p in network.parameters() if p.grad is not None]
        # One message: a hundred small ones would cost more than what they carry.
        flat = _joined(gradients)
        distributed.all_reduce(flat)
        flat /= self.size
        _spread(flat, gradients)

    def hand_out(self, tensors: list[Tensor], rank: int) -> None:
        """Replace each process's tensors by those of one of them."""
        if self.size == 1 or not tensors:
            return
        flat = _joined(tensors)
        distributed.broadcast(flat, rank)
        if rank != self.rank:
            _spread(flat, tensors)

    def gather(self, own: dict[int, Any]) -> list[dict[int, Any]]:
        """Return what every process has, in the order of their ranks."""
        if self.size == 1:
            return [own]
        found: list[dict[int, Any]] = [{}] * self.size
        distributed.all_gather_object(found, own)
        return found

    def decided(self, choice: bool) -> bool:
        """Return what the leader chose, in every process."""
        if self.size == 1:
            return choice
        told = torch.tensor([choice])
        distributed.broadcast(told, 0)
        return bool(told)

    def wait(self) -> None:
        """Return when every process has come here."""
        if self.size > 1:
            distributed.barrier()


@cache
def crew() -> Crew:
    """Join the processes that torchrun started with this one."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Crew()
    distributed.init_process_group("gloo")  # nccl takes no tensors of the CPU
    return Crew(distributed.get_rank(), size)


def _joined(tensors: list[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _spread(flat: Tensor, tensors: list[Tensor]) -> None:
    """Put what was joined back into the tensors, in place."""
    parts = flat.split([tensor.numel() for tensor in tensors])
    for tensor, part in zip(tensors, parts, strict=True):
        tensor.copy_(part.view_as(tensor))
