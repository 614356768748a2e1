"""The charts and tables of reports, ready for the page. Plotly is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from diffusion_bench.reports.labels import resolution, sampler
from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.reports.stats import summarise

TITLES = {
    "latency": "Time against steps",
    "throughput": "Throughput by size",
    "memory": "Peak memory",
    "step_times": "Times of single steps",
}

CELL_HEADERS = ["sampler", "steps", "size", "batch", "status", "median (s)", "images/s"]
CELL_HEADERS += ["peak (MiB)", "message"]

Table = dict[str, list[Any]]


class Chart(NamedTuple):
    """A figure and the same numbers as a table."""

    figure: Any
    table: Table


def draw_chart(name: str, reports: Sequence[Report]) -> Chart:
    """Return one chart of the reports, by a name of `TITLES`."""
    find, draw, tabulate = _charts()[name]
    numbers = find(reports)
    return Chart(draw(numbers), to_table(*tabulate(numbers)))


def draw_trace(cell: Cell) -> Chart:
    """Return what the machine did while a cell was measured."""
    from diffusion_bench.charts.trace import trace_figure, trace_numbers, trace_table

    panels = trace_numbers(cell)
    return Chart(trace_figure(panels), to_table(*trace_table(panels)))


def cell_table(reports: Sequence[Report]) -> Table:
    """Return a row for every measured cell."""
    rows = []
    for report in reports:
        for cell in report.cells:
            figures, memory = summarise(cell), cell.memory
            peak_mib = memory.nvml_used_mib or memory.torch_reserved_mib or memory.rss_mib
            rows.append(
                [
                    sampler(cell.request),
                    cell.request.steps,
                    resolution(cell.request),
                    cell.request.batch,
                    cell.status,
                    figures and figures.median_s,
                    figures and figures.images_per_s,
                    peak_mib,
                    cell.message,
                ]
            )
    return to_table(CELL_HEADERS, rows)


def to_table(headers: list[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a table as the page takes it: every value a text, empty where there is none."""
    return {"headers": list(headers), "data": [[_text(value) for value in row] for row in rows]}


def cell_name(cell: Cell) -> str:
    """Return what a cell measured in a few words."""
    request = cell.request
    return (
        f"{sampler(request)}, {request.steps} steps, {resolution(request)}, batch {request.batch}"
    )


def _charts() -> dict[str, tuple[Callable[..., Any], Callable[..., Any], Callable[..., Any]]]:
    from diffusion_bench.charts import latency, memory, step_times, throughput

    return {
        "latency": (latency.latency_numbers, latency.latency_figure, latency.latency_table),
        "throughput": (
            throughput.throughput_numbers,
            throughput.throughput_figure,
            throughput.throughput_table,
        ),
        "memory": (memory.memory_numbers, memory.memory_figure, memory.memory_table),
        "step_times": (
            step_times.step_times_numbers,
            step_times.step_times_figure,
            step_times.step_times_table,
        ),
    }


def _text(value: Any) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)
