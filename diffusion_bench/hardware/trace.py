"""What a run of readings adds up to: columns for a chart, energy, and the memory peak."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from itertools import pairwise

from diffusion_bench.records import GpuReading, GpuTrace, Reading, Trace

MIN_WINDOW_S = 1.0  # power and energy registers move about every 0.1 s
MIN_SAMPLES = 3
MAX_GAP_S = 1.0
MAX_UNSEEN = 0.1  # share of the window, at its edges, that may lie outside the readings

COUNTER = "counter"
INTEGRATED = "integrated power"

Point = tuple[float, float]  # (seconds, value)


def to_trace(readings: Sequence[Reading], start_s: float, *, max_points: int = 600) -> Trace:
    """Return the readings as columns, times counted from `start_s`.

    More than `max_points` are thinned evenly; the peaks of memory and power are always kept.
    """
    kept = [readings[i] for i in _thin(readings, max_points)]
    indexes = sorted({gpu.index for reading in kept for gpu in reading.gpus})
    return Trace(
        at_s=tuple(reading.at_s - start_s for reading in kept),
        cpu_percent=tuple(reading.host.cpu_percent for reading in kept),
        ram_used_mib=tuple(reading.host.ram_used_mib for reading in kept),
        rss_mib=tuple(reading.host.rss_mib for reading in kept),
        gpus=tuple(_gpu_trace(kept, index) for index in indexes),
        no_gpu=None if indexes else next((r.no_gpu for r in reversed(kept) if r.no_gpu), None),
    )


def energy_j(
    readings: Sequence[Reading], gpu_index: int, start_s: float, end_s: float
) -> tuple[float | None, str]:
    """Return the joules one GPU used in a window and how they were had, or `None` and why not.

    The driver's counter where it moves, else its power integrated by the trapezoid rule. Give the
    readings around the window too, so that its edges are interpolated.
    """
    window_s = end_s - start_s
    if window_s < MIN_WINDOW_S:
        return None, f"the window of {window_s:.2f} s is shorter than {MIN_WINDOW_S:g} s"
    looks = [(r.at_s, gpu) for r in readings if (gpu := _gpu(r, gpu_index)) is not None]
    counter = [(at_s, gpu.energy_j) for at_s, gpu in looks if gpu.energy_j is not None]
    counted_j = _counted(_around(counter, start_s, end_s), start_s, end_s)
    if counted_j is not None:
        return counted_j, COUNTER
    power = [(at_s, gpu.power_w) for at_s, gpu in looks if gpu.power_w is not None]
    power = _around(power, start_s, end_s)
    reason = _why_not(power, start_s, end_s)
    if reason:
        return None, reason
    return _advance(_integrate(power), start_s, end_s), INTEGRATED


def peak_nvml_mib(readings: Sequence[Reading], gpu_index: int) -> float | None:
    """Return the highest memory use of one GPU, all its processes together."""
    looks = (_gpu(reading, gpu_index) for reading in readings)
    return max(
        (g.memory_used_mib for g in looks if g and g.memory_used_mib is not None), default=None
    )


def _gpu(reading: Reading, index: int) -> GpuReading | None:
    return next((gpu for gpu in reading.gpus if gpu.index == index), None)


def _gpu_trace(readings: Sequence[Reading], index: int) -> GpuTrace:
    looks = [_gpu(reading, index) for reading in readings]
    columns = GpuTrace.model_fields.keys() - {"index", "name"}
    return GpuTrace(
        index=index,
        name=next((look.name for look in looks if look and look.name), None),
        **{name: tuple(getattr(look, name, None) for look in looks) for name in columns},
    )


def _thin(readings: Sequence[Reading], max_points: int) -> list[int]:
    """Return the indices to keep: evenly spread ones, and where memory and power peak."""
    if max_points < 2:
        raise ValueError(f"max_points is {max_points}; it must be at least 2")
    count = len(readings)
    if count <= max_points:
        return list(range(count))
    peaks = _peaks(readings)[: max_points - 2]
    even = max_points - len(peaks)
    spread = {round(i * (count - 1) / (even - 1)) for i in range(even)}
    return sorted(spread.union(peaks))


def _peaks(readings: Sequence[Reading]) -> list[int]:
    """Return the indices of the highest resident set, and of each GPU's memory and power."""
    indexes = sorted({gpu.index for reading in readings for gpu in reading.gpus})
    columns = [[reading.host.rss_mib for reading in readings]]
    for index in indexes:
        looks = [_gpu(reading, index) for reading in readings]
        columns.append([look.memory_used_mib if look else None for look in looks])
        columns.append([look.power_w if look else None for look in looks])
    found = []
    for column in columns:
        told = [(value, -i) for i, value in enumerate(column) if value is not None]
        if told:
            found.append(-max(told)[1])
    return list(dict.fromkeys(found))


def _around(points: Sequence[Point], start_s: float, end_s: float) -> list[Point]:
    """Return the points of the window and the nearest one on each side of it."""
    first = max(0, bisect_right(points, start_s, key=lambda point: point[0]) - 1)
    last = bisect_left(points, end_s, key=lambda point: point[0])
    return list(points[first : last + 1])


def _counted(points: Sequence[Point], start_s: float, end_s: float) -> float | None:
    """Return how far the counter moved; `None` where it stood, fell or leaves the window."""
    fell = any(later[1] < earlier[1] for earlier, later in pairwise(points))
    if len(points) < 2 or fell or _unseen(points, start_s, end_s) > MAX_UNSEEN:
        return None
    moved_j = _advance(points, start_s, end_s)
    return moved_j if moved_j > 0 else None


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
    joules = [(power[0][0], total)]
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
