"""Reports as one HTML file that needs no network: figures, each with its table, and every cell.

Report text is hostile until escaped: names, messages and notes come from files of other people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.captions import CAPTIONS
from diffusion_bench.charts.document import Section, Table, details, document, section_html
from diffusion_bench.charts.held_back import in_words
from diffusion_bench.charts.latency import latency_figure, latency_numbers, latency_table
from diffusion_bench.charts.memory import memory_figure, memory_numbers, memory_table
from diffusion_bench.charts.quality import quality_figure, quality_numbers, quality_table
from diffusion_bench.charts.real_time import (
    real_time_figure,
    real_time_numbers,
    real_time_table,
)
from diffusion_bench.charts.roofline import roofline_figure, roofline_numbers, roofline_table
from diffusion_bench.charts.step_times import (
    step_times_figure,
    step_times_numbers,
    step_times_table,
)
from diffusion_bench.charts.throughput import (
    throughput_figure,
    throughput_numbers,
    throughput_table,
)
from diffusion_bench.charts.trace import absences, trace_figure, trace_numbers, trace_table
from diffusion_bench.records import Finding
from diffusion_bench.reports.compare import Row, compare
from diffusion_bench.reports.doctor import examine_report
from diffusion_bench.reports.export import describe, report_title, to_rows
from diffusion_bench.reports.labels import name_among, report_labels
from diffusion_bench.reports.limits import limit_lines
from diffusion_bench.reports.overall import overall
from diffusion_bench.reports.schema import Report
from diffusion_bench.reports.shared import SharedRow, compare_shared, shared_table
from diffusion_bench.reports.stage_readings import cut_trace
from diffusion_bench.reports.stage_spans import readings_of, stage_spans


class Chart(NamedTuple):
    """A chart of reports: its title and caption, and the three functions of its file.

    An `optional` one is left out where there is no work of its kind.
    """

    name: str
    title: str
    caption: str
    numbers: Callable[[Sequence[Report]], Any]
    figure: Callable[[Any], go.Figure]
    table: Callable[[Any], Table]
    optional: bool = False


CHARTS = (
    Chart(
        "latency",
        "Latency against steps",
        CAPTIONS["latency"],
        latency_numbers,
        latency_figure,
        latency_table,
    ),
    Chart(
        "throughput",
        "Throughput",
        CAPTIONS["throughput"],
        throughput_numbers,
        throughput_figure,
        throughput_table,
        optional=True,
    ),
    Chart(
        "real-time",
        "Real-time factor",
        CAPTIONS["real-time"],
        real_time_numbers,
        real_time_figure,
        real_time_table,
        optional=True,
    ),
    Chart(
        "quality",
        "Quality against time",
        CAPTIONS["quality"],
        quality_numbers,
        quality_figure,
        quality_table,
        optional=True,
    ),
    Chart(
        "memory",
        "Peak memory",
        CAPTIONS["memory"],
        memory_numbers,
        memory_figure,
        memory_table,
    ),
    Chart(
        "step-times",
        "Time of single steps",
        CAPTIONS["step-times"],
        step_times_numbers,
        step_times_figure,
        step_times_table,
    ),
    Chart(
        "roofline",
        "What held it back",
        CAPTIONS["roofline"],
        roofline_numbers,
        roofline_figure,
        roofline_table,
    ),
)


def to_html(reports: Sequence[Report], *, tariff: float | None = None) -> str:
    """Return a page with every chart of the reports; plotly is inside it, once.

    `tariff` is money per kilowatt-hour, for the cost of 1000 images.
    """
    parts = _introduction(reports)
    if len(reports) > 1:
        parts.append(_comparison(reports))
    for number, section in enumerate(_sections(reports)):
        parts.append(section_html(section, with_plotly=number == 0))
    parts.append(details("All cells", _cells(reports, tariff)))
    for report, label in zip(reports, report_labels(reports), strict=True):
        if report.shared:
            title = f"Several devices at once: {report_title(label, report)}"
            parts.append(details(title, shared_table(report)))
    return document("Diffusion Bench report", parts)


def _introduction(reports: Sequence[Report]) -> list[str]:
    parts = []
    for report, label in zip(reports, report_labels(reports), strict=True):
        name = report_title(label, report)
        parts.append(f"<p><strong>{escape(name)}</strong><br>{escape(describe(report))}</p>")
        parts += [f"<p>Note: {escape(note)}</p>" for note in report.notes]
        parts += [_finding(found) for found in examine_report(report)]
        failed = sum(bool(cell.without_figures) for cell in report.measured)
        parts += [f"<p>{escape(line)}</p>" for line in limit_lines(report)]
        parts.append(f"<p>{len(report.measured)} cells, {failed} of them without figures.</p>")
    return parts


def _finding(found: Finding) -> str:
    words = ": ".join(filter(None, ("Doctor", found.level, found.title, found.detail)))
    return f"<p>{escape(words)}</p>"


def _sections(reports: Sequence[Report]) -> list[Section]:
    sections = []
    for chart in CHARTS:
        numbers = chart.numbers(reports)
        if numbers or not chart.optional:
            words = (chart.name, chart.title, chart.caption)
            sections.append(Section(*words, chart.figure(numbers), chart.table(numbers)))
    return sections + _traces(reports)


def _traces(reports: Sequence[Report]) -> list[Section]:
    """Return a trace a report: that of its longest watched cell."""
    sections = []
    for number, (report, label) in enumerate(zip(reports, report_labels(reports), strict=True)):
        watched = [cell for cell in report.cells if cell.trace.at_s]
        if not watched:
            continue
        cell = max(watched, key=lambda cell: cell.trace.at_s[-1])
        name = name_among([each.request for each in report.cells])
        panels = trace_numbers(cell)
        title = ", ".join(part for part in (f"Hardware during {name(cell.request)}", label) if part)
        spans, why = stage_spans(cell)
        caption = f"No stages are shown: {why}." if why else "Stages lie as bands under the curves."
        if read := readings_of(cell):
            caption = f"The readings are of {read}. {caption}"
        caption = " ".join(filter(None, (caption, absences(panels))))
        table = trace_table(panels, cut_trace(cell, report.header))
        sections.append(
            Section(f"trace-{number}", title, caption, trace_figure(panels, spans), table)
        )
    return sections


def _comparison(reports: Sequence[Report]) -> str:
    wholes = "\n".join(
        f"<p>{'<br>'.join(escape(line) for line in whole.words())}</p>"
        for whole in overall(reports)
    )
    table = _comparison_table(compare(reports), compare_shared(reports))
    return f"<h2>Comparison</h2>\n{wholes}\n{details('Table', table)}"


def _comparison_table(compared: Sequence[Row], shared: Sequence[SharedRow]) -> Table:
    header = ["cell", "verdict", "ratio", "baseline (s)", "other (s)", "other", "reason"]
    name = name_among([row.request for row in compared])
    rows: list[list[Any]] = [
        [
            name(row.request),
            row.verdict,
            row.ratio,
            row.baseline_s,
            row.other_s,
            row.other,
            row.reason,
        ]
        for row in compared
    ]
    # Their ratio is of the seconds a picture, of which no report holds a single figure.
    rows += [[r.cell, r.verdict, r.ratio, None, None, r.other, r.reason] for r in shared]
    return header, rows


def _cells(reports: Sequence[Report], tariff: float | None) -> Table:
    rows = to_rows(reports, tariff=tariff, explain=in_words)
    return list(rows[0]) if rows else [], [list(row.values()) for row in rows]
