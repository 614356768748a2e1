"""What is known of a model before it is loaded: where it is, its size, its usual settings."""

from __future__ import annotations

import os
import re
import tomllib
from functools import cache, lru_cache
from pathlib import Path
from typing import Any, Literal

from diffusion_bench import models
from diffusion_bench.backends.distilled import settings_of_distilled
from diffusion_bench.backends.model_sizes import (
    INDEX,
    SCHEDULE,
    USUAL_CELL,
    denoiser_settings,
    read_settings,
    side_multiple,
    trained_side,
)
from diffusion_bench.backends.readings import read
from diffusion_bench.backends.vocabulary import read_words
from diffusion_bench.records import Record, SamplerName

MODELS_FOLDER = Path(models.__file__).parent
# What the hub's client takes for one; of anything else it raises an error of its own.
HUB_ID = re.compile(r"(?!.*(?:--|\.\.|\.git$))\b[\w.-]{1,96}\b/\b[\w.-]{1,96}\b", re.ASCII)
COMMIT = re.compile(r"[0-9a-f]{40}")
DEFAULT_SIDE = 512

PredictionName = Literal["epsilon", "v_prediction", "sample", "flow"]


class Repository(Record):
    """Where files lie. `location` is a folder, or a hub id where `source` is "hub".

    `revision` is the commit of a hub model that its name asks for, `None` for the newest that is
    here, or else on the hub. `gated` says what the hub asks for first. `kind` is what a message
    calls it: "model".
    """

    name: str
    title: str
    source: Literal["bundled", "folder", "hub"]
    location: str
    revision: str | None = None
    gated: str = ""
    kind: str = "model"

    @property
    def page(self) -> str | None:
        """Return the address of a hub model's page: its licence, and where access is asked for."""
        return f"https://huggingface.co/{self.location}" if self.source == "hub" else None


class ModelEntry(Repository):
    """One model of pictures. `side`, `steps`, `guidance_scale` and `sampler` are its usual
    settings; width and height are multiples of `multiple` pixels. `pipeline` and `scheduler` are
    classes of diffusers, empty where they are not known before its files are here. `figures` says
    where all this was read.
    """

    side: int = DEFAULT_SIDE
    multiple: int = USUAL_CELL
    guidance_scale: float = 7.5
    steps: int = 30
    variant: str | None = None
    sampler: SamplerName = "ddim"
    pipeline: str = ""
    scheduler: str = ""
    prediction: PredictionName | None = None
    stored_bytes: Literal[2, 4] = 4
    unlisted_params: int = 0
    licence: str = "see the model's own card"
    figures: str = "general defaults; see the model's own card"


class UnknownModel(ValueError):
    """A name that is no bundled model, no model folder and no hub id."""


class ModelUnavailable(ValueError):
    """A model that is known but cannot be loaded here: no network, no weights, a broken folder."""


@cache
def catalog() -> dict[str, ModelEntry]:
    """Return the models offered by name, bundled ones first."""
    text = (Path(__file__).parent / "catalog.toml").read_text(encoding="utf-8")
    entries = {}
    for name, row in tomllib.loads(text).items():
        location = str(MODELS_FOLDER / name) if row["source"] == "bundled" else name
        if row["source"] == "bundled":
            row["multiple"] = side_multiple(Path(location))
        entries[name] = ModelEntry(name=name, location=location, **row)
    return entries


def find_model(name: str) -> ModelEntry:
    """Return the entry of a catalog name, a model folder or a hub id; raise `UnknownModel`.

    Nothing is fetched: of a hub id that is in no row of the catalog, files in the hub's cache tell.
    """
    if name in catalog():
        return catalog()[name]
    location = os.path.expanduser(name)
    if os.path.isdir(location):  # unlike Path's, no error for a name that no file can have
        return _folder_entry(name, Path(location))
    if os.path.isfile(location):
        raise UnknownModel(
            f"{name!r} is a file; a model is a folder, as diffusers makes one of a single file: "
            "from_single_file, then save_pretrained"
        )
    if place := hub_place(name):
        return _hub_entry(name, *place)
    known = ", ".join(catalog())
    raise UnknownModel(
        f"unknown model {name!r}; known: {known}; or give a model folder or a hub id (owner/name, "
        "or owner/name@commit)"
    )


def hub_place(name: str) -> tuple[str, str | None] | None:
    """Return the hub id in a name and the commit behind its `@`; `None` for what is no hub id.

    Raises `UnknownModel` for less than a whole commit.
    """
    hub_id, at, commit = name.partition("@")
    if not HUB_ID.fullmatch(hub_id):
        return None
    if at and not COMMIT.fullmatch(commit):
        raise UnknownModel(
            f"{name!r}: behind the @ of a hub id stands a whole commit, 40 hexadecimal digits "
            f"as the history of its page has them, and not {commit!r}"
        )
    return hub_id, commit or None


def _hub_entry(name: str, hub_id: str, revision: str | None) -> ModelEntry:
    """Return the entry of a hub id, of its files in the cache or of its row of the catalog."""
    asked: dict[str, Any] = {"name": name, "location": hub_id, "revision": revision}
    if hub_id in catalog():
        return catalog()[hub_id].model_copy(update=asked)
    entry = ModelEntry(title=name, source="hub", **asked)
    folder = cached_folder(entry)
    if folder is None:
        return entry
    return _folder_entry(name, folder).model_copy(update={**asked, "title": name, "source": "hub"})


def cached_folder(entry: Repository) -> Path | None:
    """Return the folder of the hub's cache that holds a repository's files, if there is one.

    It is that of its revision, or else of the newest that was fetched. Of one that is no hub's, its
    own. A model of pictures is there once its index is.
    """
    if entry.source != "hub":
        return Path(entry.location)
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        # No pattern: the client would miss the files that are never fetched.
        found = snapshot_download(
            entry.location, revision=entry.revision, local_files_only=True, allow_patterns=[]
        )
    except LocalEntryNotFoundError:
        return None
    folder = Path(found)
    if isinstance(entry, ModelEntry) and not (folder / INDEX).is_file():
        return None
    return folder


def _folder_entry(name: str, folder: Path) -> ModelEntry:
    """Return the entry of a folder, with what its files say; raise `UnknownModel` if it is none."""
    if not (folder / INDEX).is_file():
        raise UnknownModel(f"{name!r} is a folder without model_index.json, so no model")
    index = read_settings(folder / INDEX)
    schedule = read_settings(folder / SCHEDULE)
    is_flow = "beta_schedule" not in schedule or schedule.get("use_flow_sigmas") is True
    pipeline = str(index.get("_class_name", ""))
    distilled = settings_of_distilled(pipeline, denoiser_settings(folder), schedule)
    return ModelEntry(
        name=name,
        title=folder.name,
        source="folder",
        location=str(folder),
        side=trained_side(folder) or DEFAULT_SIDE,
        multiple=side_multiple(folder),
        sampler="native" if schedule and (is_flow or distilled) else "ddim",
        pipeline=pipeline,
        scheduler=str(schedule.get("_class_name", "")),
        **distilled,
    )


@cache
def bundled_words(model: str) -> frozenset[str]:
    """Return the words a bundled model was trained on; empty for a model that lists none."""
    known = read_words(Path(find_model(model).location))
    return frozenset(known.every()) if known else frozenset()


def unknown_words(model: str, prompt: str) -> tuple[str, ...]:
    """Return the words of a prompt that a bundled model never saw, in order, each once."""
    words = bundled_words(model)
    if not words:
        return ()
    return tuple(dict.fromkeys(word for word in said_words(model, prompt) if word not in words))


@lru_cache(maxsize=1024)
def said_words(model: str, prompt: str) -> tuple[str, ...]:
    """Return the words of a prompt in order, in small letters, as a bundled model reads them.

    A weight of other tools' prompts, as in "(cat:1.3)", is a word, and not the numbers 1 and 3.
    """
    said = re.findall(r"\d+\.\d+|[^\W_]+", prompt.lower())
    return tuple(read(said, bundled_words(model)))
