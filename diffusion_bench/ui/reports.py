"""The tab *Reports*: reports of the folder or uploaded, their charts, tables and exports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import gradio as gr

from diffusion_bench.charts.measured_here import was_measured_on
from diffusion_bench.hardware.machine import MachineInfo
from diffusion_bench.reports.doctor import examine_report, imported_finding
from diffusion_bench.reports.export import describe, to_csv
from diffusion_bench.reports.labels import name_among, report_labels
from diffusion_bench.reports.limits import limit_lines
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.overall import overall
from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.reports.shared import compare_shared, shared_table
from diffusion_bench.ui.complaints import complaining
from diffusion_bench.ui.events import HIDDEN, QUIET
from diffusion_bench.ui.figures import (
    TITLES,
    Chart,
    Table,
    cell_table,
    chart_words,
    draw_chart,
    draw_quality,
    draw_trace,
    verdict_words,
)
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.readouts import readout
from diffusion_bench.ui.report_files import MAX_LISTED, Opened, ReportFolder, open_reports

NOTHING = "Choose a report of the folder, or upload one."


class Shown(NamedTuple):
    """The reports that were opened, in words and charts, and the cells that have a trace."""

    words: str
    charts: tuple[Chart, ...]
    traces: tuple[tuple[str, str], ...]  # label and id
    quality: Chart | None = None  # where pictures of a cell were judged


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

    def show(self, names: list[str] | None, uploads: list[str] | None) -> Shown:
        """Return everything there is to see of some reports; a bad one is named in the words."""
        opened = self._open(names, uploads)
        return Shown(
            words=summary(opened, self._imported(opened)),
            charts=tuple(draw_chart(name, opened.reports) for name in TITLES),
            traces=tuple(trace_choices(opened.reports)),
            quality=draw_quality(opened.reports),
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
        failed = sum(cell.status != "ok" for cell in report.measured)
        mark = f" ({imported_finding().title})" if foreign else ""
        lines.append(f"{label or report.source}{mark}")
        lines.append(f"  {describe(report)}")
        unwell = f", {failed} of them without figures" if failed else ""
        # A search for a limit has no plan: what it tries next follows from what it found.
        of_all = f" of {planned}" if planned else ""
        lines.append(f"  {len(report.measured)}{of_all} cells measured{unwell}")
        lines += [f"  {line}" for line in limit_lines(report.limits)]
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
                found.append((name, f"{index}:{cell.cell_id}", cell, report))
    return found


def build(reading: Reading, tab: gr.Tab) -> None:
    """Lay out the tab and wire it; `tab` is the one that it lies in."""
    with gr.Row(equal_height=False):
        chosen = gr.Dropdown(
            [],
            value=[],
            multiselect=True,
            label="Reports in the folder, newest first",
            info=f"Several are drawn into the same charts. The newest {MAX_LISTED} are listed.",
            allow_custom_value=True,  # the list is filled later; names are checked when used
            elem_id="reports-chosen",
            min_width=300,
        )
        uploads = gr.File(
            label="Or upload (.jsonl)",
            file_count="multiple",
            file_types=[".jsonl"],
            height=120,
            elem_id="reports-upload",
        )
    words = readout(NOTHING, label="Open reports", elem_id="reports-words")
    tariff, cells = _cells()
    downloads = _downloads()
    charts: list[Any] = [part for name, title in TITLES.items() for part in _chart(name, title)]
    with gr.Column(visible=False, elem_id="reports-quality-column") as judged:
        charts += [judged, *_chart("quality", "Quality against time")]
    picker = gr.Dropdown([], value=None, label="Cell", elem_id="reports-trace-cell", render=False)
    verdict = readout(label="Held back by", elem_id="reports-verdict", render=False)
    trace = _chart("trace", "Hardware during a cell", picker, verdict)
    opening = _wire_opening(reading, (chosen, uploads), [words, picker, *charts])
    _wire_cells(reading, [chosen, uploads, tariff], cells, (downloads, opening))
    picker.change(
        _trace_handler(reading),
        [chosen, uploads, picker],
        [verdict, *trace],
        queue=False,
        **QUIET,
    )
    tab.select(lambda: gr.Dropdown(reading.names()), None, chosen, **HIDDEN)


def _cells() -> tuple[gr.Number, gr.Dataframe]:
    with gr.Accordion("All cells", open=False, elem_id="reports-cells-more"):
        tariff = gr.Number(
            None,
            label="Price of a kWh",
            info="Fills the cost of 1000 images, where energy was measured.",
            minimum=0,
            maximum=1e6,
            step=0.01,
            elem_id="reports-tariff",
        )
        cells = gr.Dataframe(
            label="All cells", show_label=False, interactive=False, elem_id="reports-cells-table"
        )
    return tariff, cells


def _downloads() -> list[gr.DownloadButton]:
    with gr.Row():
        return [
            gr.DownloadButton(
                name, interactive=False, size="md", min_width=90, elem_id=f"reports-{name.lower()}"
            )
            for name in ("CSV", "Markdown", "HTML")
        ]


def _chart(name: str, title: str, *above: gr.Dropdown | gr.Textbox) -> tuple[gr.Plot, gr.Dataframe]:
    gr.Markdown("\n".join(filter(None, (f"### {title}", chart_words(name)))))
    for part in above:
        part.render()
    plot = gr.Plot(show_label=False, elem_id=f"reports-{name}")
    with gr.Accordion("As a table", open=False, elem_id=f"reports-{name}-more"):
        table = gr.Dataframe(
            label=f"{title}, as a table",
            show_label=False,
            interactive=False,
            elem_id=f"reports-{name}-table",
        )
    return plot, table


def _wire_opening(
    reading: Reading, chosen: tuple[gr.Dropdown, gr.File], shown: list[Any]
) -> list[Any]:
    """Open what was chosen; return the events after which the rest of the tab follows."""

    @complaining
    def on_open(names: list[str] | None, uploads: list[str] | None) -> list[Any]:
        found = reading.show(names, uploads)
        first = found.traces[-1][1] if found.traces else None
        picker = gr.Dropdown(list(found.traces), value=first)
        quality = [gr.Column(visible=found.quality is not None), *(found.quality or (None, None))]
        charts = [part for chart in found.charts for part in chart]
        return [found.words, picker, *charts, *quality]

    return [
        event(
            on_open,
            list(chosen),
            shown,
            api_name="open_reports",
            show_progress="minimal",
            show_progress_on=shown[0],
            trigger_mode="always_last",
        )
        for event in (chosen[0].change, chosen[1].change)
    ]


def _wire_cells(
    reading: Reading,
    asked: list[Any],
    cells: gr.Dataframe,
    after: tuple[list[gr.DownloadButton], list[Any]],
) -> None:
    """Fill table and files when reports were opened and when the price changes."""
    downloads, opening = after

    @complaining
    def on_cells(names: Any, uploads: Any, tariff: float | None) -> list[Any]:
        table = reading.cells(names, uploads, tariff)
        paths = reading.export(names, uploads, tariff)
        if not paths:
            return [table, *(gr.DownloadButton(value=None, interactive=False) for _ in downloads)]
        return [table, *(gr.DownloadButton(value=path, interactive=True) for path in paths)]

    for event in (*(done.then for done in opening), asked[-1].submit, asked[-1].blur):
        event(on_cells, asked, [cells, *downloads], **QUIET)


def _trace_handler(reading: Reading) -> Any:
    @complaining
    def on_trace(names: list[str] | None, uploads: list[str] | None, key: str | None) -> Any:
        if not key:
            return "", None, None
        words, chart = reading.trace(names, uploads, key)
        return words, *chart

    return on_trace
