"""Which scorer judges a model's pictures, and where it lies."""

from __future__ import annotations

import os
from pathlib import Path

from diffusion_bench.backends.catalog import MODELS_FOLDER, bundled_words
from diffusion_bench.backends.network_files import NetworkRepository, repository_of
from diffusion_bench.records import AUTO_SCORER, QualityPlan

BUNDLED_SCORER = "scorer"
# The hub's own conversion to safetensors (refs/pr/66): the newest commit has a pickle only.
HUB_SCORER = "openai/clip-vit-base-patch32@c237dc49a33fc61debc9276459120b7eac67e7ef"


def scorer_of(plan: QualityPlan, model: str) -> str:
    """Return the scorer's name: "auto" is the bundled one for models that tell their words."""
    if plan.scorer != AUTO_SCORER:
        return plan.scorer
    return BUNDLED_SCORER if bundled_words(model) else HUB_SCORER


def scorer_folder() -> Path:
    """Return the folder of the bundled scorer."""
    return MODELS_FOLDER / BUNDLED_SCORER


def scorer_repository(name: str) -> NetworkRepository:
    """Return where a scorer lies: the bundled one by its name, else a folder or a hub id."""
    place = str(scorer_folder()) if name == BUNDLED_SCORER else os.path.expanduser(name)
    return repository_of(place, name=name, kind="scorer")
