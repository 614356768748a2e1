"""A file's settings back into the fields of the tab *Voice cloning* that made it."""

from __future__ import annotations

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.voice.catalog import own_voice_of
from diffusion_bench.backends.voice.recipes import Recipe
from diffusion_bench.backends.voice.voices import REFERENCE, find_voice
from diffusion_bench.ui.complaints import in_one_line
from diffusion_bench.ui.voice.fields import Fields, for_model, voice_choices, voices_now
from diffusion_bench.ui.voice.limits import check_voice_model
from diffusion_bench.ui.voice.speaking import FIELDS, OWN_RECORDING


def settings_of(recipe: Recipe, *, shared: bool) -> Fields:
    """Return what a recipe puts into the fields; a voice that is not here is left to be chosen."""
    request = recipe.request
    updates = for_model(check_voice_model(request.model, shared=shared))
    for name in FIELDS:
        usual = updates.get(name)
        # What a model changes about a field, its choices, comes along with the value.
        if isinstance(usual, dict):
            updates[name] = {**usual, "value": getattr(request, name)}
        else:
            updates[name] = getattr(request, name)
    updates["eta"]["visible"] = request.sampler == "ddim"
    updates["transcript"] = {**updates["transcript"], "value": recipe.transcript or ""}
    voice = OWN_RECORDING if voice_missing(recipe, shared=shared) else request.voice
    return {
        **updates,
        "voice": voices_now(voice, shared=shared),
        "watermark": recipe.watermark,
    }


def voice_missing(recipe: Recipe, *, shared: bool) -> str:
    """Return why a recipe's voice has to be chosen anew, as a sentence; empty where it is here."""
    name, model = recipe.request.voice, recipe.request.model
    if name.startswith(REFERENCE):
        return f"It was made from {own_voice_of(model)}, which is not in it: choose the same one."
    if name not in [here for _, here in voice_choices(shared=shared)]:
        return "Its voice is not on this machine: choose another."
    try:
        voice = find_voice(name, model)
        if isinstance(voice, Reference):
            voice = voice.with_words(recipe.transcript)
        recipe.check_voice(voice, check_voice_model(model, shared=shared))
    except ValueError as error:
        return f"Choose a voice: {in_one_line(error)}."
    return ""


def told_of(recipe: Recipe, missing: str) -> str:
    """Return what is said when a file's settings are in the fields; `missing` is of its voice."""
    parts = ["The settings of this file are in the fields now."]
    if recipe.request.batch > 1:
        parts.append(f"It was candidate {recipe.candidate + 1} of {recipe.request.batch}.")
    parts += [f"It may come out differently: {difference}." for difference in recipe.differences()]
    return " ".join([*parts, missing]).strip()
