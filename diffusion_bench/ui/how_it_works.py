"""The tab *How it works*: its parts, and the wires between them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from functools import partial
from typing import Any, NamedTuple, get_args

import gradio as gr

from diffusion_bench.backends.catalog import catalog, find_model
from diffusion_bench.records import BUNDLED_MODEL, BUNDLED_VOICE, PrecisionName
from diffusion_bench.ui.complaints import said_and_raised
from diffusion_bench.ui.events import HIDDEN
from diffusion_bench.ui.giving_up import WATCHED, Cancel
from diffusion_bench.ui.looking import Looking, LookView
from diffusion_bench.ui.looks import LOOKS
from diffusion_bench.ui.model_words import entry_or_none
from diffusion_bench.ui.pictures.drawing import Drawing
from diffusion_bench.ui.pictures.fields import examples_for
from diffusion_bench.ui.readouts import announce, readout
from diffusion_bench.ui.speech_looking import ROWS, SOUNDS, SpeechLooking
from diffusion_bench.ui.style import progress_line
from diffusion_bench.ui.voice.fields import EXAMPLES, voice_choices, voice_info, voices_now
from diffusion_bench.ui.voice.speaking import Speaking

MATHS: list[dict[str, str | bool]] = [{"left": "$", "right": "$", "display": False}]
TITLES = {
    "noising": "Noising",
    "denoising": "Denoising",
    "unet": "U-Net",
    "guidance": "Guidance",
    "speech": "Speech",
}
# Plain words first: who knows the formulas finds them behind.
WORDS = {
    "noising": "Training begins by spoiling pictures: noise is mixed into them, a little or a lot, "
    "until next to nothing of a picture is left, and a network learns to tell the two apart. As a "
    "formula: $x_t = \\sqrt{\\bar\\alpha_t}\\,x_0 + \\sqrt{1-\\bar\\alpha_t}\\,\\epsilon$ "
    "(Ho et al. 2020, eq. 4), where $x_0$ is the picture, $\\epsilon$ the noise, and the noise "
    "schedule $\\bar\\alpha_t$ says how much of the picture is left at timestep $t$. A latent "
    "diffusion model does so with the latents of its autoencoder, not with pixels.",
    "denoising": "Drawing goes the other way: it begins with nothing but noise and ends with a "
    "picture. At each step the network sees the noisy picture $x_t$ and says what the clean one, "
    "$x_0$, would be; the sampler goes a little way towards that. "
    "DDIM (Song et al. 2021, eq. 12, at $\\eta = 0$) adds no noise on its way and may take large "
    "steps; DDPM (Ho et al. 2020, algorithm 2) adds fresh noise at each but the last. "
    "What a network predicts is $\\epsilon$, $x_0$ or "
    "$v = \\sqrt{\\bar\\alpha_t}\\,\\epsilon - \\sqrt{1-\\bar\\alpha_t}\\,x_0$, of which any "
    "gives the others, and guidance pushes it on.",
    "unet": "The network that denoises. On its way down it sees the picture smaller and smaller, "
    "and so the whole of it; on its way up it draws the detail again, which skips carry across "
    "(Ronneberger et al. 2015). In layers of "
    "cross-attention each place reads the prompt (Rombach et al. 2022, section 3.3), in layers of "
    "self-attention it reads the other places of the picture.",
    "guidance": "What makes the prompt count. At each step the network is asked twice, with the "
    "prompt and without it, and goes past the first answer, away from the second: "
    "$\\hat\\epsilon = \\epsilon(x_t) + s\\,"
    "(\\epsilon(x_t, \\text{prompt}) - \\epsilon(x_t))$ (Ho and Salimans 2022, "
    "whose own scale is $w = s - 1$). At $s = 1$ it is the answer with the prompt, and there is no "
    "need to ask for the other; lower scales are taken for 1.",
    "speech": "From a text and a voice comes a plan: what that text in that voice sounds like on "
    "average, as a mel spectrogram, which shows how loud each pitch is at each moment. It is too "
    "smooth for speech. What it lacks, the residual, is denoised by a U-Net as pictures are, much "
    "as Grad-TTS denoises from "
    "around such a plan (Popov et al. 2021), and a vocoder makes sound of the sum.",
}
READY = "Show lets the model work once and tells what goes on inside."
STEPS = 20
COLUMNS = 10  # of a row of pictures, where there is room

Views = Callable[[dict[str, Any]], Iterator[LookView]]

Fields = dict[str, Any]


def build(drawing: Drawing, speaking: Speaking) -> None:
    """Lay out the tab and wire it."""
    looking, listening = Looking(drawing), SpeechLooking(speaking)
    with gr.Column() as asked:
        fields = _fields(shared=drawing.shared)
    fields["model"].change(
        _usual, fields["model"], [fields["guidance_scale"], fields["steps"]], **HIDDEN
    )
    with gr.Tabs(elem_id="look-tabs", overflow_behavior="wrap"):
        for name, look in LOOKS.items():
            with gr.Tab(TITLES[name], id=name) as tab:
                part = Part(name, look.rows)
                _lay_out(part, fields, partial(looking.look, name))
            tab.select(lambda: gr.Column(visible=True), None, asked, **HIDDEN)
        with gr.Tab(TITLES["speech"], id="speech") as tab:
            part = Part("speech", ROWS, sounds=SOUNDS, wide=True)
            _lay_out(part, _speech_fields(shared=speaking.shared), listening.look)
        tab.select(lambda: gr.Column(visible=False), None, asked, **HIDDEN)


class Part(NamedTuple):
    """What a look shows: its rows of pictures and its sounds, by what they are."""

    name: str
    rows: Sequence[str]
    sounds: Sequence[str] = ()
    wide: bool = False


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
        precision = gr.Dropdown(
            list(get_args(PrecisionName)),
            value="fp32",
            label="Precision",
            scale=1,
            min_width=110,
            elem_id="look-precision",
        )
    with gr.Row():
        return {
            "prompt": prompt,
            "model": model,
            "steps": gr.Number(
                STEPS,
                label="Steps",
                precision=0,
                min_width=110,
                elem_id="look-steps",
            ),
            "seed": gr.Number(0, label="Seed", precision=0, min_width=110, elem_id="look-seed"),
            "guidance_scale": gr.Number(
                find_model(BUNDLED_MODEL).guidance_scale,
                label="Guidance",
                step=0.5,
                min_width=110,
                elem_id="look-guidance",
            ),
            "precision": precision,
        }


def _usual(model: str) -> tuple[Any, Any]:
    """Return the usual guidance and steps of a model, what there is for one not known."""
    entry = entry_or_none(model)
    return (gr.skip(), gr.skip()) if entry is None else (entry.guidance_scale, entry.steps)


def _speech_fields(*, shared: bool) -> Fields:
    """Lay out what is said, and in which voice."""
    with gr.Row():
        text = gr.Dropdown(
            list(EXAMPLES),
            value=EXAMPLES[2],
            label="Text",
            info="One of these, or one sentence of your own.",
            allow_custom_value=True,
            scale=3,
            min_width=240,
            elem_id="look-text",
        )
        voice = gr.Dropdown(
            voice_choices(shared=shared, own=False),
            value=BUNDLED_VOICE,
            label="Voice",
            info=voice_info(shared=shared, own=False),
            scale=2,
            min_width=200,
            elem_id="look-voice",
        )
    voice.focus(partial(voices_now, shared=shared, own=False), voice, voice, **HIDDEN)
    with gr.Row():
        steps = gr.Number(
            STEPS,
            label="Steps",
            precision=0,
            min_width=110,
            elem_id="look-speech-steps",
        )
        seed = gr.Number(0, label="Seed", precision=0, min_width=110, elem_id="look-speech-seed")
    return {"text": text, "voice": voice, "steps": steps, "seed": seed}


def _lay_out(part: Part, fields: Fields, look: Views) -> None:
    """Lay out one look, and wire it."""
    name = part.name
    gr.Markdown(WORDS[name], latex_delimiters=MATHS, elem_id=f"look-{name}-words")
    with gr.Row():
        show = gr.Button("Show", variant="primary", elem_id=f"look-{name}-show")
        cancel = gr.Button("Cancel", elem_id=f"look-{name}-cancel")
    progress = gr.HTML(elem_id=f"look-{name}-progress", elem_classes=["progress-line"])
    status = readout(READY, label="Status", elem_id=f"look-{name}-status")
    rows = [
        gr.Gallery(
            label=row,
            visible=False,
            columns=COLUMNS,
            height="auto",
            object_fit="contain",
            format="png",
            interactive=False,
            buttons=["fullscreen"],
            elem_id=f"look-{name}-row-{number}",
            elem_classes=["look-row", "look-wide"] if part.wide else ["look-row"],
        )
        for number, row in enumerate(part.rows, 1)
    ]
    sounds = [
        gr.Audio(
            label=words,
            visible=False,
            interactive=False,
            buttons=["download"],
            elem_id=f"look-{name}-sound-{number}",
        )
        for number, words in enumerate(part.sounds, 1)
    ]
    figure = gr.Plot(show_label=False, visible=False, elem_id=f"look-{name}-figure")
    with gr.Accordion(
        "The chart as a table", open=False, visible=False, elem_id=f"look-{name}-fold"
    ) as fold:
        table = gr.Dataframe(
            label="The chart as a table",
            show_label=False,
            interactive=False,
            elem_id=f"look-{name}-table",
        )
    files = _save_buttons(name)
    wanted = Cancel()
    done = show.click(
        _handler(part, look, wanted),
        outputs=[progress, status, *rows, *sounds, figure, fold, table, *files],
        inputs_kwargs=fields,
        api_name=f"look_at_{name}",
        **WATCHED,
    )
    announce(done, status)
    wanted.wire(cancel)


def _save_buttons(name: str) -> list[gr.DownloadButton]:
    """Lay out what saves a look; it is seen once there is something to save."""
    kinds = (("sheet", "Save as one picture"), ("film", "Save as a film (GIF)"))
    with gr.Row():
        return [
            gr.DownloadButton(
                words, visible=False, size="sm", min_width=120, elem_id=f"look-{name}-{kind}"
            )
            for kind, words in kinds
        ]


def _handler(part: Part, look: Views, wanted: Cancel) -> Callable[..., Iterator[tuple[Any, ...]]]:
    def on_show(**values: Any) -> Iterator[tuple[Any, ...]]:
        """Look into a model at work; yield how far it is, then pictures, a chart and files."""
        views = said_and_raised(
            wanted.until(look(values)),
            lambda text: LookView(done=0, status=text),
        )
        with closing(views):
            for view in views:
                yield to_updates(part, view)

    return on_show


def to_updates(part: Part, view: LookView) -> tuple[Any, ...]:
    """Return the view as values of progress, status, rows, sounds, chart, table and two files.

    What there is to see and to save is on the page from the first look on.
    """
    shown: list[Any] = [gr.skip()] * (len(part.rows) + len(part.sounds) + 3)
    if view.rows is not None:
        sounds = view.sounds or {}
        shown = [
            gr.Gallery(value=list(view.rows.get(row, ())), visible=row in view.rows)
            for row in part.rows
        ]
        shown += [gr.Audio(sounds.get(words), visible=words in sounds) for words in part.sounds]
        shown += [gr.Plot(view.figure, visible=True), gr.Accordion(visible=True), view.table]
    files = (
        gr.skip() if path is None else gr.DownloadButton(value=path, visible=True)
        for path in (view.sheet, view.film)
    )
    return (
        gr.skip() if view.done is None else progress_line(view.done, view.total, "Steps done"),
        gr.skip() if view.status is None else view.status,
        *shown,
        *files,
    )
