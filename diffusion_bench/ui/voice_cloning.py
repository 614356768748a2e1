"""The tab *Voice cloning*: the fields, what was said, and the wires between them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any, get_args

import gradio as gr

from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.backends.voice.catalog import find_voice_model, voice_catalog
from diffusion_bench.backends.voice.describe import describe
from diffusion_bench.backends.voice.voices import delete_voice, list_voices
from diffusion_bench.records import (
    BUNDLED_VOICE,
    BUNDLED_VOICE_MODEL,
    MAX_TEXT,
    PrecisionName,
)
from diffusion_bench.ui.complaints import complaining, said_and_raised
from diffusion_bench.ui.speaking import (
    OWN_RECORDING,
    Heard,
    Speaking,
    Spoken,
    VoiceView,
    report_lines,
    text_line,
)
from diffusion_bench.ui.style import progress_line
from diffusion_bench.ui.voice_limits import check_voice_model

EXAMPLES = (
    "The river was quiet that morning, and a thin mist lay over the fields.",
    "Dr. Smith paid $3.50 for two tickets on Nov. 25, 2026. Was that a fair price?",
    "Diffusion begins with noise, and step by step a voice comes out of it.",
)
AT_ONCE = 8  # viewers that may wait for the device
KEEP_RECORDING_S = 1800.0
VOCODERS = ("native", "griffin-lim")
HIDDEN: dict[str, Any] = {"queue": False, "show_progress": "hidden", "api_visibility": "private"}

Fields = dict[str, Any]


def build(speaking: Speaking) -> None:
    """Lay out the tab and wire it."""
    heard = gr.State(None, time_to_live=KEEP_RECORDING_S, delete_callback=_forget)
    spoken = gr.State(())
    gr.Markdown(
        "Some seconds of a voice and a text: that voice says the text. What is made here is marked "
        "as AI-generated, by an inaudible watermark and in the file's own words."
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=5, min_width=300):
            fields = _voice_fields(shared=speaking.shared)
            fields |= _text_fields()
            with gr.Row():
                speak = gr.Button("Speak", variant="primary", elem_id="voice-speak")
                cancel = gr.Button("Cancel", elem_id="voice-cancel")
            fields |= _model_fields(shared=speaking.shared)
        with gr.Column(scale=6, min_width=300):
            shown = _results()
    gr.Examples(
        [[text] for text in EXAMPLES], [fields["text"]], elem_id="voice-examples", label="Try"
    )
    _wire_voice(speaking, fields, heard)
    _wire_model(speaking, fields)
    _wire_speak(speaking, fields, (heard, spoken), shown, (speak, cancel))


def _voices() -> list[tuple[str, str]]:
    found = [("My recording, above", OWN_RECORDING)]
    found += [(voice.title or f"{voice.name} (saved)", voice.name) for voice in list_voices()]
    return found


def _voice_fields(*, shared: bool) -> Fields:
    fields: Fields = {
        "recording": gr.Audio(
            label="A recording of the voice (3 to 15 s, one person, no music)",
            sources=["upload", "microphone"],
            type="filepath",
            buttons=["download"],
            elem_id="voice-recording",
        ),
        "report": gr.Markdown(elem_id="voice-report"),
        "voice": gr.Dropdown(
            _voices(),
            value=BUNDLED_VOICE,
            label="Voice",
            info="Your recording, a sample voice that is nobody's, or one that you saved.",
            elem_id="voice-voice",
        ),
        "consent": gr.Checkbox(
            label="The person who speaks in the recording agreed to its being cloned.",
            elem_id="voice-consent",
        ),
        "transcript": gr.Textbox(
            label="What is said in the recording",
            info="For models that read it along; others do not need it.",
            visible=False,
            elem_id="voice-transcript",
        ),
    }
    with gr.Accordion(
        "Save or delete a voice", open=False, elem_id="voice-keep", visible=not shared
    ):
        fields["name"] = gr.Textbox(
            label="Name", info="1 to 40 of a-z, 0-9, - and _.", elem_id="voice-name"
        )
        with gr.Row():
            fields["save"] = gr.Button("Save my recording", size="sm", elem_id="voice-save")
            fields["delete"] = gr.Button("Delete that voice", size="sm", elem_id="voice-delete")
    return fields


def _text_fields() -> Fields:
    return {
        "text": gr.Textbox(
            EXAMPLES[0],
            label="Text",
            info="What to say, in English.",
            lines=3,
            max_length=MAX_TEXT,
            elem_id="voice-text",
        ),
        "length": gr.Markdown(
            text_line(EXAMPLES[0], find_voice_model(BUNDLED_VOICE_MODEL).max_chars),
            elem_id="voice-length",
        ),
    }


def _model_fields(*, shared: bool) -> Fields:
    usual = find_voice_model(BUNDLED_VOICE_MODEL)
    fields: Fields = {
        "model": gr.Dropdown(
            [(entry.title, name) for name, entry in voice_catalog().items()],
            value=BUNDLED_VOICE_MODEL,
            label="Model",
            info=None if shared else "One of the list, or a model folder.",
            allow_custom_value=not shared,
            elem_id="voice-model",
        ),
        "about": gr.Markdown(_about(usual), elem_id="voice-about"),
    }
    with gr.Row():
        fields["sampler"] = gr.Dropdown(
            list(usual.samplers),
            value=usual.samplers[0],
            label="Sampler",
            min_width=90,
            elem_id="voice-sampler",
        )
        fields["steps"] = gr.Number(
            usual.steps,
            label="Steps",
            precision=0,
            minimum=1,
            maximum=1000,
            min_width=90,
            elem_id="voice-steps",
        )
        fields["seed"] = gr.Number(
            -1,
            label="Seed",
            info="-1 picks one.",
            precision=0,
            minimum=-1,
            min_width=90,
            elem_id="voice-seed",
        )
    with gr.Row():
        fields["batch"] = gr.Number(
            1,
            label="Candidates",
            info="Ranked by likeness.",
            precision=0,
            minimum=1,
            maximum=16,
            min_width=90,
            elem_id="voice-batch",
        )
        fields["speed"] = gr.Slider(0.5, 2, 1, step=0.05, label="Speed", elem_id="voice-speed")
    return fields | _rare_fields(usual)


def _rare_fields(usual: VoiceEntry) -> Fields:
    with gr.Accordion("More settings", open=False, elem_id="voice-more"):
        return {
            "temperature": gr.Slider(
                0,
                2,
                usual.temperature,
                step=0.05,
                label="Temperature",
                info="Scale of the noise: lower is clearer and more alike.",
                elem_id="voice-temperature",
            ),
            "guidance_scale": gr.Number(
                usual.guidance_scale,
                label="Guidance",
                info="1 or less: off; above, every step runs the network twice.",
                minimum=0,
                maximum=50,
                step=0.1,
                elem_id="voice-guidance",
            ),
            "eta": gr.Slider(
                0,
                1,
                0,
                step=0.01,
                label="Eta",
                info="Noise that DDIM adds a step: 0 none, 1 as much as DDPM.",
                elem_id="voice-eta",
            ),
            "vocoder": gr.Dropdown(
                list(VOCODERS),
                value="native",
                label="Vocoder",
                info="The model's own, Griffin-Lim, or a hub id.",
                allow_custom_value=True,
                elem_id="voice-vocoder",
            ),
            "precision": gr.Dropdown(
                list(get_args(PrecisionName)),
                value="fp32",
                label="Precision",
                info="fp16 and bf16 are for GPUs.",
                elem_id="voice-precision",
            ),
            "watermark": gr.Checkbox(
                True,
                label="Watermark what is made (inaudible)",
                info="It tells others that it is synthetic. It can be removed by who wants to.",
                elem_id="voice-watermark",
            ),
        }


def _results() -> Fields:
    return {
        "audio": gr.Audio(
            label="What was said",
            type="filepath",
            interactive=False,
            buttons=["download"],
            elem_id="voice-audio",
        ),
        "candidate": gr.Radio(
            [], label="Candidates, the most alike first", visible=False, elem_id="voice-candidate"
        ),
        "progress": gr.HTML(elem_id="voice-progress", elem_classes=["progress-line"]),
        "status": gr.Textbox(
            "Ready.", label="Status", interactive=False, max_lines=8, elem_id="voice-status"
        ),
        "used_seed": gr.Textbox(label="Seed used", interactive=False, elem_id="voice-used-seed"),
        "figure": gr.Plot(show_label=False, elem_id="voice-spectrogram"),
        **_table_and_files(),
    }


def _table_and_files() -> Fields:
    with gr.Accordion("The spectrograms as a table", open=False, elem_id="voice-table-fold"):
        table = gr.Dataframe(interactive=False, elem_id="voice-table")
    files = gr.File(
        label="Files: speech and the settings that made it",
        file_count="multiple",
        interactive=False,
        elem_id="voice-files",
        height=110,
    )
    return {"table": table, "files": files}


def _about(entry: VoiceEntry) -> str:
    return "\n".join(f"- {line}" for line in describe(entry))


def _forget(heard: Heard | None) -> None:
    """Delete the recording of a visitor who has left."""
    if heard is not None:
        heard.forget()


def _wire_voice(speaking: Speaking, fields: Fields, heard: gr.State) -> None:
    @complaining
    def on_recording(path: str | None, before: Heard | None) -> tuple[Any, ...]:
        _forget(before)
        if not path:
            return None, "", gr.skip()
        found = speaking.hear(path)
        return found, report_lines(found.report), OWN_RECORDING

    @complaining
    def on_save(name: str, consent: bool, transcript: str, held: Heard | None) -> tuple[Any, ...]:
        values = {"consent": consent, "transcript": transcript}
        gr.Info(speaking.keep(name, held, values))
        return gr.Dropdown(choices=_voices(), value=name.strip()), ""

    @complaining
    def on_delete(name: str) -> tuple[Any, ...]:
        if speaking.shared:
            raise ValueError("this app is shared: its visitors cannot delete voices")
        delete_voice(name.strip())
        return gr.Dropdown(choices=_voices(), value=BUNDLED_VOICE), ""

    fields["recording"].change(
        on_recording,
        [fields["recording"], heard],
        [heard, fields["report"], fields["voice"]],
        **HIDDEN,
    )
    kept = [fields["voice"], fields["name"]]
    fields["save"].click(
        on_save,
        [fields["name"], fields["consent"], fields["transcript"], heard],
        kept,
        **HIDDEN,
    )
    fields["delete"].click(on_delete, fields["name"], kept, **HIDDEN)


def _wire_model(speaking: Speaking, fields: Fields) -> None:
    @complaining
    def on_model(model: str, text: str) -> tuple[Any, ...]:
        entry = check_voice_model(model, shared=speaking.shared)
        return (
            _about(entry),
            gr.Dropdown(choices=list(entry.samplers), value=entry.samplers[0]),
            entry.steps,
            entry.guidance_scale,
            entry.temperature,
            gr.Textbox(visible=entry.needs_transcript),
            text_line(text, entry.max_chars),
        )

    @complaining
    def on_text(text: str, model: str) -> str:
        return text_line(text, check_voice_model(model, shared=speaking.shared).max_chars)

    names = ("about", "sampler", "steps", "guidance_scale", "temperature", "transcript", "length")
    fields["model"].input(
        on_model, [fields["model"], fields["text"]], [fields[name] for name in names], **HIDDEN
    )
    fields["text"].change(on_text, [fields["text"], fields["model"]], fields["length"], **HIDDEN)
    fields["sampler"].change(
        lambda sampler: gr.Slider(visible=sampler == "ddim"),
        fields["sampler"],
        fields["eta"],
        **HIDDEN,
    )


def _wire_speak(
    speaking: Speaking,
    fields: Fields,
    states: tuple[gr.State, gr.State],
    shown: Fields,
    buttons: tuple[gr.Button, gr.Button],
) -> None:
    heard, spoken = states
    speak, cancel = buttons
    asked = {
        name: field
        for name, field in fields.items()
        if name not in ("recording", "report", "name", "save", "delete", "length", "about")
    }

    def on_speak(**values: Any) -> Iterator[tuple[Any, ...]]:
        held = values.pop("heard")
        views = said_and_raised(speaking.speak(values, held), lambda text: VoiceView(status=text))
        with closing(views):
            for view in views:
                for warning in view.warnings:
                    gr.Warning(warning)
                yield to_updates(view)

    running = speak.click(
        on_speak,
        outputs=[*shown.values(), spoken],
        inputs_kwargs={**asked, "heard": heard},
        api_name="speak",
        show_progress="hidden",
        concurrency_limit=AT_ONCE,
        trigger_mode="once",
    )
    cancel.click(
        lambda: ("", "Cancelled."),
        None,
        [shown["progress"], shown["status"]],
        cancels=[running],
        **HIDDEN,
    )
    shown["candidate"].input(chosen_file, [shown["candidate"], spoken], shown["audio"], **HIDDEN)


def chosen_file(label: str, spoken: tuple[Spoken, ...]) -> Any:
    """Return the file of a candidate by its label; nothing changes for one that is not there.

    The label comes from the browser, the files from the server's own list.
    """
    return next((one.path for one in spoken if one.label == label), gr.skip())


def to_updates(view: VoiceView) -> tuple[Any, ...]:
    """Return the view as values of the results, in their order, and of the list of candidates."""
    chart, spoken = view.chart, view.spoken
    candidates: Any = gr.skip()
    files: Any = gr.skip()
    if spoken is not None:
        labels = [one.label for one in spoken]
        candidates = gr.Radio(
            choices=labels, value=labels[0] if labels else None, visible=len(labels) > 1
        )
        files = [path for one in spoken for path in (one.path, one.recipe_path)] or None
    return (
        gr.skip() if view.audio is None else view.audio,
        candidates,
        gr.skip() if view.done is None else progress_line(view.done, view.total, "Steps done"),
        gr.skip() if view.status is None else view.status,
        gr.skip() if view.used_seed is None else str(view.used_seed),
        gr.skip() if chart is None else chart.figure,
        gr.skip() if chart is None else chart.table,
        files,
        gr.skip() if spoken is None else spoken,
    )
