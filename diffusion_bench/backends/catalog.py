"""What is known of a model before it is loaded: where it is, its size, its usual settings."""

from __future__ import annotations

import json
import os
import re
import tomllib
from functools import cache
from pathlib import Path
from typing import Any, Literal

from diffusion_bench import models
from diffusion_bench.records import MAX_SIDE, Record, SamplerName

MODELS_FOLDER = Path(models.__file__).parent
HUB_ID = re.compile(r"[\w.-]+/[\w.-]+")
DEFAULT_SIDE = 512
INDEX = "model_index.json"
# The folder of the denoiser, and of the autoencoder whose cells are so many pixels wide.
DENOISER_FOLDERS = ("unet", "transformer")
USUAL_CELL = 8

PredictionName = Literal["epsilon", "v_prediction", "sample", "flow"]


class ModelEntry(Record):
    """One model. `location` is a folder, or a hub id where `source` is "hub".

    `side`, `steps`, `guidance_scale` and `sampler` are its usual settings. `pipeline` and
    `scheduler` are classes of diffusers, empty where they are not known before its files are here.
    `gated` says what the hub asks for first. `figures` says where all this was read.
    """

    name: str
    title: str
    source: Literal["bundled", "folder", "hub"]
    location: str
    side: int = DEFAULT_SIDE
    guidance_scale: float = 7.5
    steps: int = 30
    variant: str | None = None
    sampler: SamplerName = "ddim"
    pipeline: str = ""
    scheduler: str = ""
    prediction: PredictionName | None = None
    stored_bytes: Literal[2, 4] = 4
    unlisted_params: int = 0
    gated: str = ""
    licence: str = "see the model's own card"
    figures: str = "general defaults; see the model's own card"

    @property
    def page(self) -> str | None:
        """Return the address of a hub model's page: its licence, and where access is asked for."""
        return f"https://huggingface.co/{self.location}" if self.source == "hub" else None


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
        return _folder_entry(name, Path(location))
    if HUB_ID.fullmatch(name):
        return ModelEntry(name=name, title=name, source="hub", location=name)
    known = ", ".join(catalog())
    raise UnknownModel(
        f"unknown model {name!r}; known: {known}; or give a model folder or a hub id (owner/name)"
    )


def _folder_entry(name: str, folder: Path) -> ModelEntry:
    """Return the entry of a folder, with what its files say; raise `UnknownModel` if it is none."""
    if not (folder / INDEX).is_file():
        raise UnknownModel(f"{name!r} is a folder without model_index.json, so no model")
    index = _settings(folder / INDEX)
    schedule = _settings(folder / "scheduler" / "scheduler_config.json")
    flow = "beta_schedule" not in schedule or schedule.get("use_flow_sigmas") is True
    return ModelEntry(
        name=name,
        title=folder.name,
        source="folder",
        location=str(folder),
        side=_trained_side(folder),
        sampler="native" if schedule and flow else "ddim",
        pipeline=str(index.get("_class_name", "")),
        scheduler=str(schedule.get("_class_name", "")),
    )


def _trained_side(folder: Path) -> int:
    """Return the side in pixels that a folder's denoiser was trained at, as its settings say."""
    for part in DENOISER_FOLDERS:
        cells = _settings(folder / part / "config.json").get("sample_size")
        if isinstance(cells, int):
            decoder = _settings(folder / "vae" / "config.json")
            levels = decoder.get("block_out_channels") or decoder.get("encoder_block_out_channels")
            cell = 2 ** (len(levels) - 1) if isinstance(levels, list) and levels else USUAL_CELL
            return min(max(cells * cell // 8 * 8, 8), MAX_SIDE)
    return DEFAULT_SIDE


def _settings(path: Path) -> dict[str, Any]:
    """Return the settings in a JSON file; none where it is not there or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


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
