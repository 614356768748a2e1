"""The part of the tab *Text to image* that compares: one prompt, a grid of settings."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import gradio as gr

from diffusion_bench.ui.complaints import LESS_OF_PICTURES, said_and_raised
from diffusion_bench.ui.events import QUIET
from diffusion_bench.ui.giving_up import WATCHED, Cancel
from diffusion_bench.ui.grid_fields import axis_fields, still_chosen
from diffusion_bench.ui.grids import AXES
from diffusion_bench.ui.model_choices import ALL_SAMPLERS, samplers_for
from diffusion_bench.ui.pictures.comparing import CompareView, Comparing
from diffusion_bench.ui.pictures.drawing import Drawing
from diffusion_bench.ui.readouts import announce, readout
from diffusion_bench.ui.style import progress_line

SHOWN_HEIGHT = 560

Fields = dict[str, Any]


def build(drawing: Drawing, fields: Fields) -> None:
    """Lay out the panel, closed, and wire it; `fields` hold the prompt and all other settings."""
    with gr.Accordion("Compare: one prompt, many settings", open=False, elem_id="t2i-compare"):
        gr.Markdown(
            "Draws the prompt above once for each combination, all other settings as above. "
            "An empty list takes the setting above; a picture to start from is not used. Rows are "
            "samplers and guidance, columns steps and seeds."
        )
        axes = axis_fields(ALL_SAMPLERS, "5, 10, 20", "t2i-compare")
        with gr.Row():
            draw = gr.Button("Draw the grid", variant="primary", elem_id="t2i-compare-draw")
            cancel = gr.Button("Cancel", elem_id="t2i-compare-cancel")
        shown = _result_fields()
    fields["model"].change(
        sampler_updates,
        [fields["model"], axes["sampler"]],
        axes["sampler"],
        queue=False,
        **QUIET,
    )
    _wire(Comparing(drawing), fields, axes, shown, (draw, cancel))


def sampler_updates(model: str, chosen: list[str]) -> Any:
    """Return the samplers of a model, with those chosen that are among them."""
    return still_chosen(samplers_for(model), chosen)


def _result_fields() -> Fields:
    fields: Fields = {
        "progress": gr.HTML(elem_id="t2i-compare-progress", elem_classes=["progress-line"]),
        "status": readout(label="Status", elem_id="t2i-compare-status"),
        "pictures": gr.Gallery(
            label="The grid",
            show_label=False,
            visible=False,
            columns=3,
            height=SHOWN_HEIGHT,
            object_fit="contain",
            format="png",
            interactive=False,
            buttons=["fullscreen"],
            elem_id="t2i-compare-pictures",
        ),
    }
    with gr.Row():
        for name, label in (("sheet", "Save as one picture"), ("sweep", "Save as a sweep")):
            fields[name] = gr.DownloadButton(
                label, interactive=False, size="sm", min_width=120, elem_id=f"t2i-compare-{name}"
            )
    return fields


def _wire(
    comparing: Comparing,
    fields: Fields,
    axes: Fields,
    shown: Fields,
    buttons: tuple[gr.Button, gr.Button],
) -> None:
    draw, cancel = buttons
    wanted = Cancel()

    def on_draw(*, start: Any = None, **values: Any) -> Iterator[tuple[Any, ...]]:
        """Draw a prompt once for each combination of samplers, guidance, steps and seeds."""
        asked = {name: values.pop(f"axis_{name}") for name in AXES}
        kept: list[CompareView] = []
        views = said_and_raised(
            wanted.until(comparing.draw(values, asked, kept)),
            lambda text: given_up(kept, text),
            advice=LESS_OF_PICTURES,
        )
        with closing(views):
            for view in views:
                yield to_updates(view)

    done = draw.click(
        on_draw,
        outputs=[shown[name] for name in ("pictures", "progress", "status", "sheet", "sweep")],
        inputs_kwargs=fields | {f"axis_{name}": axis for name, axis in axes.items()},
        api_name="compare",
        **WATCHED,
    )
    announce(done, shown["status"])
    wanted.wire(cancel)


def given_up(kept: Sequence[CompareView], said: str) -> CompareView:
    """Return what a grid shows that has not come to its end: what is drawn can be saved."""
    if not kept:
        return CompareView(done=0, status=said)
    return kept[-1]._replace(
        done=0, total=0, status=f"{said} {kept[-1].done} drawn by then: they can be saved."
    )


def to_updates(view: CompareView) -> tuple[Any, ...]:
    """Return the view as values of the pictures, progress, status and the two files."""
    pictures: Any = gr.skip()
    if view.pictures is not None:
        pictures = gr.Gallery(value=view.pictures, columns=view.columns, visible=True)
    started = view.pictures == []
    return (
        pictures,
        gr.skip() if view.done is None else progress_line(view.done, view.total, "Pictures done"),
        gr.skip() if view.status is None else view.status,
        *(_file(path, gone=started) for path in (view.sheet, view.sweep)),
    )


def _file(path: str | None, *, gone: bool) -> Any:
    if path is not None:
        return gr.DownloadButton(value=path, interactive=True)
    return gr.DownloadButton(value=None, interactive=False) if gone else gr.skip()
