"""The fields of the tab *Voice cloning*: what can be asked."""

from __future__ import annotations

from typing import Any, get_args

import gradio as gr

from diffusion_bench.backends.samplers import TITLES
from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.backends.voice.catalog import find_voice_model, voice_catalog
from diffusion_bench.backends.voice.describe import describe
from diffusion_bench.backends.voice.voices import VoiceListing, list_voices, unlisted_voices
from diffusion_bench.records import (
    BUNDLED_VOICE,
    BUNDLED_VOICE_MODEL,
    MAX_TEXT,
    PrecisionName,
)
from diffusion_bench.ui.readouts import readout
from diffusion_bench.ui.voice.limits import VOCODERS
from diffusion_bench.ui.voice.speaking import OWN_RECORDING
from diffusion_bench.ui.voice.words import text_line

EXAMPLES = (
    "The river was quiet that morning, and a thin mist lay over the fields.",
    "Dr. Smith paid $3.50 for two tickets on Nov. 25, 2026. Was that a fair price?",
    "Diffusion begins with noise, and step by step a voice comes out of it.",
)
VECTORS = [".npy", ".safetensors"]
SOUNDS = [".wav", ".flac", ".ogg", ".mp3"]  # that can carry a recipe

Fields = dict[str, Any]


def voice_choices(*, shared: bool, own: bool = True) -> list[tuple[str, str]]:
    """Return the voices to choose from, each with its name; saved ones are their owner's only.

    With `own`, the recording or x-vector that the page was given comes first.
    """
    found = [("My recording or x-vector, above", OWN_RECORDING)] if own else []
    return found + [
        (_title(voice), voice.name)
        for voice in list_voices()
        if voice.source == "bundled" or not shared
    ]


def voice_info(*, shared: bool, own: bool = True) -> str:
    """Return what the list of voices holds, and of which saved voice it cannot be read, and why."""
    kinds = ["your recording"] * own + ["a sample voice that is nobody's"]
    if shared:
        return f"{', or '.join(kinds).capitalize()}."
    told = f"{', '.join(kinds).capitalize()}, or one that you saved."
    return " ".join([told, *(f"Left out: {complaint}." for complaint in unlisted_voices())])


def voices_now(chosen: str | None, *, shared: bool, own: bool = True) -> Fields:
    """Return the list of voices as it is now and the one that was chosen, if it is in it still."""
    choices = voice_choices(shared=shared, own=own)
    here = chosen in [name for _, name in choices]
    now: Fields = gr.update(
        choices=choices,
        value=chosen if here else BUNDLED_VOICE,
        info=voice_info(shared=shared, own=own),
    )
    return now


def _title(voice: VoiceListing) -> str:
    if voice.source == "bundled":
        return voice.title or voice.name
    return f"{voice.name} (saved{f', encoded by {voice.model}' if voice.model else ''})"


def voice_fields(*, shared: bool) -> Fields:
    """Lay out whose voice it is to be."""
    fields: Fields = {
        "recording": gr.Audio(
            label="A recording of the voice (one person, no music)",
            sources=["upload", "microphone"],
            type="filepath",
            buttons=[],
            elem_id="voice-recording",
        ),
        "report": gr.Markdown(elem_id="voice-report"),
        "vector": gr.File(
            label="An x-vector: 512 numbers of a voice, for models that clone no recording",
            file_types=VECTORS,
            visible=False,
            height=120,
            elem_id="voice-vector",
        ),
        "voice": gr.Dropdown(
            voice_choices(shared=shared),
            value=BUNDLED_VOICE,
            label="Voice",
            info=voice_info(shared=shared),
            elem_id="voice-voice",
        ),
        "consent": gr.Checkbox(
            label="The person whose voice it is agreed to its being cloned.",
            info="The recording is deleted when you replace or clear it, when this page is closed "
            "or loses its connection, and after half an hour; an x-vector's file once it is read.",
            elem_id="voice-consent",
        ),
        "transcript": gr.Textbox(
            "",
            label="What is said in the recording",
            info="This model needs it, word for word.",
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
            fields["save"] = gr.Button("Save my voice", size="sm", elem_id="voice-save")
            fields["delete"] = gr.Button("Delete that voice", size="sm", elem_id="voice-delete")
    return fields


def text_fields() -> Fields:
    """Lay out what is to be said."""
    return {
        "text": gr.Textbox(
            EXAMPLES[0],
            label="Text",
            info="What to say, in English. Ctrl+Enter says it.",
            lines=3,
            max_length=MAX_TEXT,
            elem_id="voice-text",
        ),
        "length": gr.Markdown(
            text_line(EXAMPLES[0], find_voice_model(BUNDLED_VOICE_MODEL)),
            elem_id="voice-length",
        ),
    }


def model_fields(*, shared: bool) -> Fields:
    """Lay out who says it, and how."""
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
        "about": gr.Markdown(about(usual), elem_id="voice-about"),
    }
    with gr.Row():
        fields["sampler"] = gr.Dropdown(
            sampler_choices(usual),
            value=usual.samplers[0],
            label="Sampler",
            min_width=160,  # on a phone too DDIM and DDPM are to be told apart
            elem_id="voice-sampler",
        )
        fields["steps"] = gr.Number(
            usual.steps,
            label="Steps",
            precision=0,
            min_width=75,
            elem_id="voice-steps",
        )
        fields["batch"] = gr.Number(
            1,
            label="Candidates",
            precision=0,
            min_width=105,
            elem_id="voice-batch",
        )
    with gr.Row():
        fields["seed"] = gr.Number(
            -1,
            label="Seed",
            info="-1 picks one.",
            precision=0,
            min_width=90,
            elem_id="voice-seed",
        )
        fields["speed"] = gr.Slider(
            0.5, 2, 1, step=0.05, label="Speed", min_width=240, elem_id="voice-speed"
        )
    return fields | _rare_fields(usual, shared=shared)


def sampler_choices(entry: VoiceEntry) -> list[tuple[str, str]]:
    """Return what each sampler of a model is called on the page, and its name."""
    return [(TITLES[name], name) for name in entry.samplers]


def _rare_fields(usual: VoiceEntry, *, shared: bool) -> Fields:
    with gr.Accordion("More settings", open=False, elem_id="voice-more"):
        return {
            "temperature": gr.Slider(
                0,
                2,
                usual.temperature,
                step=0.05,
                label="Temperature",
                info="Scale of the noise: 1 as in training; lower is clearer and varies less.",
                elem_id="voice-temperature",
            ),
            "guidance_scale": gr.Number(
                usual.guidance_scale,
                label="Guidance",
                info="1 or less: off; above, every step runs the network twice.",
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
                info="The model's own, or another by name"
                + ("." if shared else ", a folder or a hub id."),
                allow_custom_value=not shared,
                elem_id="voice-vocoder",
            ),
            "precision": gr.Dropdown(
                list(get_args(PrecisionName)),
                value="fp32",
                label="Precision",
                info="fp16 and bf16 are for GPUs.",
                elem_id="voice-precision",
            ),
            "against": gr.Number(
                0,
                label="Compare with steps",
                info="More than Steps: says it again with them and tells the mel distance. 0: off.",
                precision=0,
                elem_id="voice-against",
            ),
            "watermark": gr.Checkbox(
                True,
                label="Watermark what is made (inaudible)",
                info="Tells others that the speech is synthetic. Anybody can remove it.",
                elem_id="voice-watermark",
            ),
        }


def for_model(entry: VoiceEntry) -> Fields:
    """Return what a model changes about the fields: choices, usual values, and what it has not.

    A setting that it has not is put to the value that means none, and cannot be changed.
    """
    diffuses = entry.samplers != ("native",)
    return {
        "about": about(entry),
        "sampler": gr.update(
            choices=sampler_choices(entry), value=entry.samplers[0], interactive=diffuses
        ),
        "steps": entry.steps,
        "speed": gr.update(value=1, interactive=entry.has_speed),
        "temperature": entry.temperature,
        "guidance_scale": gr.update(value=entry.guidance_scale, interactive=entry.has_guidance),
        "eta": gr.update(value=0, visible=entry.samplers[0] == "ddim"),
        "vocoder": gr.update(value="native", interactive=entry.has_vocoders),
        "transcript": gr.update(visible=entry.needs_transcript),
        "vector": gr.update(visible=entry.takes == "x-vector"),
    }


def about(entry: VoiceEntry) -> str:
    """Return what is known of a model before it is loaded, as Markdown."""
    return "\n".join(f"- {line}" for line in describe(entry))


def file_fields() -> Fields:
    """Lay out what can be asked of a file that is there already."""
    with gr.Accordion("Read settings from a file", open=False, elem_id="voice-read"):
        settings = gr.File(
            label="Speech made here", file_types=SOUNDS, elem_id="voice-upload", height=120
        )
    with gr.Accordion("Was this file made here?", open=False, elem_id="voice-detect"):
        suspect = gr.File(
            label="Any sound file", file_types=["audio"], elem_id="voice-suspect", height=120
        )
        verdict = readout(label="What it says, and whether it is marked", elem_id="voice-verdict")
    return {"settings": settings, "suspect": suspect, "verdict": verdict}
