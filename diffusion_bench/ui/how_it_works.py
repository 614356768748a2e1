"""The tab *How it works*: its parts, and the wires between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Any, get_args

import gradio as gr

from diffusion_bench.backends.catalog import catalog, find_model
from diffusion_bench.records import BUNDLED_MODEL, PrecisionName
from diffusion_bench.ui.complaints import said_and_raised
from diffusion_bench.ui.drawing import Drawing
from diffusion_bench.ui.giving_up import WATCHED, Cancel
from diffusion_bench.ui.looking import LOOKS, MOST_STEPS, Looking, LookView
from diffusion_bench.ui.model_words import entry_or_none
from diffusion_bench.ui.picture_fields import examples_for
from diffusion_bench.ui.style import progress_line

QUIET: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}
MATHS: list[dict[str, str | bool]] = [{"left": "$", "right": "$", "display": False}]
TITLES = {
    "noising": "Noising",
    "denoising": "Denoising",
    "unet": "U-Net",
    "guidance": "Guidance",
}
WORDS = {
    "noising": "A picture $x_0$ is mixed with noise $\\epsilon$ until nothing of it is left: "
    "$x_t = \\sqrt{\\bar\\alpha_t}\\,x_0 + \\sqrt{1-\\bar\\alpha_t}\\,\\epsilon$ "
    "(Ho et al. 2020, eq. 4). The noise schedule $\\bar\\alpha_t$ says how fast. A latent "
    "diffusion model does so with the latents of its autoencoder, not with pixels.",
    "denoising": "From noise, step by step, to a picture. At each step the network says what noise "
    "it sees in $x_t$, and so which picture $x_0$ under it; the sampler goes a little way there. "
    "DDIM (Song et al. 2021, eq. 12) adds no noise at $\\eta = 0$ and may take large steps; DDPM "
    "(Ho et al. 2020, algorithm 2) adds fresh noise at each.",
    "unet": "The network that denoises: down to lower resolutions, where it sees the whole, and up "
    "again, with skips across that carry where things are (Ronneberger et al. 2015). Attention "
    "layers read the prompt.",
    "guidance": "Classifier-free guidance: $\\hat\\epsilon = \\epsilon(x_t) + s\\,"
    "(\\epsilon(x_t, \\text{prompt}) - \\epsilon(x_t))$ (Ho and Salimans 2022). At $s = 1$ it is "
    "the answer with the prompt, and there is no need to ask for the other; lower scales are taken "
    "for 1.",
}
STEPS = 20

Fields = dict[str, Any]


def build(drawing: Drawing) -> None:
    """Lay out the tab and wire it."""
    looking = Looking(drawing)
    fields = _fields(shared=drawing.shared)
    fields["model"].change(
        _usual, fields["model"], [fields["guidance_scale"], fields["steps"]], **QUIET
    )
    with gr.Tabs(elem_id="look-tabs"):
        for name in LOOKS:
            with gr.Tab(TITLES[name], id=name):
                _part(looking, name, fields, shared=drawing.shared)


def _fields(*, shared: bool) -> Fields:
    prompts = examples_for(BUNDLED_MODEL)
    with gr.Row():
        prompt = gr.Dropdown(
            prompts,
            value=prompts[0],
            label="Prompt",
            info="One of these, or your own.",
            allow_custom_value=True,
            scale=3,
            min_width=240,
            elem_id="look-prompt",
        )
        model = gr.Dropdown(
            [(entry.title, name) for name, entry in catalog().items()],
            value=BUNDLED_MODEL,
            label="Model",
            allow_custom_value=not shared,
            scale=2,
            min_width=200,
            elem_id="look-model",
        )
    with gr.Row():
        return {
            "prompt": prompt,
            "model": model,
            "steps": gr.Number(
                STEPS,
                label="Steps",
                precision=0,
                minimum=1,
                maximum=MOST_STEPS,
                min_width=110,
                elem_id="look-steps",
            ),
            "seed": gr.Number(
                0, label="Seed", precision=0, minimum=0, min_width=110, elem_id="look-seed"
            ),
            "guidance_scale": gr.Number(
                find_model(BUNDLED_MODEL).guidance_scale,
                label="Guidance",
                minimum=0,
                maximum=50,
                step=0.5,
                min_width=110,
                elem_id="look-guidance",
            ),
            "precision": gr.Dropdown(
                list(get_args(PrecisionName)),
                value="fp32",
                label="Precision",
                min_width=110,
                elem_id="look-precision",
            ),
        }


def _usual(model: str) -> tuple[Any, Any]:
    """Return the usual guidance and steps of a model, what there is for one not known."""
    entry = entry_or_none(model)
    return (gr.skip(), gr.skip()) if entry is None else (entry.guidance_scale, entry.steps)


def _part(looking: Looking, name: str, fields: Fields, *, shared: bool) -> None:
    """Lay out one look, and wire it."""
    gr.Markdown(WORDS[name], latex_delimiters=MATHS, elem_id=f"look-{name}-words")
    with gr.Row():
        show = gr.Button("Show", variant="primary", elem_id=f"look-{name}-show")
        cancel = gr.Button("Cancel", elem_id=f"look-{name}-cancel")
    progress = gr.HTML(elem_id=f"look-{name}-progress", elem_classes=["progress-line"])
    status = gr.Textbox(
        label="Status", interactive=False, max_lines=6, elem_id=f"look-{name}-status"
    )
    rows = [
        gr.Gallery(
            label=row,
            visible=False,
            columns=10,
            height="auto",
            object_fit="contain",
            format="png",
            interactive=False,
            buttons=["fullscreen"],
            elem_id=f"look-{name}-row-{number}",
            elem_classes=["look-row"],
        )
        for number, row in enumerate(LOOKS[name].rows, 1)
    ]
    figure = gr.Plot(show_label=False, visible=False, elem_id=f"look-{name}-figure")
    with gr.Accordion("The chart as a table", open=False, elem_id=f"look-{name}-fold"):
        table = gr.Dataframe(interactive=False, elem_id=f"look-{name}-table")
    with gr.Row():
        files = [
            gr.DownloadButton(
                words, interactive=False, size="sm", min_width=120, elem_id=f"look-{name}-{kind}"
            )
            for kind, words in (("sheet", "Save as one picture"), ("film", "Save as a film (GIF)"))
        ]
    files[1].visible = LOOKS[name].has_film
    wanted = Cancel()
    show.click(
        _handler(looking, name, wanted),
        outputs=[progress, status, *rows, figure, table, *files],
        inputs_kwargs=fields,
        api_name=f"look_at_{name}",
        **WATCHED,
    )
    wanted.wire(cancel)


def _handler(
    looking: Looking, name: str, wanted: Cancel
) -> Callable[..., Iterator[tuple[Any, ...]]]:
    def on_show(**values: Any) -> Iterator[tuple[Any, ...]]:
        views = said_and_raised(
            wanted.until(looking.look(name, values)),
            lambda text: LookView(done=0, status=text),
        )
        with closing(views):
            for view in views:
                yield to_updates(name, view)

    return on_show


def to_updates(name: str, view: LookView) -> tuple[Any, ...]:
    """Return the view as values of progress, status, the rows, the chart, table and two files."""
    shown: list[Any] = [gr.skip()] * (len(LOOKS[name].rows) + 2)
    if view.rows is not None:
        shown = [
            gr.Gallery(value=list(view.rows.get(row, ())), visible=row in view.rows)
            for row in LOOKS[name].rows
        ]
        shown += [gr.Plot(view.figure, visible=True), view.table]
    files = (
        gr.skip() if path is None else gr.DownloadButton(value=path, interactive=True)
        for path in (view.sheet, view.film)
    )
    return (
        gr.skip() if view.done is None else progress_line(view.done, view.total, "Steps done"),
        gr.skip() if view.status is None else view.status,
        *shown,
        *files,
    )
