"""The half second before a cell in which its machine should do nothing."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import NamedTuple

from diffusion_bench.bench.header import utc_now
from diffusion_bench.hardware.host import processor_s
from diffusion_bench.hardware.sampler import Sampler
from diffusion_bench.hardware.state import IDLE_S
from diffusion_bench.records import CpuSpent, Reading


class IdleLook(NamedTuple):
    """What was read while nothing was asked of the machine, and when a cell began after it.

    `own` is what this program's processes took of the processor, `None` where one cannot tell.
    """

    readings: tuple[Reading, ...]
    own: CpuSpent | None
    started_utc: str
    start_s: float


def look_at_rest(
    sampler: Sampler,
    pids: Collection[int],
    clock: Callable[[], float],
    rest: Callable[[float], None],
) -> IdleLook:
    """Rest for half a second and return what was read; `pids` are this program's processes."""
    spent_before_s, idle_from_s = processor_s(pids), clock()
    rest(IDLE_S)
    spent_s, started_utc, start_s = processor_s(pids), utc_now(), clock()
    own = None
    if spent_before_s is not None and spent_s is not None:
        own = CpuSpent(start_s=idle_from_s, end_s=start_s, cpu_s=spent_s - spent_before_s)
    return IdleLook(sampler.between(idle_from_s, start_s), own, started_utc, start_s)
