"""What is known of a model before it is loaded: where it is, its size, its usual settings."""

from __future__ import annotations

import json
import os
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Literal

from diffusion_bench import models
from diffusion_bench.records import Record

MODELS_FOLDER = Path(models.__file__).parent
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
DEFAULT_SIDE = 512


class ModelEntry(Record):
    """One model. `location` is a folder, or a hub id where `source` is "hub"."""

    name: str
    title: str
    source: Literal["bundled", "folder", "hub"]
    location: str
    side: int = DEFAULT_SIDE
    guidance_scale: float = 7.5
    steps: int = 30
    variant: str | None = None
    licence: str = "see the model's own card"


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
        entries[name] = ModelEntry(name=name, location=location, **row)
    return entries


def find_model(name: str) -> ModelEntry:
    """Return the entry of a catalog name, a model folder or a hub id; raise `UnknownModel`."""
    if name in catalog():
        return catalog()[name]
    location = os.path.expanduser(name)
    if os.path.isdir(location):  # unlike Path's, no error for a name that no file can have
        folder = Path(location)
        if not (folder / "model_index.json").is_file():
            raise UnknownModel(f"{name!r} is a folder without model_index.json, so no model")
        return ModelEntry(name=name, title=folder.name, source="folder", location=str(folder))
    if HUB_ID.fullmatch(name):
        return ModelEntry(name=name, title=name, source="hub", location=name)
    known = ", ".join(catalog())
    raise UnknownModel(
        f"unknown model {name!r}; known: {known}; or give a model folder or a hub id (owner/name)"
    )


@cache
def bundled_words(model: str) -> frozenset[str]:
    """Return the words a bundled model was trained on; empty for a model that lists none."""
    path = Path(find_model(model).location) / "vocabulary.json"
    if not path.is_file():
        return frozenset()
    return frozenset(json.loads(path.read_text(encoding="utf-8"))["words"])


def unknown_words(model: str, prompt: str) -> tuple[str, ...]:
    """Return the words of a prompt that a bundled model never saw, in order, each once."""
    words = bundled_words(model)
    if not words:
        return ()
    asked = re.findall(r"[^\W_]+", prompt.lower())
    return tuple(dict.fromkeys(word for word in asked if word not in words))
