"""Readings one after another: as a live table, as lines, as JSON lines, as metrics."""

from __future__ import annotations

import errno
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from diffusion_bench.hardware.sampler import Sampler
    from diffusion_bench.records import Reading

CLOSED_PIPE = (errno.EPIPE, errno.EINVAL)  # Windows says the other


def paced(
    sampler: Sampler,
    interval_s: float,
    count: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
    sleep: Callable[[float], None] = time.sleep,
) -> Iterator[Reading]:
    """Yield a reading every `interval_s`, `count` of them or for ever; late ones are left out.

    The first comes one interval after the start: processor use is counted between two looks.
    """
    from diffusion_bench.hardware.sampler import next_tick

    sampler.look()
    start_s, tick, told = clock(), 1, 0
    while count is None or told < count:
        sleep(max(0.0, start_s + tick * interval_s - clock()))
        yield sampler.look()
        told += 1
        tick = next_tick(tick, start_s, interval_s, clock())


def print_json(readings: Iterator[Reading]) -> None:
    """Print a JSON line a reading, each at once; end quietly when nobody reads them any more."""
    with until_the_pipe_closes():
        for reading in readings:
            print(reading.model_dump_json(), flush=True)


def show_live(readings: Iterator[Reading], console: Console) -> None:
    """Show each reading with the last minutes: in place in a terminal, else as a line."""
    from rich.live import Live

    from diffusion_bench.cli.machine_table import SHOWN_S, fitting_table, machine_line

    if not console.is_terminal:
        with until_the_pipe_closes():
            for reading in readings:
                print(machine_line([reading]), flush=True)
        return
    kept: deque[Reading] = deque()
    blocks = not (console.legacy_windows or console.options.ascii_only)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for reading in readings:
            kept.append(reading)
            while reading.at_s - kept[0].at_s > SHOWN_S:
                kept.popleft()
            live.update(fitting_table(list(kept), console.height, blocks=blocks), refresh=True)


@contextmanager
def until_the_pipe_closes() -> Iterator[None]:
    """Run the block to its end, or until who reads the output (`| head`) has gone."""
    try:
        yield
    except OSError as error:
        if error.errno not in CLOSED_PIPE:
            raise
        # Python would complain once more when it flushes at its own end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
