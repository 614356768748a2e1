"""What the tab *Reports* does, without the page: names and uploads in, words and charts out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from diffusion_bench.charts.measured_here import was_measured_on
from diffusion_bench.hardware.machine import MachineInfo
from diffusion_bench.reports.doctor import examine_report, imported_finding
from diffusion_bench.reports.export import describe, report_title, to_csv
from diffusion_bench.reports.labels import name_among, report_labels
from diffusion_bench.reports.limits import limit_lines
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.overall import overall
from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.reports.shared import compare_shared, shared_table
from diffusion_bench.ui.figures import (
    TITLES,
    Chart,
    Table,
    cell_table,
    draw_chart,
    draw_quality,
    draw_trace,
    verdict_words,
)
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.plans import SWEEPS_FOLDER
from diffusion_bench.ui.report_files import Opened, ReportFolder, open_reports

NOTHING = "Choose a report of the folder or upload one; the tab Benchmark makes them."
EXAMPLE = SWEEPS_FOLDER / "results" / "unmeasured_cells_epyc.jsonl"


class Shown(NamedTuple):
    """The reports that were opened, in words and charts, and the cells that have a trace."""

    words: str
    charts: tuple[Chart, ...]
    traces: tuple[tuple[str, str], ...]  # label and id
    quality: Chart | None = None  # where pictures of a cell were judged
    is_open: bool = True  # whether there is a report among them


class Reading:
    """Opens reports for the page. `machine` tells what this one is, to know others' reports by."""

    def __init__(
        self,
        folder: ReportFolder,
        outbox: Outbox,
        machine: Callable[[], MachineInfo] | None = None,
    ) -> None:
        self._folder = folder
        self._outbox = outbox
        self._machine = machine

    def names(self) -> list[str]:
        """Return the newest reports of the folder, newest first."""
        return self._folder.newest()

    @property
    def example_file(self) -> Path | None:
        """Return the report that comes with the source, `None` where only the package is."""
        return EXAMPLE if EXAMPLE.is_file() else None

    def example(self) -> list[str]:
        """Return that report as uploaded files are, since another machine measured it."""
        return [self._outbox.place("example.jsonl", EXAMPLE.read_bytes())]

    def show(self, names: list[str] | None, uploads: list[str] | None) -> Shown:
        """Return everything there is to see of some reports; a bad one is named in the words."""
        opened = self._open(names, uploads)
        return Shown(
            words=summary(opened, self._imported(opened)),
            charts=tuple(draw_chart(name, opened.reports) for name in TITLES),
            traces=tuple(trace_choices(opened.reports)),
            quality=draw_quality(opened.reports),
            is_open=bool(opened.reports),
        )

    def trace(
        self, names: list[str] | None, uploads: list[str] | None, chosen: str
    ) -> tuple[str, Chart]:
        """Return what held a cell back, and its hardware trace, by an id of `Shown.traces`."""
        for _, key, cell, report in _traced(self._open(names, uploads).reports):
            if key == chosen:
                return verdict_words(cell, report), draw_trace(cell, report)
        raise ValueError("this cell is in none of the open reports")

    def cells(
        self, names: list[str] | None, uploads: list[str] | None, tariff: float | None = None
    ) -> Table:
        """Return a row for every cell; `tariff` is money per kilowatt-hour."""
        return cell_table(self._open(names, uploads).reports, tariff=tariff)

    def export(
        self, names: list[str] | None, uploads: list[str] | None, tariff: float | None = None
    ) -> tuple[str, ...]:
        """Return files of the open reports: CSV, Markdown and HTML; nothing if none is open."""
        from diffusion_bench.charts.held_back import in_words
        from diffusion_bench.charts.page import to_html

        reports = self._open(names, uploads).reports
        if not reports:
            return ()
        stem = reports[0].source.removesuffix(".jsonl") if len(reports) == 1 else "comparison"
        return (
            self._outbox.place(f"{stem}.csv", to_csv(reports, tariff=tariff, explain=in_words)),
            self._outbox.place(f"{stem}.md", to_markdown(reports, tariff=tariff, explain=in_words)),
            self._outbox.place(f"{stem}.html", to_html(reports, tariff=tariff)),
        )

    def _open(self, names: list[str] | None, uploads: list[str] | None) -> Opened:
        return open_reports(self._folder, names or [], uploads or [])

    def _imported(self, opened: Opened) -> tuple[bool, ...]:
        """Return of each report whether it came from another machine, or from outside."""
        here = self._machine() if self._machine else None
        return tuple(
            uploaded or (here is not None and not was_measured_on(here, report))
            for report, uploaded in zip(opened.reports, opened.uploaded, strict=True)
        )


def summary(opened: Opened, imported: tuple[bool, ...]) -> str:
    """Return a few lines a report: where it was measured, how complete it is, what is wrong.

    Then the comparison, where there are two reports or more.
    """
    lines = [f"Not opened: {complaint}" for complaint in opened.complaints]
    labels = report_labels(opened.reports)
    for report, label, foreign in zip(opened.reports, labels, imported, strict=True):
        planned = len(report.header.planned_ids())
        failed = sum(bool(cell.without_figures) for cell in report.measured)
        mark = f" ({imported_finding().title})" if foreign else ""
        lines.append(f"{report_title(label, report)}{mark}")
        lines.append(f"  {describe(report)}")
        unwell = f", {failed} of them without figures" if failed else ""
        # A search for a limit has no plan: what it tries next follows from what it found.
        of_all = f" of {planned}" if planned else ""
        lines.append(f"  {len(report.measured)}{of_all} cells measured{unwell}")
        lines += [f"  {line}" for line in limit_lines(report)]
        lines += shared_words(report)
        lines += [f"  Note: {note}" for note in report.notes]
        lines += findings(report)
    for whole in overall(opened.reports):
        lines += whole.words()
    lines += [f"  At once: {row.words()}" for row in compare_shared(opened.reports)]
    return "\n".join(lines) or NOTHING


def shared_words(report: Report) -> list[str]:
    """Return what several devices came to together, a line a cell."""
    header, rows = shared_table(report)
    told = [
        [f"{name} {value}" for name, value in zip(header, row, strict=True) if value]
        for row in rows
    ]
    return [f"  At once: {'; '.join(parts)}" for parts in told]


def findings(report: Report) -> list[str]:
    """Return what the doctor says of a report, a line each."""
    return [
        f"  Doctor: {': '.join(filter(None, (found.level, found.title, found.detail)))}"
        for found in examine_report(report)
    ]


def trace_choices(reports: tuple[Report, ...]) -> list[tuple[str, str]]:
    """Return label and id of every cell that has a trace."""
    return [(label, key) for label, key, _, _ in _traced(reports)]


def _traced(reports: tuple[Report, ...]) -> list[tuple[str, str, Cell, Report]]:
    found = []
    name_of = name_among([cell.request for report in reports for cell in report.cells])
    for index, (report, label) in enumerate(zip(reports, report_labels(reports), strict=True)):
        for cell in report.cells:
            if cell.trace.at_s:
                name = f"{name_of(cell.request)}{f' ({label})' if label else ''}"
                # Another report has another id for the same cell: the page draws what has changed.
                key = f"{index}:{report.header.report_id}:{cell.cell_id}"
                found.append((name, key, cell, report))
    return found
