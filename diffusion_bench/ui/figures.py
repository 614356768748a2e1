"""The charts and tables of reports, ready for the page. Plotly is imported when one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from diffusion_bench.charts.captions import CAPTIONS
from diffusion_bench.records import VoiceRequest
from diffusion_bench.reports.export import HEADS, OTHER_SETTINGS, is_worth_showing, to_rows
from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.tiers.figures import table_words

TITLES = {
    "latency": "Time against steps",
    "throughput": "Throughput: images a second, or the real-time factor of speech",
    "memory": "Peak memory",
    "step-times": "Times of single steps",
    "roofline": "What held it back: steps under the roof of their device",
}

# Columns of an export; "peak" is found among the kinds of memory.
CELL_COLUMNS: tuple[str, ...] = (
    *("model", "sampler", "steps", "resolution", "batch", *OTHER_SETTINGS, "status"),
    *("repeats", "median_s", "iqr_s", "interval_low_s", "interval_high_s"),
    *("images_per_s", "real_time_factor", "first_audio_s", "peak", "fit"),
    *("energy_per_image_j", "net_energy_per_image_j", "energy_per_audio_s_j"),
    *("energy_uncertainty_percent", "cost_per_1000_images"),
    *("warnings", "held_back_by", "message"),
)
CELL_HEADS = {**HEADS, "peak": "peak (MiB)"}
OFTEN_EQUAL = {"model", *OTHER_SETTINGS}  # columns that are shown where their values differ
CELL_HEADERS = [CELL_HEADS[name] for name in CELL_COLUMNS if name not in OFTEN_EQUAL]
PEAKS = ("nvml_used_mib", "torch_reserved_mib", "rss_mib")  # the first that was measured

NOTHING_OPEN = "No report is open."

Table = dict[str, list[Any]]


class Chart(NamedTuple):
    """A figure and the same numbers as a table."""

    figure: Any
    table: Table


def chart_words(name: str) -> str:
    """Return what a chart's bars, boxes and lines stand for, "" where its title says it."""
    names = ("throughput", "real-time") if name == "throughput" else (name,)
    return " ".join(CAPTIONS[each] for each in names if each in CAPTIONS)


def draw_chart(name: str, reports: Sequence[Report]) -> Chart:
    """Return one chart of the reports, by a name of `TITLES`, which is one of the HTML export's."""
    from diffusion_bench.charts.page import CHARTS
    from diffusion_bench.charts.style import empty_figure

    spoken = [isinstance(cell.request, VoiceRequest) for r in reports for cell in r.cells]
    if name == "throughput" and spoken and all(spoken):
        name = "real-time"
    chart = next(each for each in CHARTS if each.name == name)
    numbers = chart.numbers(reports)
    figure = chart.figure(numbers) if reports else empty_figure(NOTHING_OPEN)
    return Chart(figure, to_table(*chart.table(numbers)))


def draw_quality(reports: Sequence[Report]) -> Chart | None:
    """Return quality against time; `None` where no cell was to be judged."""
    from diffusion_bench.charts.quality import quality_figure, quality_numbers, quality_table

    numbers = quality_numbers(reports)
    if not numbers:
        return None
    return Chart(quality_figure(numbers), to_table(*quality_table(numbers)))


def draw_trace(cell: Cell, report: Report) -> Chart:
    """Return what the machine did while a cell was measured, its stages as bands."""
    from diffusion_bench.charts.trace import trace_figure, trace_numbers, trace_table
    from diffusion_bench.reports.stage_readings import cut_trace
    from diffusion_bench.reports.stage_spans import stage_spans

    panels = trace_numbers(cell)
    table = trace_table(panels, cut_trace(cell, report.header))
    return Chart(trace_figure(panels, stage_spans(cell)[0]), to_table(*table))


def verdict_words(cell: Cell, report: Report) -> str:
    """Return what held a cell back, and the evidence."""
    from diffusion_bench.charts.held_back import held_back

    found = held_back(cell, report)
    return f"{found.verdict}: {found.evidence}"


def cell_table(reports: Sequence[Report], *, tariff: float | None = None) -> Table:
    """Return a row for every measured cell, with its report where there are several.

    `tariff` is money per kilowatt-hour; without one there is no cost.
    """
    columns = CELL_COLUMNS if len(reports) < 2 else ("report", *CELL_COLUMNS)
    if any(cell.quality for report in reports for cell in report.cells):
        columns = (*columns, "quality")
    from diffusion_bench.charts.held_back import in_words

    rows = []
    all_rows = to_rows(reports, tariff=tariff, explain=in_words)
    unsaid = {name for name in OTHER_SETTINGS if not is_worth_showing(name, all_rows, all_rows)}
    unsaid |= {"model"} if len({row["model"] for row in all_rows}) < 2 else set()
    columns = tuple(name for name in columns if name not in unsaid)
    for row in all_rows:
        peak_mib = next((row[name] for name in PEAKS if row[name] is not None), None)
        rows.append([{**row, "peak": peak_mib}[name] for name in columns])
    return to_table([CELL_HEADS[name] for name in columns], rows)


def to_table(headers: list[str], rows: Sequence[Sequence[Any]]) -> Table:
    """Return a table as the page takes it: every value a text, empty where there is none."""
    return {"headers": list(headers), "data": [[_text(value) for value in row] for row in rows]}


def _text(value: Any) -> str:
    if value is None:
        return ""
    return table_words(value) if isinstance(value, float) else str(value)
