"""The machine's own speed at one moment: some runs of products with more weights than caches hold.

About 40 ms on a processor. The work is the same for ever, whatever is measured beside it: the
figures of two moments tell how the machine changed between them. Networks wait for weights and
for arithmetic at once, so what slows them (a neighbour in the shared cache above all) slows such
products as much, and a product of two small matrices or a bare copy by quite another factor. A run
asks for no memory: convolutions do, and are a tenth to a quarter slower in a process whose heap
gives it back to the system each time.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, NamedTuple

import psutil

from diffusion_bench.backends.device import release_unused
from diffusion_bench.records import SpeedProbe

if TYPE_CHECKING:
    from torch import Tensor

NEEDED_MIB = 1024.0  # free, so that the probe is never what a model then lacks
LEAST, REPEATS = 3, 9
LONGEST_S = 0.04  # of undisturbed runs; past it the least number has to do
WAKING_S = 0.1  # of runs that do not count: a card at rest raises its clocks in some of it
CYCLE = 4099  # different values, a prime number: no two rows are alike


class Work(NamedTuple):
    """One run: `rows` by `side` times `products` square matrices, SiLU after each product."""

    rows: int
    side: int
    products: int
    dtype: str

    def words(self) -> str:
        """Return what is run, as it is stored."""
        product = f"{self.rows} x {self.side} by {self.side} x {self.side}"
        return f"{self.products} products of {product} with SiLU, {self.dtype}"


# Weights of 18 MiB in fp32, as of a denoiser's last levels; on a card of 64 MiB in fp16, and runs
# that are long beside their launches.
ON_CPU = Work(64, 768, 8, "float32")
ON_CARD = Work(2048, 2048, 8, "float16")


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
            return SpeedProbe(
                work=work.words() + threads, before_s=_runs_s(device, _products(device, work))
            )
    except RuntimeError:  # what a probe lacks, memory above all, is no failure of the cell
        return None


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


def _products(device: str, work: Work) -> Callable[[], None]:
    """Return one run of the work; what it works on is made here."""
    import torch
    from torch.nn import functional

    # Not all alike, which would spare multipliers power; and torch's generator is the cell's.
    cycle = (torch.arange(CYCLE, device=device) * 0.618).frac() - 0.5

    def made(rows: int) -> Tensor:
        numel = rows * work.side
        values = cycle.repeat(math.ceil(numel / CYCLE))[:numel].reshape(rows, work.side)
        return values.to(getattr(torch, work.dtype))

    given, found = made(work.rows), made(work.rows)
    weights = [made(work.side) for _ in range(work.products)]

    def run() -> None:
        for weight in weights:
            torch.mm(given, weight, out=found)
            functional.silu(found, inplace=True)

    return run


def _runs_s(device: str, run: Callable[[], None]) -> tuple[float, ...]:
    """Return the seconds of some runs, each waited for, after one or more that do not count."""
    from diffusion_bench.backends.stage_clock import synchronize

    run()
    synchronize(device)
    waking_until_s = 0.0 if device == "cpu" else time.perf_counter() + WAKING_S
    while waking_until_s and time.perf_counter() < waking_until_s:
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
