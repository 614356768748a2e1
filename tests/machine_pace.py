"""How fast this machine is just now, so that no test of growth fails where all is slow.

A limit in seconds fails on a slow or a busy machine, and holds on a fast one what is ten times too
slow. A limit in pieces of fixed work does neither.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

TRIES = 3
Result = TypeVar("Result")


def timed(work: Callable[[], Result]) -> tuple[Result, float]:
    """Return what some work returns, and the processor seconds that this process spends on it."""
    start_s = time.process_time()
    done = work()
    return done, time.process_time() - start_s


def piece_s() -> float:
    """Return the processor seconds of a fixed piece of Python, of the fastest of some tries.

    About 0.05 s on two quiet cores of an EPYC: a limit of 20 pieces is one of a second there.
    """
    return min(timed(_piece)[1] for _ in range(TRIES))


def _piece() -> None:
    words = [f"{number}:{number % 7}" for number in range(60_000)]
    sorted(words)
    dict.fromkeys(words)
