"""How often an energy counter moves, found by watching it: no driver tells, and cards differ.

Counters were seen to move every 10 ms on one card and every 100 ms on others, which bounds how
short a window may be: https://github.com/gpuopenanalytics/pynvml/pull/18, https://ml.energy/blog
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from itertools import pairwise
from statistics import median

CHANGES = 4  # the first only finds the grid; then three periods
LIMIT_S = 0.5
POLL_S = 0.001

STANDS = f"the energy counter did not move twice within {LIMIT_S:g} s"

Counter = Callable[[], float | None]


def find_update_periods(
    counters: Mapping[int, Counter],
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> dict[int, float]:
    """Return the seconds between two changes of each counter, all watched at the same time.

    A counter that moves at every poll is told as the pace of the polls, about a millisecond. One
    that does not move twice within half a second is left out.
    """
    last = {index: read() for index, read in counters.items()}
    changed_at: dict[int, list[float]] = {index: [] for index in counters}
    give_up_at = clock() + LIMIT_S
    watched = {index for index, value in last.items() if value is not None}
    while watched and clock() < give_up_at:
        sleep(POLL_S)
        for index in sorted(watched):
            value = counters[index]()
            if value is not None and value != last[index]:
                last[index] = value
                changed_at[index].append(clock())
        watched = {index for index in watched if len(changed_at[index]) < CHANGES}
    periods = {
        index: [later - earlier for earlier, later in pairwise(times)]
        for index, times in changed_at.items()
    }
    return {index: median(found) for index, found in periods.items() if found}
