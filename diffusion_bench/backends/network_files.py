"""Single networks of the hub: which they are, whether they are here, fetching them.

Those of speech, its vocoders and judges, and the scorers of pictures. Of each are fetched its
settings and the weights that its loader reads, so that loading downloads nothing.
"""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusion_bench.backends.catalog import (
    ModelUnavailable,
    Repository,
    cached_folder,
    hub_place,
)
from diffusion_bench.backends.downloads import (
    OnProgress,
    asking,
    fetch_file,
    fetch_files,
    ignore_progress,
    reach,
    snapshot,
)
from diffusion_bench.backends.model_files import (
    WEIGHTS,
    chosen_files,
    components_of,
    missing_parts,
    pickle_words,
)
from diffusion_bench.backends.model_sizes import INDEX, read_settings

LOADED = ("*.safetensors", "*.pth")
PICKLES = ("*.bin",)
PART = re.compile(r"(?P<file>.*)-\d+-of-(?P<of>\d+)\.safetensors")
CONFIG = "config.json"
TORTOISE = re.compile(r"(\.models/)?(diffusion_decoder|mel_norms)\.pth")
PICKLED = re.compile(r"pytorch_model(-\d{5}-of-\d{5})?\.bin")
WORDS = (".json", ".txt", ".yaml", ".model", ".jinja")


class NetworkRepository(Repository):
    """One network. Of one that has no safetensors, `pickles` says whether they are read."""

    pickles: bool = False


def repository_of(place: str, *, pickles: bool = False, **known: str) -> NetworkRepository:
    """Return what a folder or a hub id is; what is `known` of it are its other fields.

    Raises `UnknownModel` for a hub id with less than a whole commit behind it.
    """
    found = None if os.path.isdir(place) else hub_place(place)
    location, revision = found or (place, None)
    usual = {"name": place, "title": place, "source": "hub" if found else "folder", **known}
    return NetworkRepository.model_validate(
        {**usual, "location": location, "revision": revision, "pickles": pickles}
    )


def missing(needed: Sequence[NetworkRepository]) -> list[NetworkRepository]:
    """Return which of the hub's repositories are not on this machine."""
    return [each for each in needed if each.source == "hub" and not is_here(each)]


def is_here(repository: NetworkRepository) -> bool:
    """Return whether its weights are on this machine, every shard of them.

    Of one that is a pipeline of several networks, those of each.
    """
    folder = cached_folder(repository)
    if folder is None:
        return False
    if (folder / INDEX).is_file():
        return not missing_parts(folder)
    kinds = (*LOADED, *PICKLES * repository.pickles)
    names = [path.relative_to(folder) for kind in kinds for path in folder.rglob(kind)]
    parts: Counter[tuple[str, int]] = Counter()
    for name in names:
        if part := PART.fullmatch(name.as_posix()):
            parts[part["file"], int(part["of"])] += 1
    return bool(names) and all(count == of for (_, of), count in parts.items())


def folder_of(repository: NetworkRepository) -> Path:
    """Return the folder a repository is read from: what is here, or else is fetched now.

    Of what is here the hub is not asked whether it has a newer one. Raises `ModelUnavailable`.
    """
    folder = cached_folder(repository)
    if folder is None or missing([repository]):
        return fetch(repository)
    return folder


def fetch(repository: NetworkRepository, on_progress: OnProgress = ignore_progress) -> Path:
    """Fetch what is read of a repository, as `downloads.fetch` does; raises `ModelUnavailable`."""

    def ask() -> tuple[list[Any], Path | None]:
        reach(repository)
        listed = snapshot(repository, dry_run=True)
        names = [file.filename for file in listed]
        described = next((name for name in (INDEX, CONFIG) if name in names), None)
        return listed, fetch_file(repository, described) if described else None

    listed, described = asking(repository, ask)
    names = [file.filename for file in listed]
    wanted = read_files(names, described, pickles=repository.pickles)
    pickles = [name for name in names if PICKLED.fullmatch(name)]
    if pickles and not any(map(is_weights, wanted)):
        raise ModelUnavailable(pickle_words(repository, pickles[0]))
    # Weights last: where they are, all else is, also after a download that was broken off.
    words = [file for file in listed if file.filename in wanted and not is_weights(file.filename)]
    weights = [file for file in listed if file.filename in wanted and is_weights(file.filename)]
    fetch_files(repository, words, ignore_progress)
    return fetch_files(repository, weights, on_progress)


def is_weights(name: str) -> bool:
    """Return whether a file is one of weights, by its name."""
    return WEIGHTS.search(name) is not None


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
