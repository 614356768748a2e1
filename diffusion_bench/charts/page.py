"""Reports as one HTML file that needs no network: figures, each with its table, and every cell.

Report text is hostile until escaped: names, messages and notes come from files of other people.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from html import escape
from typing import Any, NamedTuple

import plotly.graph_objects as go

from diffusion_bench.charts.latency import latency_figure, latency_numbers, latency_table
from diffusion_bench.charts.memory import memory_figure, memory_numbers, memory_table
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
from diffusion_bench.charts.trace import trace_figure, trace_numbers, trace_table
from diffusion_bench.reports.compare import Row, compare
from diffusion_bench.reports.doctor import ReportFinding, examine_report
from diffusion_bench.reports.export import describe, to_rows
from diffusion_bench.reports.labels import report_labels, resolution, sampler
from diffusion_bench.reports.overall import overall
from diffusion_bench.reports.schema import Cell, Report

Table = tuple[list[str], list[list[Any]]]

STYLE = """
:root { color-scheme: light dark; --text: #1f2328; --page: #ffffff; --line: #d0d7de; }
@media (prefers-color-scheme: dark) {
  :root { --text: #e6edf3; --page: #0b0f19; --line: #30363d; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; padding: 1rem; max-width: 64rem; color: var(--text);
  background: var(--page); font: 16px/1.5 system-ui, sans-serif; overflow-wrap: anywhere; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.2rem; margin: 2rem 0 .5rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: .85rem; overflow-wrap: normal; }
th, td { padding: .25rem .6rem; border-bottom: 1px solid var(--line); text-align: left;
  white-space: nowrap; vertical-align: top; }
td.number { text-align: right; font-variant-numeric: tabular-nums; }
td.text { white-space: normal; min-width: 22rem; max-width: 28rem; }
summary { cursor: pointer; padding: .5rem 0; }
"""

PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{title}</title>
<style>{style}</style>
</head>
<body>
<h1>{title}</h1>
{body}
</body>
</html>
"""

LONG_TEXT = 40  # characters from which on a table cell may wrap


WORDS = {  # title and caption of each chart
    "latency": ("Latency against steps", "The whole call: median of the samples, and their range."),
    "throughput": ("Throughput", "Images a second of the whole call."),
    "memory": ("Peak memory", "The largest peak of a workload's cells."),
    "step-times": (
        "Time of single steps",
        "Boxes are quartiles, whiskers the 5th and 95th percentile, or the range of few steps.",
    ),
}


class Section(NamedTuple):
    """A chart of the page with its table twin."""

    name: str
    title: str
    caption: str
    figure: go.Figure
    table: Table


def to_html(reports: Sequence[Report], *, tariff: float | None = None) -> str:
    """Return a page with every chart of the reports; plotly is inside it, once.

    `tariff` is money per kilowatt-hour, for the cost of 1000 images.
    """
    parts = _introduction(reports)
    if len(reports) > 1:
        parts.append(_comparison(reports))
    for number, section in enumerate(_sections(reports)):
        parts.append(_section(section, with_plotly=number == 0))
    parts.append(_details("All cells", _cells(reports, tariff)))
    return PAGE.format(title="Diffusion Bench report", style=STYLE, body="\n".join(parts))


def _introduction(reports: Sequence[Report]) -> list[str]:
    parts = []
    for report, label in zip(reports, report_labels(reports), strict=True):
        name = label or report.source or report.header.report_id
        parts.append(f"<p><strong>{escape(name)}</strong><br>{escape(describe(report))}</p>")
        parts += [f"<p>Note: {escape(note)}</p>" for note in report.notes]
        parts += [_finding(found) for found in examine_report(report)]
        failed = sum(cell.status != "ok" for cell in report.cells)
        parts.append(f"<p>{len(report.cells)} cells, {failed} of them without figures.</p>")
    return parts


def _finding(found: ReportFinding) -> str:
    words = ": ".join(filter(None, ("Doctor", found.level, found.title, found.detail)))
    return f"<p>{escape(words)}</p>"


def _sections(reports: Sequence[Report]) -> list[Section]:
    charts: list[tuple[str, Callable[..., Any], Callable[..., Any], Callable[..., Any]]] = [
        ("latency", latency_numbers, latency_figure, latency_table),
        ("throughput", throughput_numbers, throughput_figure, throughput_table),
        ("memory", memory_numbers, memory_figure, memory_table),
        ("step-times", step_times_numbers, step_times_figure, step_times_table),
    ]
    sections = []
    for name, find, draw, list_ in charts:
        numbers = find(reports)
        sections.append(Section(name, *WORDS[name], draw(numbers), list_(numbers)))
    return sections + _traces(reports)


def _traces(reports: Sequence[Report]) -> list[Section]:
    """Return a trace a report: that of its longest watched cell."""
    sections = []
    for number, (report, label) in enumerate(zip(reports, report_labels(reports), strict=True)):
        watched = [cell for cell in report.cells if cell.trace.at_s]
        if not watched:
            continue
        cell = max(watched, key=lambda cell: cell.trace.at_s[-1])
        panels = trace_numbers(cell)
        title = ", ".join(part for part in ("Hardware during " + _cell_name(cell), label) if part)
        sections.append(
            Section(f"trace-{number}", title, "", trace_figure(panels), trace_table(panels))
        )
    return sections


def _section(section: Section, with_plotly: bool) -> str:
    figure = section.figure.to_html(
        full_html=False,
        include_plotlyjs="inline" if with_plotly else False,
        include_mathjax=False,
        div_id=f"chart-{section.name}",
        config={"responsive": True, "displaylogo": False, "displayModeBar": False},
    )
    heading = f"<h2>{escape(section.title)}</h2>\n<p>{escape(section.caption)}</p>"
    return f"{heading}\n{figure}\n{_details('Table', section.table)}"


def _details(summary: str, table: Table) -> str:
    return f"<details><summary>{escape(summary)}</summary>{_table(table)}</details>"


def _table(table: Table) -> str:
    header, rows = table
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "\n".join(f"<tr>{''.join(_value(value) for value in row)}</tr>" for row in rows)
    return (
        f'<div class="scroll"><table><thead><tr>{head}</tr></thead>'
        f"<tbody>{body}</tbody></table></div>"
    )


def _value(value: object) -> str:
    if value is None:
        return "<td></td>"
    if isinstance(value, float):
        return f'<td class="number">{value:.4g}</td>'
    if isinstance(value, int) and not isinstance(value, bool):
        return f'<td class="number">{value}</td>'
    text = str(value)
    return f'<td class="text">{escape(text)}</td>' if len(text) > LONG_TEXT else _short(text)


def _short(text: str) -> str:
    return f"<td>{escape(text)}</td>"


def _comparison(reports: Sequence[Report]) -> str:
    wholes = "\n".join(
        f"<p>{'<br>'.join(escape(line) for line in whole.words())}</p>"
        for whole in overall(reports)
    )
    return (
        f"<h2>Comparison</h2>\n{wholes}\n{_details('Table', _comparison_table(compare(reports)))}"
    )


def _comparison_table(compared: Sequence[Row]) -> Table:
    header = ["cell", "verdict", "ratio", "baseline (s)", "other (s)", "other", "reason"]
    rows: list[list[Any]] = [
        [
            f"{sampler(row.request)}, {resolution(row.request)}, {row.request.steps} steps, "
            f"batch {row.request.batch}",
            row.verdict,
            row.ratio,
            row.baseline_s,
            row.other_s,
            row.other,
            row.reason,
        ]
        for row in compared
    ]
    return header, rows


def _cells(reports: Sequence[Report], tariff: float | None) -> Table:
    rows = to_rows(reports, tariff=tariff)
    return list(rows[0]) if rows else [], [list(row.values()) for row in rows]


def _cell_name(cell: Cell) -> str:
    request = cell.request
    return f"{sampler(request)}, {resolution(request)}, {request.steps} steps"
