"""Repositories of the hub that speech needs: which they are, whether they are here, fetching them.

Of each are fetched its settings and the weights that its loader reads, so that loading downloads
nothing.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusion_bench.backends.catalog import HUB_ID, Repository, cached_folder
from diffusion_bench.backends.downloads import (
    OnProgress,
    asking,
    fetch_file,
    fetch_files,
    ignore_progress,
    reach,
    snapshot,
)
from diffusion_bench.backends.model_files import chosen_files, components_of
from diffusion_bench.backends.model_sizes import INDEX, read_settings
from diffusion_bench.backends.voice.base import VoiceEntry

WEIGHTS = ("*.safetensors", "*.pth")
PICKLES = ("*.bin",)
PART = re.compile(r"(?P<file>.*)-\d+-of-(?P<of>\d+)\.safetensors")
CONFIG = "config.json"
TORTOISE = re.compile(r"(\.models/)?(diffusion_decoder|mel_norms)\.pth")
PICKLED_FAMILIES = ("speecht5", "tortoise")  # whose published weights are no safetensors
PICKLED = re.compile(r"pytorch_model(-\d{5}-of-\d{5})?\.bin")
WORDS = (".json", ".txt", ".yaml", ".model", ".jinja")


class VoiceRepository(Repository):
    """One network. Of one that has no safetensors, `pickles` says whether they are read."""

    pickles: bool = False


def repository_of(place: str, *, pickles: bool = False, **known: str) -> VoiceRepository:
    """Return what a folder or a hub id is; what is `known` of it are its other fields."""
    source = "hub" if HUB_ID.fullmatch(place) and not Path(place).is_dir() else "folder"
    usual = {"name": place, "title": place, "source": source}
    return VoiceRepository.model_validate({**usual, **known, "location": place, "pickles": pickles})


def repositories_of(entry: VoiceEntry) -> tuple[VoiceRepository, ...]:
    """Return where a model's weights lie, and its companions'."""
    pickles = entry.family in PICKLED_FAMILIES
    own = repository_of(
        entry.location,
        pickles=pickles,
        name=entry.name,
        title=entry.title,
        source=entry.source,
        gated="accepting its terms" if entry.gated else "",
        kind="voice model",
    )
    return (own, *(repository_of(place, pickles=pickles) for place in entry.companions))


def lacking(entry: VoiceEntry, vocoder: str = "native") -> list[VoiceRepository]:
    """Return what a model and the vocoder asked of it need, and this machine lacks."""
    needed = list(repositories_of(entry))
    if entry.has_vocoders and vocoder not in ("native", "griffin-lim"):
        from diffusion_bench.backends.voice.vocoders import VOCODERS  # it imports torch

        known = VOCODERS.get(vocoder)
        place = known.location if known else os.path.expanduser(vocoder)
        needed.append(repository_of(place, pickles=True, name=vocoder, kind="vocoder"))
    return missing(needed)


def missing(needed: Sequence[VoiceRepository]) -> list[VoiceRepository]:
    """Return which of the hub's repositories have no weights on this machine."""
    return [each for each in needed if each.source == "hub" and not has_weights(each)]


def is_cached(entry: VoiceEntry) -> bool:
    """Return whether a hub model's weights, and its companions', are on this machine."""
    return all(map(has_weights, repositories_of(entry)))


def has_weights(repository: VoiceRepository) -> bool:
    """Return whether a file of weights is on this machine, and every part of one in parts."""
    folder = cached_folder(repository)
    if folder is None:
        return False
    kinds = (*WEIGHTS, *PICKLES * repository.pickles)
    names = [path.relative_to(folder) for kind in kinds for path in folder.rglob(kind)]
    parts: Counter[tuple[str, int]] = Counter()
    for name in names:
        if part := PART.fullmatch(name.as_posix()):
            parts[part["file"], int(part["of"])] += 1
    return bool(names) and all(count == of for (_, of), count in parts.items())


def as_here(entry: VoiceEntry) -> VoiceEntry:
    """Return the entry with folders of the cache for the hub's ids, where all of it is here.

    Of an id a loader asks the hub, and would fetch a newer commit unasked.
    """
    if entry.source != "hub" or not is_cached(entry):
        return entry
    own, *others = (str(cached_folder(each)) for each in repositories_of(entry))
    return entry.model_copy(update={"location": own, "companions": tuple(others)})


def fetch(repository: VoiceRepository, on_progress: OnProgress = ignore_progress) -> None:
    """Fetch what is read of a repository, as `downloads.fetch` does; raises `ModelUnavailable`."""

    def ask() -> tuple[list[Any], Path | None]:
        reach(repository)
        listed = snapshot(repository, dry_run=True)
        names = [file.filename for file in listed]
        described = next((name for name in (INDEX, CONFIG) if name in names), None)
        return listed, fetch_file(repository, described) if described else None

    listed, described = asking(repository, ask)
    names = [file.filename for file in listed]
    wanted = set(read_files(names, described, pickles=repository.pickles))
    fetch_files(repository, [file for file in listed if file.filename in wanted], on_progress)


def read_files(names: Sequence[str], described: Path | None, *, pickles: bool) -> list[str]:
    """Return which files of a repository are read; `described` is its index or its config.json.

    Of one in Tortoise's own format the two that our loader takes.
    """
    if originals := [name for name in names if TORTOISE.fullmatch(name)]:
        return originals
    if described is not None and described.name == INDEX:
        return chosen_files(names, components_of(described), None)
    settings = read_settings(described) if described else {}
    own = [name for name in names if "/" not in name]
    words = [name for name in own if name.endswith(WORDS)]
    # CSM's first weights are those of another program.
    if named := str(settings.get("transformers_weights") or "").partition(".")[0]:
        own = [name for name in own if name.startswith(named)]
        return words + [name for name in own if name.endswith(".safetensors")]
    weights = [name for name in chosen_files(own, ["."], None) if name.endswith(".safetensors")]
    if not weights and pickles:
        weights = [name for name in own if PICKLED.fullmatch(name)]
    return words + weights
