"""What a processor reaches where nothing is in the way: the roof over what models reach on it.

Cards have specifications; a processor's say little of what a few threads of a virtual machine get.
So a matrix product and a copy are timed, about a quarter of a second together.
"""

from __future__ import annotations

import time
from collections.abc import Callable

import psutil

from diffusion_bench.reports.schema import Ceiling

SIDE = 512  # of the matrices: a MiB each, where a product reaches about all it can
COPY_MIB = 64  # STREAM asks for four times the last-level cache; this is of 16 MiB a core and more
NEEDED_MIB = 1024.0  # free, so that the test is never what a model then lacks
REPEATS = 5
LONGEST_S = 0.3  # of one of the two tests: a busy machine takes long, and tells little


def measure_ceiling(device: str) -> Ceiling | None:
    """Return what the threads that torch uses reach; `None` but on a CPU with memory to spare."""
    if device != "cpu" or psutil.virtual_memory().available < NEEDED_MIB * 2**20:
        return None
    import torch

    with torch.inference_mode():
        left, right = torch.ones(SIDE, SIDE), torch.ones(SIDE, SIDE)
        product = torch.empty(SIDE, SIDE)
        product_s = _best_s(lambda: torch.mm(left, right, out=product))
        read = torch.ones(COPY_MIB * 2**18)
        written = torch.empty_like(read)
        copy_s = _best_s(lambda: written.copy_(read))
    return Ceiling(
        gflops=2 * SIDE**3 / product_s / 1e9, copy_gbs=2 * COPY_MIB * 2**20 / copy_s / 1e9
    )


def _best_s(work: Callable[[], object]) -> float:
    """Return the shortest of some runs after one that does not count: the least disturbed."""
    work()
    found: list[float] = []
    while len(found) < REPEATS and sum(found) < LONGEST_S:
        start_s = time.perf_counter()
        work()
        found.append(time.perf_counter() - start_s)
    return min(found)
