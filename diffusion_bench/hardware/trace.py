"""What a run of readings adds up to: columns for a chart, and the memory peak."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Any

from diffusion_bench.records import GpuReading, GpuTrace, HostReading, Reading, Trace

DIGITS = 3  # of seconds, percent, MiB, watts, degrees and MHz
SHOWN_GAP_S = 0.5  # an interval of 0.1 s may well be a late 0.2 s on a busy machine


def to_trace(
    readings: Sequence[Reading],
    start_s: float,
    *,
    apart_s: float = math.inf,
    max_points: int = 600,
) -> Trace:
    """Return the readings as columns, times counted from `start_s`.

    More than `max_points` are thinned evenly; the peaks of memory and power are always kept. Those
    after `apart_s` are thinned apart from the others. A gap of half a second and more is a point in
    its middle that tells nothing, so that no line crosses.
    """
    parts = split(readings, apart_s)
    kept = [part[index] for part in parts for index in _thin(part, max_points)]
    kept = sorted([*kept, *_gaps(readings)], key=lambda reading: reading.at_s)
    indexes = sorted({gpu.index for reading in kept for gpu in reading.gpus})
    return Trace(
        at_s=_column(reading.at_s - start_s for reading in kept),
        cpu_percent=_column(reading.host.cpu_percent for reading in kept),
        ram_used_mib=_column(reading.host.ram_used_mib for reading in kept),
        rss_mib=_column(reading.host.rss_mib for reading in kept),
        gpus=tuple(_gpu_trace(kept, index) for index in indexes),
        no_gpu=None if indexes else next((r.no_gpu for r in reversed(kept) if r.no_gpu), None),
    )


def split(readings: Sequence[Reading], at_s: float) -> tuple[Sequence[Reading], Sequence[Reading]]:
    """Return the readings until a time, and those after it."""
    after = bisect_right(readings, at_s, key=lambda reading: reading.at_s)
    return readings[:after], readings[after:]


def peak_nvml_mib(readings: Sequence[Reading], gpu_index: int) -> float | None:
    """Return the highest memory use of one GPU, all its processes together."""
    looks = (find_look(reading, gpu_index) for reading in readings)
    return max(
        (g.memory_used_mib for g in looks if g and g.memory_used_mib is not None), default=None
    )


def find_look(reading: Reading, index: int) -> GpuReading | None:
    """Return what a reading says of one GPU, `None` where it says nothing."""
    return next((gpu for gpu in reading.gpus if gpu.index == index), None)


def _column(values: Iterable[float | None]) -> tuple[Any, ...]:
    """Return a column to a thousandth: the other digits tell nothing and are half of a report."""
    return tuple(None if value is None else round(value, DIGITS) for value in values)


def _gpu_trace(readings: Sequence[Reading], index: int) -> GpuTrace:
    looks = [find_look(reading, index) for reading in readings]
    columns = GpuTrace.model_fields.keys() - {"index", "name"}
    return GpuTrace(
        index=index,
        name=next((look.name for look in looks if look and look.name), None),
        **{name: _column(getattr(look, name, None) for look in looks) for name in columns},
    )


def _thin(readings: Sequence[Reading], max_points: int) -> list[int]:
    """Return the indices to keep: evenly spread ones, and where memory and power peak."""
    if max_points < 2:
        raise ValueError(f"max_points is {max_points}; it must be at least 2")
    count = len(readings)
    if count <= max_points:
        return list(range(count))
    peaks = find_peaks(readings)[: max_points - 2]
    even = max_points - len(peaks)
    spread = {round(i * (count - 1) / (even - 1)) for i in range(even)}
    return sorted(spread.union(peaks))


def _gaps(readings: Sequence[Reading]) -> list[Reading]:
    """Return an empty reading for each time that the sampler missed its pace for long."""
    gaps = [(r.at_s, r.gap_s) for r in readings[1:] if r.gap_s is not None]
    return [
        Reading(at_s=at_s - gap_s / 2, host=HostReading())
        for at_s, gap_s in gaps
        if gap_s >= SHOWN_GAP_S
    ]


def find_peaks(readings: Sequence[Reading]) -> list[int]:
    """Return the indices of the highest resident set, each GPU's memory and power, longest gap."""
    indexes = sorted({gpu.index for reading in readings for gpu in reading.gpus})
    columns = [[r.host.rss_mib for r in readings], [r.gap_s for r in readings]]
    for index in indexes:
        looks = [find_look(reading, index) for reading in readings]
        columns.append([look.memory_used_mib if look else None for look in looks])
        columns.append([look.power_w if look else None for look in looks])
    found = []
    for column in columns:
        told = [(value, -i) for i, value in enumerate(column) if value is not None]
        if told:
            found.append(-max(told)[1])
    return list(dict.fromkeys(found))
