"""Repositories of the hub that a voice model needs: which they are, whether they are here."""

from __future__ import annotations

from diffusion_bench.backends.catalog import cached_folder
from diffusion_bench.backends.network_files import (
    NetworkRepository,
    is_here,
    missing,
    repository_of,
)
from diffusion_bench.backends.voice.base import VoiceEntry

PICKLED_FAMILIES = ("speecht5", "tortoise")  # whose published weights are no safetensors


def repositories_of(entry: VoiceEntry) -> tuple[NetworkRepository, ...]:
    """Return where a model's weights lie, and its companions'."""
    pickles = entry.family in PICKLED_FAMILIES
    known = {"name": entry.name, "title": entry.title, "kind": "voice model"}
    if entry.source != "hub":  # one of the hub's may be its folder in the cache by now
        known["source"] = entry.source
    gated = "accepting its terms" if entry.gated else ""
    own = repository_of(entry.location, pickles=pickles, gated=gated, **known)
    return (own, *(repository_of(place, pickles=pickles) for place in entry.companions))


def lacking(entry: VoiceEntry, vocoder: str = "native") -> list[NetworkRepository]:
    """Return what a model and the vocoder asked of it need, and this machine lacks."""
    needed = list(repositories_of(entry))
    if entry.has_vocoders and vocoder not in ("native", "griffin-lim"):
        from diffusion_bench.backends.voice.vocoders import vocoder_repository  # it imports torch

        needed.append(vocoder_repository(vocoder))
    return missing(needed)


def is_cached(entry: VoiceEntry) -> bool:
    """Return whether a hub model's weights, and its companions', are on this machine."""
    return all(map(is_here, repositories_of(entry)))


def as_here(entry: VoiceEntry) -> VoiceEntry:
    """Return the entry with folders of the cache for the hub's ids, where all of it is here.

    Of an id a loader asks the hub, and would fetch a newer commit unasked.
    """
    if entry.source != "hub" or not is_cached(entry):
        return entry
    own, *others = (str(cached_folder(each)) for each in repositories_of(entry))
    return entry.model_copy(update={"location": own, "companions": tuple(others)})
