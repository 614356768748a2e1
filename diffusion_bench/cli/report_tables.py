"""Reports as tables in a terminal: their cells, and the verdicts of a comparison."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from diffusion_bench.cli.telling import tell

if TYPE_CHECKING:
    from diffusion_bench.reports.export import Value
    from diffusion_bench.reports.schema import Report

ELSEWHERE = ("report", "evidence")  # in the line above, and told by `explain`


def tell_notes(reports: list[Report]) -> None:
    """Tell on stderr what is the matter with each report, as a last line that was torn."""
    from diffusion_bench.reports.export import report_title
    from diffusion_bench.reports.labels import report_labels

    for report, label in zip(reports, report_labels(reports), strict=True):
        for note in report.notes:
            tell(f"note: {report_title(label, report)}: {note}")


def print_reports(reports: list[Report], tariff: float | None = None) -> None:
    """Print each report's notes, its machine, its cells and its limits."""
    from diffusion_bench.charts.held_back import in_words
    from diffusion_bench.cli.tables import table_console
    from diffusion_bench.reports.export import describe as describe_report
    from diffusion_bench.reports.export import report_title, to_rows
    from diffusion_bench.reports.labels import report_labels
    from diffusion_bench.reports.limits import limit_lines

    tell_notes(reports)
    console = table_console()
    all_rows = to_rows(reports, tariff=tariff, explain=in_words)
    left = iter(all_rows)
    for report, label in zip(reports, report_labels(reports), strict=True):
        console.print(f"{report_title(label, report)}: {describe_report(report)}", markup=False)
        if report.shared:
            _print_shared(report)
        rows = list(itertools.islice(left, len(report.cells)))
        if rows:
            _print_cells(rows, all_rows)
        elif not report.shared:
            console.print("No cells.")
        for line in limit_lines(report):
            console.print(line, markup=False, soft_wrap=True)


def _print_cells(rows: list[dict[str, Value]], among: list[dict[str, Value]]) -> None:
    """Print the columns of cells that say something, or tell them from those `among`."""
    from diffusion_bench.cli.tables import print_table
    from diffusion_bench.reports.export import HEADS, is_worth_showing

    shown = [
        name
        for name in HEADS
        if name not in ELSEWHERE
        and is_worth_showing(name, rows, among)
        and not (name == "model" and len({row[name] for row in rows}) == 1)
        and not (name == "status" and {row[name] for row in rows} == {"ok"})
    ]
    heads = [HEADS[name] for name in shown]
    print_table(heads, [[_words(row[name]) for name in shown] for row in rows])


def _print_shared(report: Report) -> None:
    """Print what several devices did at once; columns that say nothing are left out."""
    from diffusion_bench.cli.tables import print_table
    from diffusion_bench.reports.shared import shared_table

    header, rows = shared_table(report)
    shown = [index for index in range(len(header)) if any(row[index] for row in rows)]
    heads = [header[index] for index in shown]
    print_table(heads, [[row[index] for index in shown] for row in rows])


def _words(value: object) -> str:
    from diffusion_bench.records.figures import figure

    return figure(value) if isinstance(value, float) or value is None else str(value)


def print_verdicts(reports: list[Report]) -> None:
    """Print how each report does against the first, cell by cell and over all."""
    from diffusion_bench.cli.tables import print_table, table_console
    from diffusion_bench.reports.compare import compare as compare_reports
    from diffusion_bench.reports.labels import name_among
    from diffusion_bench.reports.overall import overall
    from diffusion_bench.reports.shared import compare_shared

    heads = ("workload", "baseline", "other", "verdict", "ratio of times", "why")
    rows = [
        (both.cell, both.baseline, both.other, both.verdict, _words(both.ratio), both.reason)
        for both in compare_shared(reports)
    ]
    compared = compare_reports(reports)
    name = name_among([row.request for row in compared])
    rows += [
        (name(row.request), row.baseline, row.other, row.verdict, _words(row.ratio), row.reason)
        for row in compared
    ]
    print_table(heads, rows)
    console = table_console()
    for whole in overall(reports):
        for line in whole.words():
            console.print(line, markup=False, soft_wrap=True)
