"""The fields of the tab *Text to image*: what is asked for."""

from __future__ import annotations

from typing import Any, get_args

import gradio as gr

from diffusion_bench.backends.catalog import catalog, unknown_words
from diffusion_bench.backends.pipeline_names import has_image_to_image
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest, PrecisionName
from diffusion_bench.ui.model_choices import ALL_SAMPLERS
from diffusion_bench.ui.model_words import entry_or_none
from diffusion_bench.ui.pictures.editor import bound_editors
from diffusion_bench.ui.pictures.known_words import word_choices, words_info
from diffusion_bench.ui.pictures.limits import USUAL_SPEEDS
from diffusion_bench.ui.pictures.prompt_styles import NO_STYLE, styles_for
from diffusion_bench.ui.pictures.sizes import size_presets, size_words
from diffusion_bench.ui.readouts import readout

NUM_EXAMPLES = 8
# The first ones that the bundled model knows all words of are shown.
EXAMPLES = (
    "a cat on a blue background",
    "an astronaut riding a horse on mars",
    "two penguins on snow",
    "a castle at night",
    "a fox left of a tree in a meadow",
    "a small whale in the sea",
    "a robot above a cake on a yellow background",
    "a panda and a bicycle in space",
    "a big apple on a white background",
    "a fox left of a tree on a green background",
    "a small whale on a blue background",
    "the moon right of an owl on a black background",
    "a rocket below a butterfly on a purple background",
    "a panda on an orange background",
)
NEGATIVE_ON = "What to keep out."
NEGATIVE_OFF = "Off: at guidance 1 or less only the prompt is followed."
RESCALE_ON = "Less contrast, where guidance makes too much of it: 0 none, 0.7 is usual."
RESCALE_OFF = "Off: there is no guidance to rescale."
# Of what is painted over: seen on any picture, and what is under it through it.
BRUSH = ("#ff2e9a", 0.6)
START_WORDS = "A picture to change. Paint over what to draw anew; without paint it is all."

Fields = dict[str, Any]


def examples_for(model: str) -> list[str]:
    """Return prompts of which a model knows all words; the first is also in the field."""
    known = [prompt for prompt in EXAMPLES if not unknown_words(model, prompt)]
    return known[:NUM_EXAMPLES] or [EXAMPLES[0]]


def request_fields(fields: Fields) -> list[str]:
    """Return the names of the fields that a request holds, in their order."""
    return [name for name in fields if name in ImageRequest.model_fields]


def prompt_fields() -> Fields:
    """Lay out the prompt, what helps to write it, and its style."""
    fields: Fields = {
        "prompt": gr.Textbox(
            examples_for(BUNDLED_MODEL)[0],
            label="Prompt",
            info="What to draw. Ctrl+Enter draws it.",
            lines=2,
            max_length=2000,
            elem_id="t2i-prompt",
        ),
        "negative_prompt": gr.Textbox(
            "", label="Negative prompt", info=NEGATIVE_ON, max_length=2000, elem_id="t2i-negative"
        ),
    }
    # Words of a visitor's: as text, for Markdown would read them as its own.
    fields["doubts"] = readout(label="Not drawn as asked", visible=False, elem_id="t2i-doubts")
    words = word_choices(BUNDLED_MODEL)
    with gr.Row():
        fields["words"] = gr.Dropdown(
            words,
            value=None,
            label="Words it knows",
            info=words_info(BUNDLED_MODEL),
            visible=bool(words),
            min_width=150,
            elem_id="t2i-words",
        )
        fields["style"] = gr.Dropdown(
            styles_for(BUNDLED_MODEL),
            value=NO_STYLE,
            label="Style",
            info="Words added around the prompt.",
            min_width=150,
            elem_id="t2i-style",
        )
    return fields


def model_field(*, shared: bool) -> gr.Dropdown:
    """Lay out the choice of a model."""
    return gr.Dropdown(
        [(entry.title, name) for name, entry in catalog().items()],
        value=BUNDLED_MODEL,
        label="Model",
        info=None
        if shared
        else "One of the list, a hub id (owner/name or owner/name@commit), or a folder.",
        allow_custom_value=not shared,
        elem_id="t2i-model",
    )


def setting_fields() -> Fields:
    """Lay out sampler, steps, seed, guidance, size and number."""
    usual = catalog()[BUNDLED_MODEL]
    fields: Fields = {}
    with gr.Row():
        fields["sampler"] = gr.Dropdown(
            ALL_SAMPLERS, value="ddim", label="Sampler", min_width=120, elem_id="t2i-sampler"
        )
        fields["steps"] = _whole("Steps", usual.steps, "steps")
    with gr.Row():
        fields["seed"] = _whole("Seed", -1, "seed", info="-1 picks one.")
        fields["guidance_scale"] = gr.Number(
            usual.guidance_scale,
            label="Guidance",
            info="1 or less: off.",
            step=0.5,
            min_width=120,
            elem_id="t2i-guidance",
        )
    with gr.Row():
        fields["size"] = gr.Dropdown(
            list(size_presets(usual)),
            value=None,
            label="Shape",
            info=size_words(usual),
            min_width=260,  # on a phone a row of its own, above both sides
            elem_id="t2i-size",
        )
        for name in ("width", "height"):
            fields[name] = _whole(f"{name.title()} (px)", usual.side, name, step=usual.multiple)
    with gr.Row():
        fields["batch"] = _whole("Pictures at once", 1, "batch", info="More take more memory.")
        fields["rounds"] = _whole("Rounds", 1, "rounds", info="Repeats, each with new seeds.")
    return fields


def rare_fields(*, shared: bool) -> Fields:
    """Lay out what few change, closed."""
    with gr.Accordion("More settings", open=False, elem_id="t2i-more"):
        return {
            "eta": _share("Eta", 0.0, "eta", "Noise that DDIM adds: 0 none, 1 as much as DDPM."),
            "noise_seed": _whole(
                "Noise seed",
                -1,
                "noise-seed",
                info="Of the noise that a sampler adds at each step; -1: as Seed.",
            ),
            "guidance_rescale": _share("Guidance rescale", 0.0, "rescale", RESCALE_ON),
            **_variation_fields(),
            "precision": gr.Dropdown(
                list(get_args(PrecisionName)),
                value="fp32",
                label="Precision",
                info="fp16 and bf16 are for GPUs.",
                elem_id="t2i-precision",
            ),
            **_speed_field(shared=shared),
            "live_preview": gr.Checkbox(
                True,
                label="Show the picture as it forms (adds a tenth of the time at most)",
                elem_id="t2i-live",
            ),
            "parameters": gr.Checkbox(
                True,
                label="Write the settings into the picture's file, so that it can be made again",
                elem_id="t2i-parameters-on",
            ),
        }


def _variation_fields() -> Fields:
    with gr.Row():
        return {
            "variation_strength": _share(
                "Variation", 0.0, "variation", "0 none; 1 is the other seed's picture."
            ),
            "variation_seed": _whole(
                "Variation seed",
                -1,
                "variation-seed",
                info="The other seed, counted up by picture; -1 picks one.",
            ),
        }


def _speed_field(*, shared: bool) -> Fields:
    own = "" if shared else " Or words, as in bf16, packed."
    return {
        "speed": gr.Dropdown(
            list(USUAL_SPEEDS),
            value=USUAL_SPEEDS[0],
            label="Speed",
            info=f"auto measures once per model what is fastest here.{own}",
            allow_custom_value=not shared,
            elem_id="t2i-speed",
        )
    }


def start_fields() -> Fields:
    """Lay out the picture to start from, closed."""
    bound_editors()
    opened = gr.Accordion("Start from a picture", open=False, elem_id="t2i-start-from")
    with opened:
        return {
            "start_from": opened,
            "start_words": gr.Markdown(START_WORDS, elem_id="t2i-start-words"),
            "start": gr.ImageEditor(
                show_label=False,
                type="filepath",
                image_mode="RGBA",
                format="png",  # gradio's own is lossy: what is kept would not be as it was
                sources=["upload", "clipboard"],
                layers=False,
                transforms=[],
                brush=gr.Brush(colors=[BRUSH], color_mode="fixed", default_size="auto"),
                elem_id="t2i-start",
                height=320,
            ),
            "strength": _share(
                "Strength", 0.75, "strength", "0.1 keeps most of the picture, 1 nothing."
            ),
        }


def start_updates(model: str) -> tuple[Any, ...]:
    """Return the words, the editor and the strength: away, with the reason, where it cannot be."""
    entry = entry_or_none(model)
    if entry is None or has_image_to_image(entry.pipeline) is not False:
        return gr.Markdown(START_WORDS), gr.ImageEditor(visible=True), gr.Slider(visible=True)
    reason = f"Not with this model: diffusers has no image to image for {entry.pipeline}."
    return gr.Markdown(reason), gr.ImageEditor(None, visible=False), gr.Slider(visible=False)


# No bounds, here and in the other tabs: a number out of Gradio's is refused before the handler
# hears of it, in words that name no field. Requests and a guest's limits have their own. And a
# browser counts steps from the least number: the arrows of a side would miss its multiples.
def _whole(label: str, value: int, name: str, **options: Any) -> gr.Number:
    return gr.Number(
        value, label=label, precision=0, min_width=110, elem_id=f"t2i-{name}", **options
    )


def _share(label: str, value: float, name: str, info: str) -> gr.Slider:
    lowest = 0.05 if name == "strength" else 0
    return gr.Slider(
        lowest, 1, value, step=0.01, label=label, info=info, min_width=240, elem_id=f"t2i-{name}"
    )
