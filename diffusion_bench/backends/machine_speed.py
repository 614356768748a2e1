"""The machine's own speed at one moment: a fixed matrix product and a fixed copy, some runs each.

30 to 40 ms on a processor. The work is the same for ever, whatever is measured beside it: the
figures of two moments tell how the machine changed between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple

import psutil

from diffusion_bench.backends.device import release_unused
from diffusion_bench.records import SpeedProbe

NEEDED_MIB = 1024.0  # free, so that the probe is never what a model then lacks
LEAST, REPEATS = 3, 5
LONGEST_S = 0.025  # of undisturbed runs of one of the two; past it the least number has to do


class Work(NamedTuple):
    """How many products of which side and copies of how many MiB make one run."""

    side: int
    copy_mib: int
    products: int = 1
    copies: int = 1

    def words(self) -> str:
        """Return what is run, as it is stored."""
        product = f"{self.products} x a product of {self.side} x {self.side}"
        return f"{product}, {self.copies} x a copy of {self.copy_mib} MiB"


# A processor's product stays in its caches; two times 16 MiB are about what the bundled model's
# weights take. A card's runs are long beside a launch, its copies larger than its caches.
ON_CPU = Work(side=512, copy_mib=16)
ON_CARD = Work(side=2048, copy_mib=64, products=4, copies=16)


def probe_speed(device: str, *, one_thread: bool = False) -> SpeedProbe | None:
    """Return what the machine does now, on the threads that a cell has; `None` short of memory."""
    import torch

    from diffusion_bench.backends.speed.threads import on_one_thread

    if _free_mib(device) < NEEDED_MIB:
        return None
    work = ON_CPU if device == "cpu" else ON_CARD
    try:
        with (
            _nothing_kept(device),
            torch.inference_mode(),
            on_one_thread() if one_thread else nullcontext(),
        ):
            threads = f", {torch.get_num_threads()} threads" if device == "cpu" else ""
            found = SpeedProbe(
                work=work.words() + threads,
                product_s=_product_s(device, work),
                copy_s=_copy_s(device, work),
            )
    except RuntimeError:  # what a probe lacks, memory above all, is no failure of the cell
        return None
    return found


@contextmanager
def _nothing_kept(device: str) -> Iterator[None]:
    """Give back what torch's allocator took for the block: it is no memory of the cell's."""
    if not device.startswith("cuda"):
        yield
        return
    import torch

    before = torch.cuda.memory_reserved(device)
    try:
        yield
    finally:
        if torch.cuda.memory_reserved(device) > before:
            release_unused(device)


def _product_s(device: str, work: Work) -> tuple[float, ...]:
    import torch

    left, right, product = (torch.ones(work.side, work.side, device=device) for _ in range(3))

    def run() -> None:
        for _ in range(work.products):
            torch.mm(left, right, out=product)

    return _runs_s(device, run)


def _copy_s(device: str, work: Work) -> tuple[float, ...]:
    import torch

    read = torch.ones(work.copy_mib * 2**18, device=device)
    written = torch.empty_like(read)

    def run() -> None:
        for _ in range(work.copies):
            written.copy_(read)

    return _runs_s(device, run)


def _runs_s(device: str, run: Callable[[], None]) -> tuple[float, ...]:
    """Return the seconds of some runs, each waited for, after one that does not count."""
    from diffusion_bench.backends.stage_clock import synchronize

    run()
    synchronize(device)
    found: list[float] = []
    # Reckoned by the shortest: a run that waited for a core must not be the reason for fewer.
    while len(found) < LEAST or (len(found) < REPEATS and len(found) * min(found) < LONGEST_S):
        start_s = time.perf_counter()
        run()
        synchronize(device)
        found.append(time.perf_counter() - start_s)
    return tuple(found)


def _free_mib(device: str) -> float:
    if device.startswith("cuda"):
        import torch

        free, _ = torch.cuda.mem_get_info(device)
        return float(free) / 2**20
    return float(psutil.virtual_memory().available) / 2**20
