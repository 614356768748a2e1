"""What a picker of samplers offers for a model, before it is loaded."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import get_args

import pytest

from diffusion_bench.backends.catalog import MODELS_FOLDER, catalog, find_model
from diffusion_bench.backends.samplers import allowed_samplers
from diffusion_bench.records import BUNDLED_MODEL, SamplerName

EVERY = list(get_args(SamplerName))
SCHEDULE = Path("scheduler") / "scheduler_config.json"


def offered(model: str) -> list[str]:
    choices = allowed_samplers(find_model(model))
    assert [choice.name for choice in choices] == EVERY
    return [choice.name for choice in choices if choice.reason is None]


def test_ddpm_and_ddim_are_offered_where_the_catalog_has_a_schedule_of_betas() -> None:
    for name, entry in catalog().items():
        flow = entry.prediction == "flow"
        assert offered(name) == (["dpm++", "euler", "unipc", "native"] if flow else EVERY), name
        assert entry.sampler in offered(name)


def test_a_reason_is_one_sentence_that_names_the_scheduler_and_what_to_take() -> None:
    sd3 = find_model("stabilityai/stable-diffusion-3.5-medium")
    reason = next(choice.reason for choice in allowed_samplers(sd3) if choice.name == "ddpm")
    assert reason == (
        "this model's scheduler (FlowMatchEulerDiscreteScheduler) has no noise schedule in betas "
        "(flow matching), so ddpm is not defined for it; take native, dpm++, euler, unipc"
    )


def test_native_says_which_scheduler_it_is_and_lcm_whom_it_is_for() -> None:
    notes = {choice.name: choice.note for choice in allowed_samplers(find_model(BUNDLED_MODEL))}
    assert notes["native"] == "DDIMScheduler, as the model came"
    assert "distilled" in notes["lcm"]
    assert notes["ddim"] == ""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    own = tmp_path / "own"
    shutil.copytree(MODELS_FOLDER / BUNDLED_MODEL, own)
    return own


def test_a_folders_own_files_decide(folder: Path) -> None:
    assert offered(str(folder)) == EVERY
    assert find_model(str(folder)).sampler == "ddim"
    flow = {"_class_name": "FlowMatchEulerDiscreteScheduler", "shift": 3.0}
    (folder / SCHEDULE).write_text(json.dumps(flow), encoding="utf-8")
    assert offered(str(folder)) == ["dpm++", "euler", "unipc", "native"]
    assert find_model(str(folder)).sampler == "native"


@pytest.mark.parametrize("damage", ["", "[]", "{"])
def test_a_damaged_schedule_excludes_nothing_before_the_model_is_loaded(
    folder: Path, damage: str
) -> None:
    (folder / SCHEDULE).write_text(damage, encoding="utf-8")
    assert offered(str(folder)) == EVERY
