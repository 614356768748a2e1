"""What a model's name stands for here and now, without loading it: revision, pipeline, schedule.

A benchmark stores it, because a name alone does not say which weights were measured.
"""

from __future__ import annotations

import hashlib
import json
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from diffusion_bench.backends.catalog import (
    ModelEntry,
    UnknownModel,
    cached_folder,
    find_model,
)
from diffusion_bench.backends.model_sizes import INDEX, SCHEDULE
from diffusion_bench.records import digest
from diffusion_bench.reports.schema import ModelFacts

HASHED = (".json", ".safetensors", ".txt")
PICKLES = (".bin", ".pth")  # that are read of voice models which are published as nothing else
CHUNK_BYTES = 2**20
SETTLED_S = 2.0  # two writes within one tick of a file system leave the same time


def model_facts(name: str) -> ModelFacts:
    """Return what is known of a model; what is not has its reason, and nothing is raised.

    The revision of a hub model is the commit that its files were or will be fetched from; asking
    for it needs the network only where the files are not on this machine yet.
    """
    try:
        entry = find_model(name)
    except UnknownModel as error:
        return unknown_facts(name, str(error)[:400])
    if entry.source == "hub":
        return _hub_facts(entry)
    try:
        return facts_of_folder(name, Path(entry.location))
    except (OSError, ValueError) as error:
        return unknown_facts(name, f"its files cannot be read: {error}"[:400])


def facts_of_folder(name: str, folder: Path) -> ModelFacts:
    """Return what a diffusers folder says of itself; OSError or ValueError where it cannot."""
    return _facts(name, folder, folder_revision(folder))


def unknown_facts(name: str, reason: str) -> ModelFacts:
    """Return the facts of a model of which nothing is known, with the reason."""
    missing = dict.fromkeys(("revision", "pipeline", "schedule"), reason)
    return ModelFacts(name=name, missing=missing)


def _facts(name: str, folder: Path, revision: str) -> ModelFacts:
    index, schedule = _settings(folder / INDEX), _settings(folder / SCHEDULE)
    # Which version of diffusers wrote the settings does not change them.
    settings = {key: value for key, value in schedule.items() if key != "_diffusers_version"}
    return ModelFacts(
        name=name,
        revision=revision,
        pipeline=str(index.get("_class_name", "unknown"))[:200],
        schedule=digest(settings),
    )


def _settings(path: Path) -> dict[str, Any]:
    found = json.loads(path.read_text(encoding="utf-8"))
    if not isinstance(found, dict):
        raise ValueError(f"{path.name} holds no settings")
    return found


def folder_revision(folder: Path, *, pickles: bool = False) -> str:
    """Return a digest of every weight and setting in a folder, names included.

    With `pickles` of those that are weights too. The files are read once a process, and again when
    the size or time of one has changed.
    """
    stamps = _stamps(folder, pickles=pickles)
    newest_s = max((changed_ns for _, _, changed_ns in stamps), default=0) / 1e9
    if time.time() - newest_s < SETTLED_S:
        return _revision.__wrapped__(folder, stamps)
    return _revision(folder, stamps)


def weights_stamp(name: str) -> str:
    """Return what tells a model's weights here from others, without reading or fetching them.

    It is the commit of a hub model, the sizes and times of a folder's files. Raises `UnknownModel`.
    """
    entry = find_model(name)
    if entry.source == "hub":
        folder = cached_folder(entry)
        return "unknown" if folder is None else folder.name
    return folder_stamp(Path(entry.location))


def folder_stamp(folder: Path, *, pickles: bool = False) -> str:
    """Return a digest of the sizes and times of what `folder_revision` reads."""
    stamps = _stamps(folder, pickles=pickles)
    return digest([[str(path), size, changed_ns] for path, size, changed_ns in stamps])


def _stamps(folder: Path, *, pickles: bool = False) -> tuple[tuple[Path, int, int], ...]:
    """Return every weight and setting in a folder, with its size in bytes and its time in ns."""
    hashed = HASHED + PICKLES * pickles
    files = sorted(path for path in folder.rglob("*") if path.suffix in hashed and path.is_file())
    stats = ((path, path.stat()) for path in files)
    return tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)


@lru_cache(maxsize=64)
def _revision(folder: Path, stamps: tuple[tuple[Path, int, int], ...]) -> str:
    found = hashlib.sha256()
    for path, _, _ in stamps:
        found.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                found.update(chunk)
    return f"sha256:{found.hexdigest()[:16]}"


def _hub_facts(entry: ModelEntry) -> ModelFacts:
    from huggingface_hub import hf_hub_download

    name, repository = entry.name, entry.location
    try:
        folder = cached_folder(entry)  # .../snapshots/<commit>
        if folder is None:
            folder = Path(hf_hub_download(repository, INDEX, revision=entry.revision)).parent
        if not (folder / SCHEDULE).is_file():
            hf_hub_download(repository, SCHEDULE.as_posix(), revision=folder.name)
    except (OSError, ValueError) as error:
        reason = f"not on this machine, and the hub did not answer: {error}"
        return unknown_facts(name, reason[:400])
    try:
        return _facts(name, folder, folder.name)
    except (OSError, ValueError) as error:
        return unknown_facts(name, f"its files on this machine cannot be read: {error}"[:400])
