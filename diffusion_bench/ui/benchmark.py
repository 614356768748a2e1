"""The tab *Benchmark*: a sweep to edit, its progress, its charts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import gradio as gr

from diffusion_bench.ui.complaints import FAULTS, complaining, in_one_line, said_and_raised
from diffusion_bench.ui.events import HIDDEN
from diffusion_bench.ui.figures import CELL_HEADERS, TITLES, chart_words
from diffusion_bench.ui.giving_up import WATCHED, Cancel
from diffusion_bench.ui.plans import SMALLEST_SWEEP, Planning, sweep_files, sweep_text
from diffusion_bench.ui.readouts import announce, readout
from diffusion_bench.ui.report_files import ReportFolder
from diffusion_bench.ui.style import progress_line
from diffusion_bench.ui.sweeping import CHARTS, Sweeping, View

CANCELLED = "Cancelled. What is measured is saved; choose the report below to go on with it."
CANCELLED_EARLY = "Cancelled before a cell was measured."

Shown = dict[str, Any]


def build(sweeping: Sweeping, planning: Planning, reports: ReportFolder, tab: gr.Tab) -> None:
    """Lay out the tab and wire it; `tab` is the one that it lies in."""
    names = list(sweep_files())
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            choice = gr.Dropdown(
                names,
                value=names[0] if names else None,
                label="Start from",
                elem_id="bench-choice",
                visible=bool(names),
            )
            editor = gr.Textbox(
                sweep_text(names[0]) if names else SMALLEST_SWEEP,
                label="Sweep (TOML)",
                info="Each list is an axis; every combination of their values is a cell.",
                lines=14,
                max_lines=26,
                elem_id="bench-editor",
                elem_classes=["code"],
            )
            plan = readout(label="Plan", elem_id="bench-plan")
            with gr.Row():
                run = gr.Button(
                    "Run", variant="primary", elem_id="bench-run", size="md", min_width=80
                )
                estimate = gr.Button("Estimate", elem_id="bench-estimate", size="md", min_width=80)
                cancel = gr.Button("Cancel", elem_id="bench-cancel", size="md", min_width=80)
            unfinished, resume = _resume_fields()
        with gr.Column(scale=6, min_width=300):
            shown = _results()
    _wire_plan(planning, choice, editor, plan, tab)
    wanted = Cancel()
    for button, views, name, given in (
        (run, sweeping.run, "sweep", {"text": editor}),
        (resume, sweeping.resume, "resume_sweep", {"name": unfinished}),
    ):
        done = button.click(
            _to_handler(views, wanted),
            outputs=list(shown.values()),
            inputs_kwargs=given,
            api_name=name,
            api_description=views.__doc__,
            **WATCHED,
        )
        announce(done, shown["status"])
    _wire_estimate(planning, estimate, editor, plan, wanted)
    wanted.wire(cancel)
    cancel.click(lambda: gr.Dropdown(reports.unfinished()), None, unfinished, **HIDDEN)
    unfinished.focus(lambda: gr.Dropdown(reports.unfinished()), None, unfinished, **HIDDEN)


def _resume_fields() -> tuple[gr.Dropdown, gr.Button]:
    with gr.Accordion("Go on with an unfinished report", open=False, elem_id="bench-unfinished"):
        unfinished = gr.Dropdown(
            [],
            value=None,
            label="Report",
            info="Goes by the plan in the report, not by the text above.",
            allow_custom_value=True,  # the list is filled later; names are checked when used
            elem_id="bench-resume-report",
        )
        return unfinished, gr.Button("Resume", elem_id="bench-resume")


def _results() -> Shown:
    shown: Shown = {
        "progress": gr.HTML(elem_id="bench-progress", elem_classes=["progress-line"]),
        "status": readout("Nothing is running.", label="Status", elem_id="bench-status"),
    }
    with gr.Row():
        shown["report"] = gr.DownloadButton(
            "Report (.jsonl)", interactive=False, elem_id="bench-download", size="md", min_width=120
        )
        shown["page"] = gr.DownloadButton(
            "Charts (.html)",
            interactive=False,
            elem_id="bench-download-html",
            size="md",
            min_width=120,
        )
    for name in CHARTS:
        gr.Markdown(f"## {TITLES[name]}\n{chart_words(name)}")
        shown[name] = gr.Plot(show_label=False, elem_id=f"bench-{name}")
    with gr.Accordion("Cells", open=True):
        shown["cells"] = gr.Dataframe(
            headers=CELL_HEADERS,
            label="Cells",
            show_label=False,
            interactive=False,
            elem_id="bench-cells",
        )
    return shown


def _wire_plan(
    planning: Planning,
    choice: gr.Dropdown,
    editor: gr.Textbox,
    plan: gr.Textbox,
    tab: gr.Tab,
) -> None:
    def on_edit(text: str) -> str:
        try:
            return planning.describe(text)
        except FAULTS as error:
            return f"Error: {in_one_line(error)}"

    choice.input(complaining(sweep_text), choice, editor, **HIDDEN)
    editor.change(on_edit, editor, plan, trigger_mode="always_last", **HIDDEN)
    tab.select(on_edit, editor, plan, **HIDDEN)


def _wire_estimate(
    planning: Planning,
    button: gr.Button,
    editor: gr.Textbox,
    plan: gr.Textbox,
    wanted: Cancel,
) -> None:
    def on_estimate(text: str) -> Iterator[Any]:
        """Time a few steps of each model of a sweep, and tell how long all of it takes."""
        with closing(said_and_raised(wanted.until(planning.probe(text)), str)) as lines:
            for line in lines:
                yield line or gr.skip()

    done = button.click(on_estimate, editor, plan, api_name="estimate", **WATCHED)
    announce(done, plan)


def _to_handler(views: Any, wanted: Cancel) -> Any:
    """Return a handler for the page that shows the views of a run."""

    def handle(**given: str | None) -> Iterator[tuple[Any, ...]]:
        kept = False
        shown = said_and_raised(
            wanted.until(views(**given)),
            lambda text: View(done=0, status=text),
            lambda: CANCELLED if kept else CANCELLED_EARLY,
        )
        with closing(shown):
            for view in shown:
                kept |= view.kept
                yield to_updates(view)

    return handle


def to_updates(view: View) -> tuple[Any, ...]:
    """Return the view as values of the shown components, in their order."""
    files: tuple[Any, ...] = (gr.skip(), gr.skip())
    if view.files is not None:
        files = tuple(
            gr.DownloadButton(value=path, interactive=path is not None) for path in view.files
        )
    return (
        gr.skip() if view.done is None else progress_line(view.done, view.total, "Sweep"),
        gr.skip() if view.status is None else view.status,
        *files,
        *(view.figures or [gr.skip()] * len(CHARTS)),
        gr.skip() if view.table is None else view.table,
    )
