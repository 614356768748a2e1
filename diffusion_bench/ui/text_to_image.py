"""The tab *Text to image*: its parts, and the wires between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from typing import Any

import gradio as gr

from diffusion_bench.backends.catalog import find_model
from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.ui.complaints import LESS_OF_PICTURES, complaining, said_and_raised
from diffusion_bench.ui.events import HIDDEN, TELLING
from diffusion_bench.ui.giving_up import WATCHED, Cancel
from diffusion_bench.ui.model_choices import choice_updates, choices_for
from diffusion_bench.ui.model_words import about_words, model_words
from diffusion_bench.ui.pictures import comparison_panel
from diffusion_bench.ui.pictures.drawing import Drawing, Picture, View
from diffusion_bench.ui.pictures.fields import (
    NEGATIVE_OFF,
    NEGATIVE_ON,
    RESCALE_OFF,
    RESCALE_ON,
    Fields,
    examples_for,
    model_field,
    prompt_fields,
    rare_fields,
    request_fields,
    setting_fields,
    start_fields,
    start_updates,
)
from diffusion_bench.ui.pictures.known_words import doubts_line, with_word
from diffusion_bench.ui.pictures.restoring import Restored, read_settings, restored
from diffusion_bench.ui.pictures.results import (
    chosen_of,
    named,
    paths_of,
    result_fields,
    session_fields,
    wire_session,
    with_finished,
)
from diffusion_bench.ui.pictures.sizes import size_presets
from diffusion_bench.ui.readouts import announce
from diffusion_bench.ui.style import TO_PICTURES, progress_line

CHOICES = ("sampler", "style", "size", "words", "width", "height")  # that follow the model
# Not a setting of a picture: it helps to write a prompt, or to set the sides, or explains.
HELPERS = ("words", "doubts", "size", "start_words", "start_from")


def build(drawing: Drawing, *, shared: bool) -> None:
    """Lay out the tab and wire it."""
    with gr.Row(equal_height=False, elem_id="t2i-page"):
        with gr.Column(scale=5, min_width=300, elem_id="t2i-ask"):
            fields = prompt_fields()
            with gr.Row():
                generate = gr.Button("Generate", variant="primary", elem_id="t2i-generate")
                cancel = gr.Button("Cancel", elem_id="t2i-cancel")
            gr.Examples(
                [[prompt] for prompt in examples_for(BUNDLED_MODEL)],
                [fields["prompt"]],
                elem_id="t2i-examples",
                label="Try",
            )
        with gr.Column(scale=6, min_width=300, elem_id="t2i-result"):
            shown = result_fields()
            reuse = gr.Button("Use this seed again", size="sm", elem_id="t2i-reuse")
            session = session_fields()
            upload = gr.File(
                label="Settings from a PNG",
                file_types=[".png"],
                elem_id="t2i-upload",
                height=120,
            )
        with gr.Column(scale=5, min_width=300, elem_id="t2i-settings"):
            fields["model"] = model_field(shared=shared)
            about = gr.Markdown(model_words(find_model(BUNDLED_MODEL)), elem_id="t2i-about")
            fields |= setting_fields()
            fields |= rare_fields(shared=shared)
            fields |= start_fields()
    asked = {name: field for name, field in fields.items() if name not in HELPERS}
    comparison_panel.build(drawing, asked)
    recipe = gr.State()  # of the picture whose settings were last put back
    _wire_generate(drawing, asked | {"restored": recipe}, {**shown, **session}, generate, cancel)
    _wire_model(drawing, fields, about)
    _wire_helpers(fields)
    _wire_restoring(fields | {"restored": recipe}, session, upload, shared=shared)
    wire_session(session, shown, drawing.outbox)
    reuse.click(
        lambda seed: int(seed) if seed else gr.skip(), shown["used_seed"], fields["seed"], **HIDDEN
    )


def _wire_generate(
    drawing: Drawing, fields: Fields, shown: Fields, generate: gr.Button, cancel: gr.Button
) -> None:
    wanted = Cancel()
    told = ("pictures", "progress", "status", "used_seed")
    states = ("now", "kept", "history", "chosen", "parameters")

    # For programs that call: what has neither a first value nor this default must be given.
    def on_generate(
        *, kept_before: Sequence[Picture], start: Any = None, **values: Any
    ) -> Iterator[tuple[Any, ...]]:
        """Draw a prompt; yield the pictures so far, the progress, its words and the seed used."""
        now: tuple[Picture, ...] = ()
        kept = tuple(kept_before)
        views = said_and_raised(
            wanted.until(drawing.draw({**values, "start": start})),
            lambda text: View(done=0, status=text),
            advice=LESS_OF_PICTURES,
        )
        with closing(views):
            for view in views:
                for warning in view.warnings:
                    gr.Warning(warning)
                now += view.finished
                kept = with_finished(kept, view.finished)
                yield to_updates(view, now) + session_updates(view, now, kept)

    generate.click(None, js=TO_PICTURES, queue=False, api_visibility="private")
    done = generate.click(
        on_generate,
        outputs=[shown[name] for name in (*told, *states)],
        inputs_kwargs=fields | {"kept_before": shown["kept"]},
        api_name="generate",
        **WATCHED,
    )
    announce(done, shown["status"])
    wanted.wire(cancel)


def to_updates(view: View, now: Sequence[Picture]) -> tuple[Any, ...]:
    """Return the view as values of the pictures, the progress, the status and the used seed.

    `now` are the pictures that are finished.
    """
    return (
        gr.skip() if view.pictures is None else named(view.pictures, now),
        gr.skip() if view.done is None else progress_line(view.done, view.total, "Steps done"),
        gr.skip() if view.status is None else view.status,
        gr.skip() if view.used_seed is None else str(view.used_seed),
    )


def session_updates(view: View, now: Sequence[Picture], kept: Sequence[Picture]) -> tuple[Any, ...]:
    """Return the view as values of the pictures of now, of the session, and the chosen one."""
    if not view.finished:
        # An empty gallery has nothing to choose from any more.
        return (() if view.pictures == [] else gr.skip(), *[gr.skip()] * 4)
    chosen, words = chosen_of(now, 0)
    return tuple(now), tuple(kept), named(paths_of(kept), kept), chosen, words


def _wire_model(drawing: Drawing, fields: Fields, about: gr.Markdown) -> None:
    @complaining
    def on_model(model: str) -> tuple[Any, ...]:
        entry = choices_for(model, shared=drawing.shared).entry
        choices = choice_updates(model, shared=drawing.shared, side=entry.side)
        return (entry.steps, entry.guidance_scale, *choices)

    fields["model"].input(
        on_model,
        fields["model"],
        [fields["steps"], fields["guidance_scale"], *_choice_fields(fields)],
        **HIDDEN,
    )

    def on_need(
        model: str, width: float | None, height: float | None, batch: float | None, precision: Any
    ) -> str:
        return about_words(
            model, drawing.device, size=(width, height), batch=batch, precision=precision
        )

    needs = [fields[name] for name in ("model", "width", "height", "batch", "precision")]
    # Numbers change at each key; the prediction needs none of the device, so it may.
    for field in needs:
        field.change(on_need, needs, about, **HIDDEN)
    start = [fields[name] for name in ("start_words", "start", "strength")]
    fields["model"].change(start_updates, fields["model"], start, **HIDDEN)


def _choice_fields(fields: Fields) -> list[Any]:
    return [fields[name] for name in CHOICES]


def _wire_helpers(fields: Fields) -> None:
    fields["words"].input(
        lambda prompt, word: (with_word(prompt, word), None),
        [fields["prompt"], fields["words"]],
        [fields["prompt"], fields["words"]],
        **HIDDEN,
    )

    def on_words(model: str, prompt: str, negative_prompt: str) -> Any:
        said = doubts_line(model, prompt, negative_prompt)
        return gr.Textbox(said, visible=bool(said))

    asked = [fields[name] for name in ("model", "prompt", "negative_prompt")]
    for field in asked:
        # While one answer is on its way only the last of the keys after it is told.
        field.change(on_words, asked, fields["doubts"], trigger_mode="always_last", **HIDDEN)

    @complaining
    def on_size(model: str, size: str | None) -> Any:
        sides = size_presets(choices_for(model, shared=False).entry).get(size or "")
        return sides or (gr.skip(), gr.skip())

    fields["size"].input(
        on_size, [fields["model"], fields["size"]], [fields["width"], fields["height"]], **HIDDEN
    )
    fields["sampler"].change(
        lambda sampler: gr.Slider(visible=sampler == "ddim"),
        fields["sampler"],
        fields["eta"],
        **HIDDEN,
    )
    fields["guidance_scale"].change(
        for_guidance,
        fields["guidance_scale"],
        [fields["negative_prompt"], fields["guidance_rescale"]],
        **HIDDEN,
    )


def for_guidance(guidance_scale: float | None) -> tuple[Any, Any]:
    """Return the negative prompt and the rescaling, off with the reason without guidance."""
    on = (guidance_scale or 0) > 1
    return (
        gr.Textbox(interactive=on, info=NEGATIVE_ON if on else NEGATIVE_OFF),
        gr.Slider(interactive=on, info=RESCALE_ON if on else RESCALE_OFF),
    )


def _wire_restoring(fields: Fields, session: Fields, upload: gr.File, *, shared: bool) -> None:
    """Wire both ways back: a dropped picture and the chosen one.

    What can be chosen with its model comes first, since a choice that is not on a list is refused.
    """
    names = [*request_fields(fields), "style", "rounds", "restored"]
    outputs = [fields[name] for name in names]

    def values(found: Restored) -> list[Any]:
        gr.Info(found.said)
        return [found.fields.get(name, gr.skip()) for name in names]

    @complaining
    def upload_choices(path: str | None) -> tuple[Any, ...]:
        model = read_settings(path, shared=shared).fields.get("model")
        if model is None:  # a picture of another tool: the model stays
            return (gr.skip(),) * len(CHOICES)
        return choice_updates(model, shared=shared)

    @complaining
    def on_upload(path: str | None, model: str) -> list[Any]:
        """Read the settings that a PNG carries, as values of the fields."""
        return values(read_settings(path, shared=shared, model=model))

    @complaining
    def chosen_choices(chosen: Picture | None) -> tuple[Any, ...]:
        return choice_updates(_recipe(chosen).request.model, shared=shared)

    @complaining
    def on_again(chosen: Picture | None) -> list[Any]:
        return values(restored(_recipe(chosen), shared=shared))

    choices = _choice_fields(fields)
    upload.upload(upload_choices, upload, choices, **HIDDEN).success(
        on_upload,
        [upload, fields["model"]],
        outputs,
        api_name="read_settings",
        show_progress="hidden",
    )
    session["again"].click(chosen_choices, session["chosen"], choices, **HIDDEN).success(
        on_again, session["chosen"], outputs, **TELLING
    )

    @complaining
    def on_go_on(chosen: Picture | None) -> tuple[Any, Any]:
        path = _file(chosen)
        gr.Info("It is under Start from a picture now.")
        return path, gr.Accordion(open=True)

    session["go_on"].click(
        on_go_on, session["chosen"], [fields["start"], fields["start_from"]], **TELLING
    )


def _recipe(chosen: Picture | None) -> Any:
    if chosen is None:
        raise ValueError("choose a finished picture first")
    return chosen.recipe


def _file(chosen: Picture | None) -> str:
    _recipe(chosen)
    paths = paths_of([chosen] if chosen else [])
    if not paths:
        raise ValueError("a picture is kept for a day, and this one is gone: draw it again")
    return paths[0]
