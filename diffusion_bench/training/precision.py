"""In which precision a device trains: bf16 where it computes in it."""

from __future__ import annotations

import torch

from diffusion_bench.backends.speed.packing import packs


def computes_in_bf16(device: str) -> bool:
    """Return whether bf16 is a device's own; a CPU with AVX2 alone emulates it, much slower."""
    return device != "cpu" or packs(torch.bfloat16)


def mixed_precision(device: str) -> torch.autocast:
    """Return bf16 autocast where the device computes in bf16, else one that changes nothing."""
    return torch.autocast(device, torch.bfloat16, enabled=computes_in_bf16(device))
