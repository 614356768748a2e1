"""The tab *Reports*: reports of the folder or uploaded, their charts, tables and exports."""

from __future__ import annotations

from typing import Any

import gradio as gr

from diffusion_bench.ui.chart_fields import chart_fields
from diffusion_bench.ui.complaints import complaining
from diffusion_bench.ui.events import HIDDEN, QUIET
from diffusion_bench.ui.figures import TITLES, chart_words
from diffusion_bench.ui.reading import NOTHING, Reading
from diffusion_bench.ui.readouts import readout
from diffusion_bench.ui.report_files import MAX_LISTED


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
    example = gr.Button(
        "Open an example: DDIM against DDPM on two processor cores",
        size="sm",
        visible=reading.example_file is not None,
        elem_id="reports-example",
    )
    words = readout(NOTHING, label="Open reports", elem_id="reports-words")
    with gr.Column(visible=False, elem_id="reports-opened") as opened:  # until there is a report
        tariff, cells = _cells()
        downloads = _downloads()
        charts: list[Any] = [part for name, title in TITLES.items() for part in _chart(name, title)]
        with gr.Column(visible=False, elem_id="reports-quality-column") as judged:
            charts += [judged, *_chart("quality", "Quality against time")]
        picker = gr.Dropdown(
            [], value=None, label="Cell", elem_id="reports-trace-cell", render=False
        )
        verdict = readout(label="Held back by", elem_id="reports-verdict", render=False)
        trace = _chart("trace", "Hardware during a cell", picker, verdict)
    opening = _wire_opening(reading, (chosen, uploads), [words, opened, picker, *charts])
    _wire_cells(reading, [chosen, uploads, tariff], cells, (downloads, opening))
    picker.change(
        _trace_handler(reading),
        [chosen, uploads, picker],
        [verdict, *trace],
        trigger_mode="always_last",
        **QUIET,
    )
    example.click(complaining(reading.example), None, uploads, **QUIET)
    tab.select(lambda: gr.Dropdown(reading.names()), None, chosen, **HIDDEN)


def _cells() -> tuple[gr.Number, gr.Dataframe]:
    with gr.Accordion("All cells", open=False, elem_id="reports-cells-more"):
        tariff = gr.Number(
            None,
            label="Price of a kWh",
            info="Gives the cost of 1000 images where energy was measured.",
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
    gr.Markdown("\n".join(filter(None, (f"## {title}", chart_words(name)))))
    for part in above:
        part.render()
    return chart_fields(f"reports-{name}", title)


def _wire_opening(
    reading: Reading, chosen: tuple[gr.Dropdown, gr.File], shown: list[Any]
) -> list[Any]:
    """Open what was chosen; return the events after which the rest of the tab follows."""

    @complaining
    def on_open(names: list[str] | None = None, uploads: list[str] | None = None) -> list[Any]:
        """Open reports of the folder by name, and uploaded ones: words, charts and tables."""
        found = reading.show(names, uploads)
        first = found.traces[-1][1] if found.traces else None
        picker = gr.Dropdown(list(found.traces), value=first)
        quality = [gr.Column(visible=found.quality is not None), *(found.quality or (None, None))]
        charts = [part for chart in found.charts for part in chart]
        return [found.words, gr.Column(visible=found.is_open), picker, *charts, *quality]

    return [
        event(
            on_open,
            list(chosen),
            shown,
            **called,
            show_progress="minimal",
            show_progress_on=shown[0],
            trigger_mode="always_last",
        )
        for event, called in (
            (chosen[0].change, {"api_name": "open_reports"}),
            (chosen[1].change, {"api_visibility": "private"}),
        )
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
