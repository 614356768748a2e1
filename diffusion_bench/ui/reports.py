"""The tab *Reports*: reports of the folder or uploaded, their charts, tables and exports."""

from __future__ import annotations

from typing import Any, NamedTuple

import gradio as gr

from diffusion_bench.reports.export import describe, to_csv, to_markdown
from diffusion_bench.reports.labels import report_labels
from diffusion_bench.reports.schema import Report
from diffusion_bench.ui.complaints import complaining
from diffusion_bench.ui.figures import TITLES, Chart, cell_name, draw_chart, draw_trace
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.report_files import Opened, ReportFolder, open_reports

NOTHING = "Choose a report of the folder, or upload one."
HIDDEN: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}


class Shown(NamedTuple):
    """The reports that were opened, in words and charts, and the cells that have a trace."""

    words: str
    charts: tuple[Chart, ...]
    traces: tuple[tuple[str, str], ...]  # label and id


class Reading:
    """Opens reports for the page."""

    def __init__(self, folder: ReportFolder, outbox: Outbox) -> None:
        self._folder = folder
        self._outbox = outbox

    def names(self) -> list[str]:
        """Return the reports of the folder, newest first."""
        return self._folder.names()

    def show(self, names: list[str] | None, uploads: list[str] | None) -> Shown:
        """Return everything there is to see of some reports; a bad one is named in the words."""
        opened = self._open(names, uploads)
        return Shown(
            words=summary(opened),
            charts=tuple(draw_chart(name, opened.reports) for name in TITLES),
            traces=tuple(trace_choices(opened.reports)),
        )

    def trace(self, names: list[str] | None, uploads: list[str] | None, chosen: str) -> Chart:
        """Return the hardware trace of a cell, by an id of `Shown.traces`."""
        for _, key, cell in _traced(self._open(names, uploads).reports):
            if key == chosen:
                return draw_trace(cell)
        raise ValueError("this cell is in none of the open reports")

    def export(self, names: list[str] | None, uploads: list[str] | None) -> tuple[str, ...]:
        """Return files of the open reports: CSV, Markdown and HTML; nothing if none is open."""
        from diffusion_bench.charts.page import to_html

        reports = self._open(names, uploads).reports
        if not reports:
            return ()
        stem = reports[0].source.removesuffix(".jsonl") if len(reports) == 1 else "comparison"
        return (
            self._outbox.place(f"{stem}.csv", to_csv(reports)),
            self._outbox.place(f"{stem}.md", to_markdown(reports)),
            self._outbox.place(f"{stem}.html", to_html(reports)),
        )

    def _open(self, names: list[str] | None, uploads: list[str] | None) -> Opened:
        return open_reports(self._folder, names or [], uploads or [])


def summary(opened: Opened) -> str:
    """Return a few lines a report: where it was measured, how complete it is, what is damaged."""
    lines = [f"Not opened: {complaint}" for complaint in opened.complaints]
    for report, label in zip(opened.reports, report_labels(opened.reports), strict=True):
        planned = len(report.header.plan.cells)
        failed = sum(cell.status != "ok" for cell in report.cells)
        lines.append(label or report.source)
        lines.append(f"  {describe(report)}")
        unwell = f", {failed} of them without figures" if failed else ""
        lines.append(f"  {len(report.cells)} of {planned} cells measured{unwell}")
        lines += [f"  Note: {note}" for note in report.notes]
    return "\n".join(lines) or NOTHING


def trace_choices(reports: tuple[Report, ...]) -> list[tuple[str, str]]:
    """Return label and id of every cell that has a trace."""
    return [(label, key) for label, key, _ in _traced(reports)]


def _traced(reports: tuple[Report, ...]) -> list[tuple[str, str, Any]]:
    found = []
    for index, (report, label) in enumerate(zip(reports, report_labels(reports), strict=True)):
        for cell in report.cells:
            if cell.trace.at_s:
                name = f"{cell_name(cell)}{f' ({label})' if label else ''}"
                found.append((name, f"{index}:{cell.cell_id}", cell))
    return found


def build(reading: Reading, tab: gr.Tab) -> None:
    """Lay out the tab and wire it; `tab` is the one that it lies in."""
    with gr.Row(equal_height=False):
        chosen = gr.Dropdown(
            [],
            value=[],
            multiselect=True,
            label="Reports in the folder, newest first",
            info="Several are drawn into the same charts.",
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
    words = gr.Textbox(
        NOTHING, label="Open reports", interactive=False, max_lines=30, elem_id="reports-words"
    )
    downloads = _downloads()
    charts = [part for name, title in TITLES.items() for part in _chart(name, title)]
    picker = gr.Dropdown([], value=None, label="Cell", elem_id="reports-trace-cell", render=False)
    trace = _chart("trace", "Hardware during a cell", picker)
    _wire(reading, (chosen, uploads), [words, picker, *charts], downloads)
    picker.change(
        _trace_handler(reading), [chosen, uploads, picker], list(trace), queue=False, **HIDDEN
    )
    tab.select(lambda: gr.Dropdown(reading.names()), None, chosen, queue=False, **HIDDEN)


def _downloads() -> list[gr.DownloadButton]:
    with gr.Row():
        return [
            gr.DownloadButton(
                name, interactive=False, size="md", min_width=90, elem_id=f"reports-{name.lower()}"
            )
            for name in ("CSV", "Markdown", "HTML")
        ]


def _chart(name: str, title: str, above: gr.Dropdown | None = None) -> tuple[gr.Plot, gr.Dataframe]:
    key = name.replace("_", "-")
    gr.Markdown(f"### {title}")
    if above is not None:
        above.render()
    plot = gr.Plot(show_label=False, elem_id=f"reports-{key}")
    with gr.Accordion("As a table", open=False, elem_id=f"reports-{key}-more"):
        table = gr.Dataframe(show_label=False, interactive=False, elem_id=f"reports-{key}-table")
    return plot, table


def _wire(
    reading: Reading,
    chosen: tuple[gr.Dropdown, gr.File],
    shown: list[Any],
    downloads: list[gr.DownloadButton],
) -> None:
    @complaining
    def on_open(names: list[str] | None, uploads: list[str] | None) -> list[Any]:
        found = reading.show(names, uploads)
        first = found.traces[-1][1] if found.traces else None
        picker = gr.Dropdown(list(found.traces), value=first)
        return [found.words, picker, *(part for chart in found.charts for part in chart)]

    @complaining
    def on_export(names: list[str] | None, uploads: list[str] | None) -> list[Any]:
        paths = reading.export(names, uploads)
        if not paths:
            return [gr.DownloadButton(value=None, interactive=False) for _ in downloads]
        return [gr.DownloadButton(value=path, interactive=True) for path in paths]

    for event in (chosen[0].change, chosen[1].change):
        event(
            on_open,
            list(chosen),
            shown,
            api_name="open_reports",
            show_progress="minimal",
            show_progress_on=shown[0],
            trigger_mode="always_last",
        ).then(on_export, list(chosen), downloads, **HIDDEN)


def _trace_handler(reading: Reading) -> Any:
    @complaining
    def on_trace(names: list[str] | None, uploads: list[str] | None, key: str | None) -> Any:
        return reading.trace(names, uploads, key) if key else (None, None)

    return on_trace
