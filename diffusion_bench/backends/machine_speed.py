"""The machine's own speed at one moment: some runs of the blocks that a U-Net is made of.

About 40 ms on a processor. The work is the same for ever, whatever is measured beside it: the
figures of two moments tell how the machine changed between them. It is made of what cells are
made of, since what slows those (a neighbour in the shared cache above all) slows a bare product
or copy by quite another factor.
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
LEAST, REPEATS = 3, 5
LONGEST_S = 0.1  # of undisturbed runs; past it the least number has to do
GROUPS = 16  # of the normalisation
CYCLE = 4099  # different values, a prime number: no two channels are alike


class Level(NamedTuple):
    """Residual blocks at one resolution: two 3 x 3 convolutions each, normalised, SiLU before."""

    channels: int
    side: int
    blocks: int = 1


class Work(NamedTuple):
    """What makes one run: all levels, `times` over."""

    levels: tuple[Level, ...]
    dtype: str
    times: int = 1
    batch: int = 1

    def words(self) -> str:
        """Return what is run, as it is stored."""
        levels = " + ".join(f"{n} of {c} x {side} x {side}" for c, side, n in self.levels)
        return f"{self.times} x residual blocks ({levels}), {self.dtype}, batch {self.batch}"


# A processor's activations stay in its caches and the weights of the last level do not, as in the
# bundled U-Net. A card's are the levels of Stable Diffusion's, long beside their launches.
ON_CPU = Work((Level(64, 64), Level(128, 32), Level(256, 8, blocks=4)), "float32")
ON_CARD = Work((Level(320, 64), Level(640, 32), Level(1280, 16)), "float16", times=8, batch=2)


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
                work=work.words() + threads, before_s=_runs_s(device, _blocks(device, work))
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


def _blocks(device: str, work: Work) -> Callable[[], None]:
    """Return one run of the work; what it works on is made here."""
    import torch
    from torch.nn import functional

    # Not all alike, which would spare multipliers power; and torch's generator is the cell's.
    cycle = (torch.arange(CYCLE, device=device) * 0.618).frac() - 0.5

    def made(*shape: int, scale: float = 1.0) -> Tensor:
        numel = math.prod(shape)
        values = cycle.repeat(math.ceil(numel / CYCLE))[:numel].reshape(shape)
        return (scale * values).to(getattr(torch, work.dtype))

    levels = [
        (
            made(work.batch, channels, side, side),
            [made(channels, channels, 3, 3, scale=0.1) for _ in range(2 * blocks)],
        )
        for channels, side, blocks in work.levels
    ]

    def run() -> None:
        for _ in range(work.times):
            for given, weights in levels:
                hidden = given
                for first, second in zip(weights[::2], weights[1::2], strict=True):
                    inner = hidden
                    for weight in (first, second):
                        inner = functional.silu(functional.group_norm(inner, GROUPS))
                        inner = functional.conv2d(inner, weight, padding=1)
                    hidden = hidden + inner

    return run


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
