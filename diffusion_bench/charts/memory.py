"""Peak memory by resolution and batch. One kind of memory a chart: kinds are never mixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.bars import PIXELS, Bar, bars_figure
from diffusion_bench.charts.series import Failure, failure_rows, series_of
from diffusion_bench.charts.style import Look, empty_figure
from diffusion_bench.records import VoiceRequest
from diffusion_bench.reports.schema import Cell, Report

MemoryKind = Literal["nvml_used_mib", "torch_reserved_mib", "rss_mib"]

# In order of preference: the device's peak decides whether a picture fits, the allocator's peak
# misses what the driver takes.
KINDS: dict[MemoryKind, str] = {
    "nvml_used_mib": "GPU memory, NVML",
    "torch_reserved_mib": "GPU memory, torch reserved",
    "rss_mib": "resident set",
}


class MemoryPoint(NamedTuple):
    """The peak at one number of steps; `None` with its reason where it was not measured."""

    steps: int
    peak_mib: float | None
    missing: str


class MemorySeries(NamedTuple):
    """The peaks of one series; `peak_mib` is the largest of them, which the chart shows."""

    name: str
    sampler: str
    resolution: str
    other: str
    kind: MemoryKind
    points: tuple[MemoryPoint, ...]
    failures: tuple[Failure, ...]
    peak_mib: float | None
    basis: str = ""
    is_speech: bool = False
    look: Look = Look()


def memory_numbers(reports: Sequence[Report], kind: MemoryKind | None = None) -> list[MemorySeries]:
    """Return the peaks of every series, all of one kind: the one that most cells have."""
    cells = [cell for report in reports for cell in report.cells if not cell.without_figures]
    shown = kind or _usual_kind(cells)
    found = []
    for series in series_of(reports):
        told = (cell for cell in series.cells if not cell.without_figures)
        points = tuple(_point(cell, shown) for cell in told)
        peaks = [point.peak_mib for point in points if point.peak_mib is not None]
        found.append(
            MemorySeries(
                series.name,
                series.sampler,
                series.resolution,
                series.other,
                shown,
                points,
                series.failures(),
                max(peaks, default=None),
                series.emulated,
                isinstance(series.request, VoiceRequest),
                series.look,
            )
        )
    return found


def memory_figure(numbers: list[MemorySeries]) -> go.Figure:
    """Return the chart: a bar for every series with a known peak."""
    bars = [
        Bar(item.sampler, item.resolution, item.other, item.peak_mib, item.look, basis=item.basis)
        for item in numbers
        if item.peak_mib is not None
    ]
    if not bars:
        return empty_figure("No cell with a measured peak of memory.")
    return bars_figure(
        bars,
        f"peak {KINDS[numbers[0].kind]} (MiB)",
        "%{y:.0f} MiB",
        x_title=_size_title(numbers),
    )


def memory_table(numbers: list[MemorySeries]) -> tuple[list[str], list[list[Any]]]:
    """Return every cell's peak, or why there is none."""
    title = KINDS[numbers[0].kind] if numbers else "memory"
    header = ["series", "steps", f"peak {title} (MiB)", "status", "message"]
    rows: list[list[Any]] = []
    for item in numbers:
        rows += [
            [item.name, point.steps, point.peak_mib, item.basis or "ok", point.missing]
            for point in item.points
        ]
        rows += failure_rows([item.name], item.failures, len(header))
    return header, rows


def _size_title(numbers: list[MemorySeries]) -> str:
    spoken = {item.is_speech for item in numbers if item.peak_mib is not None}
    if len(spoken) > 1:
        return "resolution, or length of the text"
    return "length of the text" if True in spoken else PIXELS


def _usual_kind(cells: list[Cell]) -> MemoryKind:
    """Return the kind that most cells have, of equals the first of `KINDS`."""
    return max(KINDS, key=lambda kind: sum(_peak(cell, kind) is not None for cell in cells))


def _peak(cell: Cell, kind: MemoryKind) -> float | None:
    value: float | None = getattr(cell.memory, kind)
    return value


def _point(cell: Cell, kind: MemoryKind) -> MemoryPoint:
    peak = _peak(cell, kind)
    reason = cell.memory.missing.get(kind) or cell.missing.get(kind) or "not measured"
    return MemoryPoint(cell.request.steps, peak, "" if peak is not None else reason)
