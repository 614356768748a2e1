"""Readings one after another: as a live table, as lines, as JSON lines, as metrics."""

from __future__ import annotations

import errno
import json
import math
import os
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import Console

    from diffusion_bench.hardware.sampler import Sampler
    from diffusion_bench.records import Reading

FRAME_S = 0.25  # drawing takes time from reading: no more than 4 frames a second
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
    """Print a JSON line a reading, each at once; end quietly when nobody reads them any more.

    A reading's own `at_s` is of a clock that is never set, so `at_utc` stands beside it.
    """
    with until_the_pipe_closes():
        for reading in readings:
            line = {"at_utc": _utc(reading.at_s), **reading.model_dump(mode="json")}
            print(json.dumps(line, separators=(",", ":")), flush=True)


def _utc(at_s: float) -> str:
    """Return the time of day of a moment of `time.perf_counter`, to the millisecond."""
    at = datetime.now(UTC) - timedelta(seconds=time.perf_counter() - at_s)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def show_live(readings: Iterator[Reading], console: Console) -> None:
    """Show readings with the last minutes: in place in a terminal, else each as a line.

    In place they are drawn 4 times a second at most, and the last one is.
    """
    from rich.live import Live

    from diffusion_bench.cli.machine_table import SHOWN_S, extremes, fitting_table, machine_line

    if not console.is_interactive:
        with until_the_pipe_closes():
            for reading in readings:
                print(machine_line([reading]), flush=True)
        return
    kept: deque[Reading] = deque()
    blocks = not (console.legacy_windows or console.options.ascii_only)
    with Live(console=console, auto_refresh=False, vertical_overflow="crop") as live:
        for frame in _frames(readings):
            while kept and frame[-1].at_s - kept[0].at_s > SHOWN_S:
                kept.popleft()
            shown = [*kept, *frame]
            live.update(fitting_table(shown, console.height, blocks=blocks), refresh=True)
            kept.extend(extremes(frame))


def _frames(readings: Iterator[Reading]) -> Iterator[list[Reading]]:
    """Yield the readings from one frame to the next, which are at least `FRAME_S` apart."""
    frame: list[Reading] = []
    drawn_s = -math.inf
    for reading in readings:
        frame.append(reading)
        if reading.at_s - drawn_s >= FRAME_S:
            yield frame
            frame, drawn_s = [], reading.at_s
    if frame:
        yield frame


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
