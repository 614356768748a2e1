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

from diffusion_bench.backends.catalog import UnknownModel, find_model
from diffusion_bench.records import digest
from diffusion_bench.reports.schema import ModelFacts

INDEX = "model_index.json"
SCHEDULE = Path("scheduler") / "scheduler_config.json"
HASHED = (".json", ".safetensors", ".txt")
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
        return _hub_facts(name, entry.location)
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


def folder_revision(folder: Path) -> str:
    """Return a digest of every weight and setting in a folder, names included.

    The files are read once a process, and again when the size or time of one has changed.
    """
    files = sorted(path for path in folder.rglob("*") if path.suffix in HASHED and path.is_file())
    stats = [(path, path.stat()) for path in files]
    stamps = tuple((path, stat.st_size, stat.st_mtime_ns) for path, stat in stats)
    if time.time() - max((stat.st_mtime for _, stat in stats), default=0.0) < SETTLED_S:
        return _revision.__wrapped__(folder, stamps)
    return _revision(folder, stamps)


@lru_cache(maxsize=64)
def _revision(folder: Path, stamps: tuple[tuple[Path, int, int], ...]) -> str:
    found = hashlib.sha256()
    for path, _, _ in stamps:
        found.update(path.relative_to(folder).as_posix().encode() + b"\0")
        with path.open("rb") as file:
            while chunk := file.read(CHUNK_BYTES):
                found.update(chunk)
    return f"sha256:{found.hexdigest()[:16]}"


def _hub_facts(name: str, repository: str) -> ModelFacts:
    from huggingface_hub import hf_hub_download, try_to_load_from_cache

    cached = try_to_load_from_cache(repository, INDEX)
    try:
        # .../snapshots/<commit>/model_index.json
        index = Path(cached if isinstance(cached, str) else hf_hub_download(repository, INDEX))
        folder = index.parent
        if not (folder / SCHEDULE).is_file():
            hf_hub_download(repository, SCHEDULE.as_posix(), revision=folder.name)
    except (OSError, ValueError) as error:
        reason = f"not on this machine, and the hub did not answer: {error}"
        return unknown_facts(name, reason[:400])
    try:
        return _facts(name, folder, folder.name)
    except (OSError, ValueError) as error:
        return unknown_facts(name, f"its files on this machine cannot be read: {error}"[:400])
