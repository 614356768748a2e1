"""The tab *Voice cloning*: its parts, and the wires between them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

import gradio as gr

from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.records import BUNDLED_VOICE, BUNDLED_VOICE_MODEL
from diffusion_bench.ui.complaints import (
    LESS_OF_SPEECH,
    complaining,
    said_and_raised,
)
from diffusion_bench.ui.events import HIDDEN, TELLING
from diffusion_bench.ui.giving_up import WATCHED, Cancel
from diffusion_bench.ui.readouts import announce
from diffusion_bench.ui.style import TO_SPEECH, progress_line
from diffusion_bench.ui.voice import comparison_panel
from diffusion_bench.ui.voice.fields import (
    EXAMPLES,
    Fields,
    file_fields,
    for_model,
    model_fields,
    text_fields,
    voice_fields,
    voices_now,
)
from diffusion_bench.ui.voice.files import Spoken, examine, read_settings
from diffusion_bench.ui.voice.held_voice import (
    HELD,
    agreed,
    forget,
    wire_consent,
    wire_leaving,
    wire_vector,
    wire_voice,
)
from diffusion_bench.ui.voice.limits import check_voice_model
from diffusion_bench.ui.voice.recordings import Heard
from diffusion_bench.ui.voice.restoring import settings_of, told_of, voice_missing
from diffusion_bench.ui.voice.results import result_fields
from diffusion_bench.ui.voice.speaking import (
    FIELDS,
    Speaking,
    VoiceView,
)
from diffusion_bench.ui.voice.words import text_line

KEEP_RECORDING_S = 1800.0
ASKED = (*FIELDS, "voice", "consent", "transcript", "watermark", "against")
SHOWN = (
    *("audio", "candidate", "progress", "status", "used_seed", "measures", "figure", "table"),
    "live",
)
READ = (*FIELDS, "voice", "watermark", "about", "transcript", "vector")


def build(speaking: Speaking, page: gr.Blocks, tab: gr.Tab) -> None:
    """Lay out the tab and wire it."""
    heard = gr.State(None, time_to_live=KEEP_RECORDING_S, delete_callback=forget)
    vector = gr.State(None, time_to_live=KEEP_RECORDING_S)
    spoken = gr.State(())
    taken = gr.State(find_voice_model(BUNDLED_VOICE_MODEL).takes)  # what the consent is for
    gr.Markdown(
        "Some seconds of a voice and a text: that voice says the text. What is made here is marked "
        "as AI-generated, by an inaudible watermark and in the file's own words."
    )
    with gr.Row(equal_height=False, elem_id="voice-page"):
        with gr.Column(min_width=300, elem_id="voice-ask"):
            fields = voice_fields(shared=speaking.shared)
            fields |= text_fields()
            gr.Examples(
                [[text] for text in EXAMPLES],
                [fields["text"]],
                elem_id="voice-examples",
                label="Try",
            )
            with gr.Row():
                speak = gr.Button("Speak", variant="primary", elem_id="voice-speak")
                cancel = gr.Button("Cancel", elem_id="voice-cancel")
        with gr.Column(min_width=300, elem_id="voice-result"):
            shown = result_fields()
        with gr.Column(min_width=300, elem_id="voice-settings"):
            fields |= model_fields(shared=speaking.shared)
            files = file_fields()
    held = {"heard": heard, "vector": vector, "taken": taken}
    comparison_panel.build(speaking, fields | held)
    wire_voice(speaking, fields, heard)
    wire_vector(speaking, fields, vector)
    wire_consent(speaking, fields, taken)
    wire_leaving(page, heard, vector)
    _wire_list(speaking, fields, page, tab)
    _wire_kept(speaking, fields, held)
    _wire_model(speaking, fields)
    _wire_speak(speaking, fields | held, {**shown, "spoken": spoken}, (speak, cancel))
    _wire_files(speaking, fields, files)
    shown["reuse"].click(
        lambda seed: int(seed) if seed else gr.skip(), shown["used_seed"], fields["seed"], **HIDDEN
    )


def _wire_list(speaking: Speaking, fields: Fields, page: gr.Blocks, tab: gr.Tab) -> None:
    """List the voices anew whenever somebody comes: others may have been saved, or deleted."""
    listed = fields["voice"]

    def on_arrive(voice: str | None, request: gr.Request) -> Any:
        shown = page.state_holder[request.session_hash][listed._id]
        now = voices_now(voice, shared=speaking.shared)
        # A list that is open already is not put back at its beginning for nothing.
        is_shown = [*map(tuple, shown.choices)] == now["choices"] and shown.info == now["info"]
        return gr.skip() if is_shown else now

    page.load(on_arrive, listed, listed, **HIDDEN)
    tab.select(on_arrive, listed, listed, **HIDDEN)


def _wire_kept(speaking: Speaking, fields: Fields, held: Fields) -> None:
    @complaining
    def on_save(name: str, heard: Heard | None, **values: Any) -> tuple[Any, ...]:
        said = speaking.keep(name, heard, agreed(speaking, values))
        gr.Info(said)
        return voices_now(name.strip(), shared=speaking.shared), ""

    @complaining
    def on_delete(name: str) -> tuple[Any, ...]:
        speaking.drop(name)
        return voices_now(BUNDLED_VOICE, shared=speaking.shared), ""

    kept = [fields["voice"], fields["name"]]
    fields["save"].click(
        on_save,
        outputs=kept,
        inputs_kwargs={name: fields[name] for name in ("name", "consent", "transcript", "model")}
        | held,
        **TELLING,
    )
    fields["delete"].click(on_delete, fields["name"], kept, **HIDDEN)


def _wire_model(speaking: Speaking, fields: Fields) -> None:
    @complaining
    def on_model(model: str, text: str) -> tuple[Any, ...]:
        entry = check_voice_model(model, shared=speaking.shared)
        return (*for_model(entry).values(), text_line(text, entry))

    @complaining
    def on_text(text: str, model: str) -> str:
        return text_line(text, check_voice_model(model, shared=speaking.shared))

    names = for_model(check_voice_model(fields["model"].value, shared=speaking.shared))
    fields["model"].input(
        on_model, _pick(fields, ("model", "text")), _pick(fields, (*names, "length")), **HIDDEN
    )
    fields["text"].change(on_text, _pick(fields, ("text", "model")), fields["length"], **HIDDEN)
    fields["sampler"].change(
        lambda sampler: gr.Slider(visible=sampler == "ddim"),
        fields["sampler"],
        fields["eta"],
        **HIDDEN,
    )


def _wire_speak(
    speaking: Speaking,
    fields: Fields,
    shown: Fields,
    buttons: tuple[gr.Button, gr.Button],
) -> None:
    speak, cancel = buttons
    wanted = Cancel()

    def on_speak(**values: Any) -> Iterator[tuple[Any, ...]]:
        """Say a text in a voice; yield how far it is, then the sound, measures and files."""
        heard = values.pop("heard")
        views = said_and_raised(
            wanted.until(_speak(speaking, values, heard)),
            lambda text: VoiceView(done=0, status=text, live=False),
            advice=LESS_OF_SPEECH,
        )
        with closing(views):
            for view in views:
                for warning in view.warnings:
                    gr.Warning(warning)
                yield to_updates(view)

    speak.click(None, js=TO_SPEECH, queue=False, api_visibility="private")
    done = speak.click(
        on_speak,
        outputs=_pick(shown, (*SHOWN, "files", "spoken")),
        inputs_kwargs={name: fields[name] for name in (*ASKED, *HELD)},
        api_name="speak",
        **WATCHED,
    )
    announce(done, shown["status"])
    wanted.wire(cancel)
    shown["candidate"].input(
        complaining(chosen_file), _pick(shown, ("candidate", "spoken")), shown["audio"], **HIDDEN
    )


def _speak(speaking: Speaking, values: Fields, heard: Heard | None) -> Iterator[VoiceView]:
    # In a generator, so that a model that is none is said as any other fault is.
    yield from speaking.speak(agreed(speaking, values), heard)


def live_update(live: bytes | bool | None) -> Any:
    """Return the next piece for the player, an empty one that is shown or not, or no change."""
    if live is None or isinstance(live, bytes):
        return gr.skip() if live is None else live
    return gr.update(value=None, visible=live)


def chosen_file(label: str, spoken: tuple[Spoken, ...]) -> Any:
    """Return the file of a candidate by its label; nothing changes for one that is not there.

    The label comes from the browser, the files from the server's own list. Raises ValueError for a
    file that was kept long enough and is gone.
    """
    path = next((one.path for one in spoken if one.label == label), None)
    if path is not None and not Path(path).is_file():
        raise ValueError("this speech is not kept any more: say it again with the seed it had")
    return gr.skip() if path is None else path


def to_updates(view: VoiceView) -> tuple[Any, ...]:
    """Return the view as values of `SHOWN`, the files, and the list of candidates."""
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
        gr.skip() if view.measures is None else view.measures,
        gr.skip() if chart is None else chart.figure,
        gr.skip() if chart is None else chart.table,
        live_update(view.live),
        files,
        gr.skip() if spoken is None else spoken,
    )


def _wire_files(speaking: Speaking, fields: Fields, files: Fields) -> None:
    @complaining
    def on_settings(path: str | None) -> list[Any]:
        """Read the settings that a sound made here carries, as values of the fields."""
        recipe = read_settings(path, shared=speaking.shared)
        updates = settings_of(recipe, shared=speaking.shared)
        gr.Info(told_of(recipe, voice_missing(recipe, shared=speaking.shared)))
        return [updates[name] for name in READ]

    @complaining
    def on_suspect(path: str | None) -> tuple[Any, ...]:
        """Look for the watermark in a sound."""
        return examine(path, speaking.uploads), None

    files["settings"].upload(
        on_settings,
        files["settings"],
        _pick(fields, READ),
        api_name="read_voice_settings",
        show_progress="hidden",
    )
    examined = files["suspect"].upload(
        on_suspect,
        files["suspect"],
        _pick(files, ("verdict", "suspect")),
        api_name="examine",
        show_progress="minimal",
        show_progress_on=files["verdict"],
    )
    announce(examined, files["verdict"], faults=False)


def _pick(fields: Fields, names: Sequence[str]) -> list[Any]:
    """Return the fields of those names, in their order."""
    return [fields[name] for name in names]
