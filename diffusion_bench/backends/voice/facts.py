"""What a voice model's name stands for here and now, without loading it; never the network."""

from __future__ import annotations

from pathlib import Path

from diffusion_bench.backends.catalog import UnknownModel, cached_folder
from diffusion_bench.backends.model_facts import (
    facts_of_folder,
    folder_revision,
    folder_stamp,
    unknown_facts,
)
from diffusion_bench.backends.model_sizes import INDEX
from diffusion_bench.backends.voice.base import VoiceEntry, VoiceState
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.backends.voice.repositories import PICKLED_FAMILIES, repositories_of
from diffusion_bench.reports.schema import ModelFacts

OWN_NOISE = "the model keeps its noise schedule in its code"


def voice_model_facts(name: str) -> ModelFacts:
    """Return what is known of a voice model; what is not has its reason, and nothing is raised.

    The revision of a hub model is the commit of its files in the cache.
    """
    try:
        entry = find_voice_model(name)
    except UnknownModel as error:
        return unknown_facts(name, str(error)[:400])
    folder = _folder(entry)
    if folder is None:
        return unknown_facts(name, "its files are not on this machine yet")
    try:
        if entry.source != "hub" and (folder / INDEX).is_file():
            return facts_of_folder(name, folder)
        if entry.source == "hub":  # .../snapshots/<commit>
            revision = folder.name
        else:
            revision = folder_revision(folder, pickles=entry.family in PICKLED_FAMILIES)
    except (OSError, ValueError) as error:
        return unknown_facts(name, f"its files cannot be read: {error}"[:400])
    return ModelFacts(
        name=name, revision=revision, pipeline=entry.family, missing={"schedule": OWN_NOISE}
    )


def voice_weights_stamp(name: str) -> str:
    """Return what tells a voice model's weights here from others, as `weights_stamp` does."""
    try:
        entry = find_voice_model(name)
    except UnknownModel:
        return "unknown"
    folder = _folder(entry)
    if folder is None:
        return "unknown"
    if entry.source == "hub":
        return folder.name
    return folder_stamp(folder, pickles=entry.family in PICKLED_FAMILIES)


def other_weights(state: VoiceState) -> str | None:
    """Return in words that other weights than the model's here encoded a voice, `None` if not.

    Nothing is known of voices that were saved before their files named the weights.
    """
    now = voice_model_facts(state.model).revision if state.weights else None
    if now in (None, state.weights):
        return None
    return (
        f"the voice was encoded by other weights of {state.model} than speak here "
        f"({state.weights} then, {now} now): if it sounds wrong, save it again from its recording"
    )


def _folder(entry: VoiceEntry) -> Path | None:
    folder = cached_folder(repositories_of(entry)[0])
    return folder if folder is not None and folder.is_dir() else None
