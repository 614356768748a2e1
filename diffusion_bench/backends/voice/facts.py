"""What a voice model's name stands for here and now, without loading it; never the network."""

from __future__ import annotations

from pathlib import Path

from diffusion_bench.backends.catalog import UnknownModel
from diffusion_bench.backends.model_facts import facts_of_folder, unknown_facts
from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.backends.voice.catalog import cached_config, find_voice_model
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
        if entry.source != "hub":
            return facts_of_folder(name, folder)
    except (OSError, ValueError) as error:
        return unknown_facts(name, f"its files cannot be read: {error}"[:400])
    # .../snapshots/<commit>
    return ModelFacts(
        name=name, revision=folder.name, pipeline=entry.family, missing={"schedule": OWN_NOISE}
    )


def _folder(entry: VoiceEntry) -> Path | None:
    if entry.source != "hub":
        return Path(entry.location)
    config = cached_config(entry.location)
    return None if config is None else config.parent
