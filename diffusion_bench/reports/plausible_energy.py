"""The doctor's checks of energy: what no device can have used, or not in that time.

Of a cell of one device, and of each device of a shared one. Each check says what is wrong with a
cell, "" where nothing is, as in `plausible.py`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import NamedTuple

from diffusion_bench.reports.labels import card_numbered, card_of
from diffusion_bench.reports.schema import Cell, Energy, Header, SharedCell

POWER_SLACK = 1.1  # sensors are off by a few percent, and limits are passed for a moment


class _Metered(NamedTuple):
    """Energy, the device it is of ("" of one alone), the most it may draw, and what it covers."""

    device: str
    energy: Energy
    limit_w: float | None
    calls_s: float


def zero_energy(cell: Cell | SharedCell, header: Header) -> str:
    """Find energy that is zero or negative, which no device that works uses."""
    samples = cell.samples if isinstance(cell, Cell) else ()
    low = min((s.energy_j for s in samples if s.energy_j is not None), default=1.0)
    return f"{low:g} J" if low <= 0 else _first(cell, header, _zero)


def net_above_gross(cell: Cell | SharedCell, header: Header) -> str:
    """Find net energy that is not the gross energy less the idle power over the window."""
    return _first(cell, header, _net)


def over_the_limit(cell: Cell | SharedCell, header: Header) -> str:
    """Find more power than the card may draw."""
    return _first(cell, header, _over)


def short_window(cell: Cell | SharedCell, header: Header) -> str:
    """Find an energy window shorter than the calls, or the starts, it is said to cover."""
    return _first(cell, header, _short)


def _first(cell: Cell | SharedCell, header: Header, look: Callable[[_Metered], str]) -> str:
    """Return what is wrong with the first energy of a cell that has something, and whose it is."""
    told = ((one.device, look(one)) for one in _metered(cell, header))
    return next((": ".join(filter(None, each)) for each in told if each[1]), "")


def _metered(cell: Cell | SharedCell, header: Header) -> Iterator[_Metered]:
    if isinstance(cell, Cell):
        if cell.energy is not None:
            walls = [sample.wall_s for sample in cell.samples]
            calls_s = math.fsum(walls)
            if cell.energy.calls is not None:  # beside the last visit: earlier ones may be slower
                calls_s = cell.energy.calls * min(walls, default=0.0)
            yield _Metered("", cell.energy, _limit_w(cell, header), calls_s)
        return
    for job in cell.jobs:
        if job.energy is not None:
            card = card_numbered(job.gpu_index, header)
            limit_w = card.power_limit_w if card else None
            # Every device is watched until the last one is done.
            yield _Metered(job.device, job.energy, limit_w, math.fsum(cell.wall_s))


def _limit_w(cell: Cell, header: Header) -> float | None:
    if cell.before is not None and cell.before.gpu_power_limit_w is not None:
        return cell.before.gpu_power_limit_w
    card = card_of(cell, header)
    return card.power_limit_w if card else None


def _zero(found: _Metered) -> str:
    return f"{found.energy.total_j:g} J" if found.energy.total_j <= 0 else ""


def _net(found: _Metered) -> str:
    energy = found.energy
    if energy.net_j is None:
        return ""
    if energy.idle_power_w is None:
        return "net energy without an idle power"
    expected_j = energy.total_j - energy.idle_power_w * energy.window_s
    # A sweep may hold net energy at zero where the device drew less than it had when idle.
    close = math.isclose(energy.net_j, expected_j, rel_tol=0.01, abs_tol=0.5)
    if close or (energy.net_j == 0 and expected_j <= 0):
        return ""
    return f"net {energy.net_j:.4g} J, but {expected_j:.4g} J follow from the idle power"


def _over(found: _Metered) -> str:
    limit_w, energy = found.limit_w, found.energy
    if limit_w is None or limit_w <= 0 or energy.scope != "gpu":
        return ""
    power_w = energy.total_j / energy.window_s
    return f"{power_w:.0f} W, limit {limit_w:.0f} W" if power_w > POWER_SLACK * limit_w else ""


def _short(found: _Metered) -> str:
    window_s, calls_s = found.energy.window_s, found.calls_s
    return f"{window_s:.3g} s for calls of {calls_s:.3g} s" if window_s < 0.9 * calls_s else ""
