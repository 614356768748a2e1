"""The energy of a stretch of time: from a counter where one moves, else from power readings."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise
from typing import Literal

from diffusion_bench.hardware.trace import find_look
from diffusion_bench.records import Reading, Record

MIN_WINDOW_S = 1.0  # power and energy registers move about every 0.1 s
MIN_SAMPLES = 3
MAX_GAP_S = 1.0
MARGIN_S = 1.5  # of readings beyond the window, for what may have flowed at its edges
MAX_UNSEEN = 0.1  # share of the window, at its edges, that may lie outside the readings

COUNTER = "counter"
INTEGRATED = "integrated power"
RAPL = "rapl"
MIN_RAPL_WINDOW_S = 0.2  # RAPL moves every millisecond; what limits it is the pace of the looks

# What the sum may be off by. A GPU's registers move about every 0.1 s and its sensor is off by up
# to 5 percent (an RTX 4090 read 4 percent low). Intel states no accuracy for RAPL: 1 percent is an
# assumption of this project.
GPU_REFRESH_S, GPU_ERROR = 0.1, 0.05
RAPL_REFRESH_S, RAPL_ERROR = 0.001, 0.01

MIN_IDLE_S = 0.4  # half a second of looks, less a part of an interval at each end
MIN_IDLE_COUNTER_S = 2.0  # below, the counter's steps of 0.1 s are over 10 percent of the idle time

Point = tuple[float, float]  # (seconds, value)


class EnergyFound(Record):
    """The energy of one window, in joules; `net_j` is without what idling would have used.

    `uncertainty_j` bounds the error of `total_j`: what flowed around the window's edges within a
    refresh of the register and the distance to the nearest reading, and the sensor's own error.
    """

    total_j: float
    window_s: float
    method: str
    scope: Literal["gpu", "module", "cpu package"]
    uncertainty_j: float
    idle_power_w: float | None = None
    net_j: float | None = None


def measure_energy(
    readings: Sequence[Reading],
    gpu_index: int | None,
    start_s: float,
    end_s: float,
    idle: Sequence[Reading],
    *,
    power_reach_s: float = GPU_REFRESH_S,
) -> tuple[EnergyFound | None, str]:
    """Return the energy of a window, or `None` and the reason.

    By the counter where it moves, else a GPU by its power and the trapezoid rule. Give the readings
    around the window too, so that its edges are interpolated.

    Of one GPU, or of the processor's packages where `gpu_index` is `None`. `idle` are readings of
    the machine at rest just before; half a second of looks gives the idle power. A power is of the
    last `power_reach_s`.
    """
    if gpu_index is None:
        running, how = _package_joules(readings, start_s, end_s)
    else:
        running, how = _gpu_joules(readings, gpu_index, start_s, end_s)
    if not running:
        return None, how
    total_j = _advance(running, start_s, end_s)
    window_s = end_s - start_s
    idle_w = _idle_power_w(idle, gpu_index, how)
    refresh_s = power_reach_s if how == INTEGRATED else _refresh_s(readings, gpu_index, how)
    error = RAPL_ERROR if how == RAPL else GPU_ERROR
    edges_j = sum(_edge_j(running, at_s, refresh_s) for at_s in (start_s, end_s))
    return EnergyFound(
        total_j=total_j,
        window_s=window_s,
        method=how,
        scope="cpu package" if gpu_index is None else _power_scope(readings, gpu_index),
        uncertainty_j=edges_j + error * total_j,
        idle_power_w=idle_w,
        net_j=None if idle_w is None else total_j - idle_w * window_s,
    ), how


def tells_energy(readings: Sequence[Reading], gpu_index: int) -> bool:
    """Return whether a GPU's power or energy was told in any of the readings."""
    names = ("power_w", "energy_j")
    return any(_column(readings, gpu_index, name) for name in names)


def _gpu_joules(
    readings: Sequence[Reading], gpu_index: int, start_s: float, end_s: float
) -> tuple[list[Point], str]:
    """Return a running total of joules around the window and its method, or none and the reason."""
    counter = _column(readings, gpu_index, "energy_j")
    power = _column(readings, gpu_index, "power_w")
    if not counter and not power:  # no window is long enough for what nobody tells
        looks = (find_look(reading, gpu_index) for reading in readings)
        told = next(filter(None, (look.missing.get("power_w") for look in looks if look)), "")
        if told:
            return [], told
    if end_s - start_s < MIN_WINDOW_S:
        return [], _too_short(start_s, end_s, MIN_WINDOW_S)
    if _counts(_around(counter, start_s, end_s), start_s, end_s):
        return _around(counter, start_s - MARGIN_S, end_s + MARGIN_S), COUNTER
    reason = _why_not(_around(power, start_s, end_s), start_s, end_s)
    if reason:
        return [], reason
    return _integrate(_around(power, start_s - MARGIN_S, end_s + MARGIN_S)), INTEGRATED


def _package_joules(
    readings: Sequence[Reading], start_s: float, end_s: float
) -> tuple[list[Point], str]:
    """Return the processor's running total around the window, or none and the reason."""
    counter = _column(readings, None, "package_energy_j")
    reasons = (reading.host.missing.get("package_energy_j") for reading in reversed(readings))
    told = next(filter(None, reasons), "")
    if told and not counter:  # no window is long enough for a counter that is not there
        return [], told
    if end_s - start_s < MIN_RAPL_WINDOW_S:
        return [], _too_short(start_s, end_s, MIN_RAPL_WINDOW_S)
    if _counts(_around(counter, start_s, end_s), start_s, end_s):
        return _around(counter, start_s - MARGIN_S, end_s + MARGIN_S), RAPL
    stood = "the processor's energy counter does not move, or its readings leave out the window"
    return [], told or stood


def _refresh_s(readings: Sequence[Reading], gpu_index: int | None, how: str) -> float:
    """Return how old a counter may be: of a card's as it was seen to move, if it was."""
    if how == RAPL:
        return RAPL_REFRESH_S
    looks = (find_look(reading, gpu_index) for reading in readings if gpu_index is not None)
    seen = (look.energy_update_s for look in looks if look and look.energy_update_s)
    return next(seen, GPU_REFRESH_S)


def _power_scope(readings: Sequence[Reading], gpu_index: int) -> Literal["gpu", "module"]:
    """Return what the power and energy of a GPU are of; of a driver that does not tell, the GPU."""
    looks = (find_look(reading, gpu_index) for reading in readings)
    return next((look.power_scope for look in looks if look and look.power_scope), "gpu")


def _too_short(start_s: float, end_s: float, least_s: float) -> str:
    return f"the window of {end_s - start_s:.2f} s is shorter than {least_s:g} s"


def _idle_power_w(idle: Sequence[Reading], gpu_index: int | None, how: str) -> float | None:
    """Return the mean power at rest, by the way of the total where that can tell so short."""
    power = [] if gpu_index is None else _column(idle, gpu_index, "power_w")
    name = "package_energy_j" if gpu_index is None else "energy_j"
    counter = [] if how == INTEGRATED else _column(idle, gpu_index, name)
    least_s = MIN_IDLE_S if gpu_index is None else MIN_IDLE_COUNTER_S
    for points, enough_s in ((counter, least_s), (_integrate(power), MIN_IDLE_S)):
        span_s = points[-1][0] - points[0][0] if points else 0.0
        fell = any(later[1] < earlier[1] for earlier, later in pairwise(points))
        if span_s >= enough_s and not fell and points[-1][1] > points[0][1]:
            return (points[-1][1] - points[0][1]) / span_s
    return None


def _edge_j(running: Sequence[Point], at_s: float, refresh_s: float) -> float:
    """Return what may be counted on the wrong side of an edge of the window.

    The larger flow before or after it, for as long as the register may be old and the edge may lie
    from the nearest reading.
    """
    near_s = refresh_s + min(abs(point[0] - at_s) for point in running)
    before_j = _advance(running, at_s - near_s, at_s)
    return max(before_j, _advance(running, at_s, at_s + near_s))


def _column(readings: Sequence[Reading], gpu_index: int | None, name: str) -> list[Point]:
    """Return the values that could be told of one GPU, or of the host, with their times."""
    looks = ((r.at_s, r.host if gpu_index is None else find_look(r, gpu_index)) for r in readings)
    told = ((at_s, getattr(look, name, None)) for at_s, look in looks)
    return [(at_s, value) for at_s, value in told if value is not None]


def _around(points: Sequence[Point], start_s: float, end_s: float) -> list[Point]:
    """Return the points of the window and the nearest one on each side of it."""
    first = max(0, bisect_right(points, start_s, key=lambda point: point[0]) - 1)
    last = bisect_left(points, end_s, key=lambda point: point[0])
    return list(points[first : last + 1])


def _counts(points: Sequence[Point], start_s: float, end_s: float) -> bool:
    """Return whether a counter moved in the window, did not fall, and was read to its edges."""
    fell = any(later[1] < earlier[1] for earlier, later in pairwise(points))
    if len(points) < 2 or fell or _unseen(points, start_s, end_s) > MAX_UNSEEN:
        return False
    return _advance(points, start_s, end_s) > 0


def _why_not(points: Sequence[Point], start_s: float, end_s: float) -> str:
    """Return why power cannot be integrated over the window, empty if it can."""
    inside = [point for point in points if start_s <= point[0] <= end_s]
    if len(inside) < MIN_SAMPLES:
        return f"{len(inside)} power readings in the window; {MIN_SAMPLES} are needed"
    if _unseen(points, start_s, end_s) > MAX_UNSEEN:
        return "the power readings do not cover the window"
    gap_s = max(later[0] - earlier[0] for earlier, later in pairwise(points))
    return f"a gap of {gap_s:.1f} s between power readings" if gap_s > MAX_GAP_S else ""


def _unseen(points: Sequence[Point], start_s: float, end_s: float) -> float:
    """Return the share of the window before the first and after the last point."""
    before, after = max(0.0, points[0][0] - start_s), max(0.0, end_s - points[-1][0])
    return (before + after) / (end_s - start_s)


def _integrate(power: Sequence[Point]) -> list[Point]:
    """Return the joules since the first point, by the trapezoid rule."""
    total = 0.0
    joules = [(at_s, total) for at_s, _ in power[:1]]
    for (at, watts), (then, watts_then) in pairwise(power):
        total += (then - at) * (watts + watts_then) / 2
        joules.append((then, total))
    return joules


def _advance(points: Sequence[Point], start_s: float, end_s: float) -> float:
    """Return how far a running total moved over the window."""
    return _value_at(points, end_s) - _value_at(points, start_s)


def _value_at(points: Sequence[Point], at_s: float) -> float:
    """Return the total at a time, on the line through the two points nearest to it."""
    right = bisect_right(points, at_s, key=lambda point: point[0])
    right = min(max(right, 1), len(points) - 1)
    (t0, v0), (t1, v1) = points[right - 1], points[right]
    return v0 + (v1 - v0) * (at_s - t0) / (t1 - t0) if t1 > t0 else v1
