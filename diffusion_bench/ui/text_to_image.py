"""The tab *Text to image*: the fields, the pictures and the wires between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, get_args

import gradio as gr

from diffusion_bench.backends.catalog import catalog
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest, PrecisionName, SamplerName
from diffusion_bench.ui.complaints import complaining, said_and_raised
from diffusion_bench.ui.drawing import Drawing, View, check_model
from diffusion_bench.ui.style import TO_PICTURES, progress_line

EXAMPLES = (
    "a cat on a blue background",
    "a big apple on a white background",
    "a fox left of a tree on a green background",
    "a small whale on a blue background",
    "a robot above a cake on a yellow background",
    "the moon right of an owl on a black background",
    "a rocket below a butterfly on a purple background",
    "a panda on an orange background",
)
AT_ONCE = 8  # viewers that may wait for the device
SHOWN_HEIGHT = 420

Fields = dict[str, Any]


def build(drawing: Drawing, *, shared: bool) -> None:
    """Lay out the tab and wire it."""
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            fields = _prompt_fields()
            with gr.Row():
                generate = gr.Button("Generate", variant="primary", elem_id="t2i-generate")
                cancel = gr.Button("Cancel", elem_id="t2i-cancel")
            fields |= _setting_fields(shared=shared)
        with gr.Column(scale=6, min_width=300):
            shown = _results()
            reuse = gr.Button("Use this seed again", size="sm", elem_id="t2i-reuse")
            with gr.Accordion("Read settings from a picture", open=False, elem_id="t2i-read"):
                upload = gr.File(
                    label="A PNG made here", file_types=[".png"], elem_id="t2i-upload", height=120
                )
    gr.Examples(
        [[prompt] for prompt in EXAMPLES], [fields["prompt"]], elem_id="t2i-examples", label="Try"
    )
    _wire_generate(drawing, fields, shown, generate, cancel)
    _wire_fields(drawing, fields, upload, shared=shared)
    reuse.click(
        lambda seed: int(seed) if seed else gr.skip(),
        shown["used_seed"],
        fields["seed"],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def _prompt_fields() -> Fields:
    return {
        "prompt": gr.Textbox(
            EXAMPLES[0],
            label="Prompt",
            info="What to draw. Ctrl+Enter draws it.",
            lines=2,
            max_length=2000,
            elem_id="t2i-prompt",
        ),
        "negative_prompt": gr.Textbox(
            label="Negative prompt",
            info="What to keep out. Needs guidance above 1.",
            max_length=2000,
            elem_id="t2i-negative",
        ),
    }


def _setting_fields(*, shared: bool) -> Fields:
    usual = catalog()[BUNDLED_MODEL]
    fields: Fields = {
        "model": gr.Dropdown(
            [(entry.title, name) for name, entry in catalog().items()],
            value=BUNDLED_MODEL,
            label="Model",
            info=None if shared else "One of the list, a hub id (owner/name), or a model folder.",
            allow_custom_value=not shared,
            elem_id="t2i-model",
        )
    }
    with gr.Row():
        fields["sampler"] = gr.Radio(
            get_args(SamplerName), value="ddim", label="Sampler", elem_id="t2i-sampler"
        )
        fields["steps"] = gr.Number(
            usual.steps, label="Steps", precision=0, minimum=1, maximum=1000, elem_id="t2i-steps"
        )
    with gr.Row():
        fields["seed"] = gr.Number(
            -1, label="Seed", info="-1 picks one.", precision=0, minimum=-1, elem_id="t2i-seed"
        )
        fields["guidance_scale"] = gr.Number(
            usual.guidance_scale,
            label="Guidance",
            info="1 or less: off.",
            minimum=0,
            maximum=50,
            step=0.5,
            elem_id="t2i-guidance",
        )
    with gr.Row():
        for name in ("width", "height"):
            fields[name] = gr.Number(
                usual.side,
                label=f"{name.title()} (px)",
                precision=0,
                step=8,
                minimum=8,
                min_width=90,
                elem_id=f"t2i-{name}",
            )
        fields["batch"] = gr.Number(
            1, label="Pictures", precision=0, minimum=1, min_width=90, elem_id="t2i-batch"
        )
    return fields | _rare_fields()


def _rare_fields() -> Fields:
    with gr.Accordion("More settings", open=False, elem_id="t2i-more"):
        return {
            "eta": gr.Slider(
                0,
                1,
                0,
                step=0.01,
                label="Eta",
                info="Noise that DDIM adds a step: 0 none, 1 as much as DDPM.",
                elem_id="t2i-eta",
            ),
            "noise_seed": gr.Number(
                -1,
                label="Noise seed",
                info="Decides the noise added on the way; -1: as the seed.",
                precision=0,
                minimum=-1,
                elem_id="t2i-noise-seed",
            ),
            "precision": gr.Dropdown(
                list(get_args(PrecisionName)),
                value="fp32",
                label="Precision",
                info="fp16 and bf16 are for GPUs.",
                elem_id="t2i-precision",
            ),
            "live_preview": gr.Checkbox(
                True, label="Show the picture as it forms (takes some time)", elem_id="t2i-live"
            ),
        }


def _results() -> Fields:
    return {
        "pictures": gr.Gallery(
            label="Pictures",
            elem_id="t2i-pictures",
            height=SHOWN_HEIGHT,
            columns=3,
            object_fit="contain",
            format="png",
            interactive=False,
            buttons=["download", "fullscreen"],
        ),
        "progress": gr.HTML(elem_id="t2i-progress", elem_classes=["progress-line"]),
        "status": gr.Textbox(
            "Ready.", label="Status", interactive=False, max_lines=8, elem_id="t2i-status"
        ),
        # Not a number: an empty one shows 0, a seed that was never used.
        "used_seed": gr.Textbox(label="Seed used", interactive=False, elem_id="t2i-used-seed"),
    }


def _wire_generate(
    drawing: Drawing, fields: Fields, shown: Fields, generate: gr.Button, cancel: gr.Button
) -> None:
    def on_generate(**values: Any) -> Iterator[tuple[Any, ...]]:
        views = said_and_raised(drawing.draw(values), lambda text: View(status=text))
        with closing(views):
            for view in views:
                for warning in view.warnings:
                    gr.Warning(warning)
                yield to_updates(view)

    generate.click(None, js=TO_PICTURES, queue=False, api_visibility="private")
    running = generate.click(
        on_generate,
        outputs=list(shown.values()),
        inputs_kwargs=fields,
        api_name="generate",
        show_progress="hidden",
        concurrency_limit=AT_ONCE,
        trigger_mode="once",
    )
    cancel.click(
        lambda: ("", "Cancelled."),
        None,
        [shown["progress"], shown["status"]],
        cancels=[running],
        queue=False,
        show_progress="hidden",
        api_visibility="private",
    )


def to_updates(view: View) -> tuple[Any, ...]:
    """Return the view as values of the pictures, the progress, the status and the used seed."""
    return (
        gr.skip() if view.pictures is None else list(view.pictures),
        gr.skip() if view.done is None else progress_line(view.done, view.total, "Steps done"),
        gr.skip() if view.status is None else view.status,
        gr.skip() if view.used_seed is None else str(view.used_seed),
    )


def _wire_fields(drawing: Drawing, fields: Fields, upload: gr.File, *, shared: bool) -> None:
    @complaining
    def on_model(model: str) -> tuple[Any, ...]:
        entry = check_model(model, shared=shared)
        return entry.steps, entry.guidance_scale, entry.side, entry.side

    @complaining
    def on_upload(path: str | None) -> list[Any]:
        read = drawing.read_settings(path)
        gr.Info("The settings of this picture are in the fields now.")
        return [read[name] for name in _request_fields(fields)]

    quiet: dict[str, Any] = {"queue": False, "show_progress": "hidden"}
    usual = [fields[name] for name in ("steps", "guidance_scale", "width", "height")]
    fields["model"].input(on_model, fields["model"], usual, api_visibility="private", **quiet)
    fields["sampler"].change(
        lambda sampler: gr.Slider(visible=sampler == "ddim"),
        fields["sampler"],
        fields["eta"],
        api_visibility="private",
        **quiet,
    )
    upload.upload(
        on_upload,
        upload,
        [fields[name] for name in _request_fields(fields)],
        api_name="read_settings",
        show_progress="hidden",
    )


def _request_fields(fields: Fields) -> list[str]:
    return [name for name in fields if name in ImageRequest.model_fields]
