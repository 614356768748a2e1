"""Voice models by name, folder or hub id: what is known of each, and how it is loaded."""

from __future__ import annotations

import json
import os
import tomllib
from functools import cache
from importlib import import_module
from pathlib import Path
from typing import NamedTuple, cast

from diffusion_bench.backends.catalog import (
    MODELS_FOLDER,
    ModelUnavailable,
    UnknownModel,
    cached_folder,
    hub_place,
)
from diffusion_bench.backends.network_files import repository_of
from diffusion_bench.backends.voice.base import VoiceEntry, VoiceModel
from diffusion_bench.backends.voice.repositories import as_here
from diffusion_bench.records import PrecisionName


class Family(NamedTuple):
    """The class that loads models of one kind, and what their own files call them.

    `marks`: `model_type` of a config.json, or `_class_name` of a model_index.json.
    """

    module: str
    name: str
    marks: tuple[str, ...]


FAMILIES = {
    "echo": Family("diffusion_bench.backends.echo.voice", "EchoModel", ("EchoPipeline",)),
    "pocket_tts": Family("diffusion_bench.backends.voice.pocket_tts", "PocketTts", ("pocket_tts",)),
    "vibevoice": Family("diffusion_bench.backends.voice.vibevoice", "VibeVoice", ("vibevoice",)),
    "longcat_audio_dit": Family(
        "diffusion_bench.backends.voice.longcat", "LongCat", ("LongCatAudioDiTPipeline",)
    ),
    "csm": Family("diffusion_bench.backends.voice.csm", "Csm", ("csm",)),
    "dia": Family("diffusion_bench.backends.voice.dia", "Dia", ("dia",)),
    "speecht5": Family("diffusion_bench.backends.voice.speecht5", "SpeechT5", ("speecht5",)),
    "tortoise": Family("diffusion_bench.backends.tortoise.pipeline", "TortoiseModel", ()),
}


@cache
def voice_catalog() -> dict[str, VoiceEntry]:
    """Return the voice models offered by name, bundled ones first."""
    text = (Path(__file__).parent / "catalog.toml").read_text(encoding="utf-8")
    entries = {}
    for name, row in tomllib.loads(text).items():
        if row["source"] == "bundled":
            row["location"] = str(MODELS_FOLDER / name)
        entries[name] = VoiceEntry.model_validate({"name": name, **row})
    return entries


def find_voice_model(name: str) -> VoiceEntry:
    """Return the entry of a catalog name, a model folder or a hub id; raise `UnknownModel`.

    Nothing is fetched. A hub id that is in no row of the catalog is known by its files in the hub's
    cache.
    """
    for entry in voice_catalog().values():
        if name in (entry.name, entry.location):
            return entry
    location = os.path.expanduser(name)
    if os.path.isdir(location):  # unlike Path's, no error for a name that no file can have
        return _own_entry(name, location, Path(location))
    known = ", ".join(voice_catalog())
    if place := hub_place(name):
        return _hub_entry(name, place[0], known)
    raise UnknownModel(
        f"unknown voice model {name!r}; known: {known}; or give a model folder or a hub id "
        "(owner/name, or owner/name@commit)"
    )


def _hub_entry(name: str, hub_id: str, known: str) -> VoiceEntry:
    """Return the entry of a hub id, with or without a commit, by its row or its files here."""
    for entry in voice_catalog().values():
        if entry.location == hub_id:
            return entry.model_copy(update={"name": name, "location": name})
    folder = cached_folder(repository_of(name))
    if folder is None:
        download = " --revision ".join(filter(None, hub_place(name) or ()))
        raise UnknownModel(
            f"cannot tell what kind of voice model {name!r} is: known are {known}; of another hub "
            f"id the files must be here already (`hf download {download}`)"
        )
    return _own_entry(name, name, folder)


def encodes_alike(model: str, other: str) -> bool:
    """Return whether a voice that one model has encoded means the same to the other.

    It does for those of one family in one place, which have the same weights: Tortoise's presets.
    Both are what `find_voice_model` takes; one that is not here any more is like its own name only.
    """
    if os.path.expanduser(model) == os.path.expanduser(other):
        return True
    try:
        one, another = find_voice_model(model), find_voice_model(other)
    except UnknownModel:
        return False
    return (one.family, one.location) == (another.family, another.location)


def own_voice_of(model: str) -> str:
    """Return what a voice is that a person brings to a model; of one not known here, either."""
    try:
        takes = find_voice_model(model).takes
    except UnknownModel:
        return "a recording or an x-vector"
    return "an x-vector" if takes == "x-vector" else "a recording"


def load_voice_model(
    model: VoiceEntry | str, *, device: str, precision: PrecisionName
) -> VoiceModel:
    """Load a model by its entry or by what `find_voice_model` takes.

    Raises `UnknownModel` for a name that is none, and `ModelUnavailable` where its weights cannot
    be had. Only safetensors are read, but for Tortoise and SpeechT5, which are published as pickles
    and read as plain tensors; no code that comes with a model runs.
    """
    entry = model if isinstance(model, VoiceEntry) else find_voice_model(model)
    if entry.source == "bundled" and not is_bundled(entry):
        raise ModelUnavailable(
            f"the bundled voice model {entry.name!r} is not in this copy of the program: "
            f"{entry.location} is missing; choose another model, or install again"
        )
    family = FAMILIES[entry.family]
    loader = getattr(import_module(family.module), family.name)
    is_pinned = entry.source == "hub" and "@" in entry.location
    here = as_here(entry)
    if here != entry:
        try:
            return cast(VoiceModel, loader.load(here, device=device, precision=precision))
        except ModelUnavailable:
            # Of a download that was broken off, what it lacks beside its weights may be had.
            if is_pinned:
                raise
    elif is_pinned:  # a loader would take all of it for the id
        download = entry.location.replace("@", " --revision ")
        raise ModelUnavailable(
            f"voice model {entry.name!r} is not on this machine (`hf download {download}`)"
        )
    return cast(VoiceModel, loader.load(entry, device=device, precision=precision))


def is_bundled(entry: VoiceEntry) -> bool:
    """Return whether a bundled model's folder came with this copy of the program."""
    return (Path(entry.location) / "model_index.json").is_file()


def family_of(folder: Path) -> str | None:
    """Return the family that a folder's own files name, `None` where they name none of ours."""
    marks = {_field(folder / "config.json", "model_type")}
    marks.add(_field(folder / "model_index.json", "_class_name"))
    for name, family in FAMILIES.items():
        if marks.intersection(family.marks):
            return name
    return "tortoise" if (folder / "clvp" / "config.json").is_file() else None


def _own_entry(name: str, location: str, folder: Path) -> VoiceEntry:
    """Return the entry of a folder or a cached repository, with its family's usual settings."""
    family = family_of(folder)
    if family is None:
        raise UnknownModel(
            f"{name!r} has no config.json or model_index.json of a kind that is known here: "
            f"{', '.join(FAMILIES)}"
        )
    alike = next(entry for entry in voice_catalog().values() if entry.family == family)
    changes: dict[str, object] = {
        "name": name,
        "title": Path(location).name,
        "source": "folder" if os.path.isdir(location) else "hub",
        "location": location,
        "licence": "see the model's own card",
        "gated": False,
        "download_gib": None,
        "parameters_m": None,
    }
    # Pocket TTS's own files name its codec, and a folder of Tortoise holds all that is read.
    if family == "pocket_tts" or (family == "tortoise" and changes["source"] == "folder"):
        changes["companions"] = ()
    return alike.model_copy(update=changes)


def _field(path: Path, name: str) -> str | None:
    """Return a text of a JSON file, `None` where the file or the text is not there."""
    try:
        read = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    value = read.get(name) if isinstance(read, dict) else None
    return value if isinstance(value, str) else None
