"""What a choice of a model means for the other fields: samplers, usual settings, sizes, styles."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, get_args

import gradio as gr

from diffusion_bench.backends.catalog import ModelEntry
from diffusion_bench.backends.samplers import TITLES, SamplerChoice, allowed_samplers
from diffusion_bench.records import SamplerName
from diffusion_bench.ui.model_words import entry_or_none
from diffusion_bench.ui.pictures.known_words import word_choices, words_info
from diffusion_bench.ui.pictures.limits import check_model
from diffusion_bench.ui.pictures.prompt_styles import NO_STYLE, styles_for
from diffusion_bench.ui.pictures.sizes import size_presets, size_words

ALL_SAMPLERS: list[tuple[str, str]] = [(TITLES[name], name) for name in get_args(SamplerName)]


def samplers_for(model: str) -> list[tuple[str, str]] | None:
    """Return the samplers of a model, as title and name; `None` for a name that is half typed."""
    entry = entry_or_none(model)
    return None if entry is None else _titled(allowed_samplers(entry))


def _titled(samplers: Iterable[SamplerChoice]) -> list[tuple[str, str]]:
    return [(each.title, each.name) for each in samplers if each.reason is None]


class ModelChoices(NamedTuple):
    """What can be chosen with a model, and which samplers cannot and why."""

    entry: ModelEntry
    samplers: list[tuple[str, str]]
    excluded: str
    styles: list[str]
    sizes: list[str]
    words: list[tuple[str, str]]


def choices_for(model: str, *, shared: bool) -> ModelChoices:
    """Return what goes with a model; raise ValueError for one that cannot be chosen."""
    entry = check_model(model, shared=shared)
    samplers = allowed_samplers(entry)
    reasons = dict.fromkeys(each.reason for each in samplers if each.reason)
    return ModelChoices(
        entry,
        _titled(samplers),
        " ".join(f"{reason}." for reason in reasons),
        styles_for(model),
        list(size_presets(entry)),
        word_choices(model),
    )


def choice_updates(model: str, *, shared: bool, side: int | None = None) -> tuple[Any, ...]:
    """Return what can be chosen with a model: sampler, style, size, words, width and height.

    Both become `side` if it is given, and stay as they are if not.
    """
    choices = choices_for(model, shared=shared)
    sides = {} if side is None else {"value": side}
    return (
        gr.Dropdown(
            choices=choices.samplers, value=choices.entry.sampler, info=choices.excluded or None
        ),
        gr.Dropdown(choices=choices.styles, value=NO_STYLE),
        gr.Dropdown(choices=choices.sizes, value=None, info=size_words(choices.entry)),
        gr.Dropdown(
            choices=choices.words, value=None, info=words_info(model), visible=bool(choices.words)
        ),
        *(gr.Number(**sides, step=choices.entry.multiple) for _ in ("width", "height")),
    )
