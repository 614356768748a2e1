"""What is known of a model before it is loaded, and how a name that is none is refused."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import pytest
from huggingface_hub.utils import HFValidationError, validate_repo_id

from diffusion_bench.backends.catalog import (
    MODELS_FOLDER,
    ModelEntry,
    UnknownModel,
    bundled_words,
    catalog,
    find_model,
    unknown_words,
)
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def test_the_bundled_model_comes_first_and_its_folder_is_there() -> None:
    first = next(iter(catalog().values()))
    assert (first.name, first.source) == (BUNDLED_MODEL, "bundled")
    assert (Path(first.location) / "model_index.json").is_file()


def test_every_model_offered_can_be_asked_for_with_its_usual_settings() -> None:
    assert len(catalog()) >= 10
    for name, entry in catalog().items():
        assert find_model(name) == entry
        ImageRequest(
            prompt="a cat",
            model=name,
            steps=entry.steps,
            guidance_scale=entry.guidance_scale,
            width=entry.side,
            height=entry.side,
            sampler=entry.sampler,
        )
        assert entry.pipeline
        assert entry.scheduler
        assert entry.prediction
        assert entry.figures
        assert entry.title
        assert entry.licence
        assert entry.location == (str(MODELS_FOLDER / name) if entry.source == "bundled" else name)


def test_a_folder_with_a_pipeline_is_a_model(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}", encoding="utf-8")
    entry = find_model(str(tmp_path))
    assert (entry.source, entry.location) == ("folder", str(tmp_path))


def test_a_home_folder_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model_index.json").write_text("{}", encoding="utf-8")
    for variable in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(variable, str(tmp_path))
    assert find_model("~/mine").location == str(tmp_path / "mine")


def test_owner_and_name_is_a_hub_id() -> None:
    entry = find_model("runwayml/stable-diffusion_v1.5")
    assert (entry.source, entry.location) == ("hub", "runwayml/stable-diffusion_v1.5")


@pytest.mark.parametrize(
    "name",
    [
        *("../mine", "./mine", "mine/..", "-a/b", "a/b-", "a/.b"),
        *("a--b/c", "a/b..c", "a/b.git", "ä/b", f"a/{'b' * 97}", "a/b"),
    ],
)
def test_a_hub_id_is_what_the_hubs_own_client_takes_for_one(name: str) -> None:
    try:
        validate_repo_id(name)
    except HFValidationError:
        with pytest.raises(UnknownModel, match="or a hub id"):
            find_model(name)
    else:
        assert find_model(name).location == name


def test_a_hub_model_is_asked_for_at_a_commit() -> None:
    entry = find_model(f"owner/name@{COMMIT}")
    assert (entry.source, entry.location, entry.revision) == ("hub", "owner/name", COMMIT)
    known = next(entry for entry in catalog().values() if entry.source == "hub")
    pinned = find_model(f"{known.name}@{COMMIT}")
    assert pinned == known.model_copy(update={"name": pinned.name, "revision": COMMIT})


@pytest.mark.parametrize("commit", ["", "main", COMMIT[:12], f"{COMMIT}0", COMMIT.upper(), "a@b"])
def test_what_is_no_whole_commit_behind_a_hub_id_is_refused_with_what_one_is(commit: str) -> None:
    with pytest.raises(UnknownModel, match="a whole commit, 40 hexadecimal digits"):
        find_model(f"owner/name@{commit}")


@pytest.mark.parametrize(
    "name", [f"{BUNDLED_MODEL}x", "", " ", "a/b/c", "a b/c", "~nobody-here", "x" * 400, "a\0b"]
)
def test_a_name_that_is_no_model_is_refused_with_the_known_ones(name: str) -> None:
    with pytest.raises(UnknownModel, match=rf"known: {BUNDLED_MODEL}, .*or a hub id"):
        find_model(name)


def test_a_folder_without_a_pipeline_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match=r"folder without model_index\.json"):
        find_model(str(tmp_path))


def test_words_a_bundled_model_never_saw_are_named_once_in_order() -> None:
    assert {"cat", "blue", "background"} <= bundled_words(BUNDLED_MODEL)
    assert unknown_words(BUNDLED_MODEL, "Zorp: a CAT, gnarf zorp 42!") == ("zorp", "gnarf", "42")
    assert unknown_words(BUNDLED_MODEL, "a cat on a blue background") == ()


def test_nothing_is_said_of_words_where_a_model_lists_none(tmp_path: Path) -> None:
    shutil.copy(MODELS_FOLDER / BUNDLED_MODEL / "model_index.json", tmp_path)
    assert unknown_words(str(tmp_path), "zorp") == ()
    assert unknown_words("owner/name", "zorp") == ()


def test_the_ten_models_people_ask_for_are_offered_and_gates_are_told() -> None:
    titles = " ".join(entry.title for entry in catalog().values())
    for words in (
        f"{BUNDLED_MODEL.title()} (bundled, {find_model(BUNDLED_MODEL).side} px, works offline)",
        "Stable Diffusion 1.5",
        "Stable Diffusion 2.1",
        "Stable Diffusion XL",
        "SDXL-Turbo",
        "SSD-1B",
        "PixArt-Sigma",
        "Stable Diffusion 3.5 medium",
        "FLUX.1 schnell",
        "Sana",
    ):
        assert words in titles
    gated = [name for name, entry in catalog().items() if entry.gated]
    assert gated == [
        "stabilityai/stable-diffusion-3.5-medium",
        "black-forest-labs/FLUX.1-schnell",
    ]
    assert catalog()[gated[0]].page == f"https://huggingface.co/{gated[0]}"
    assert catalog()[BUNDLED_MODEL].page is None


def write_settings(folder: Path, settings: Mapping[str, object]) -> None:
    for name, values in settings.items():
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text(json.dumps(values), encoding="utf-8")


def test_a_folder_says_its_own_size_and_classes_and_its_usual_sampler(tmp_path: Path) -> None:
    settings = {
        "model_index.json": {"_class_name": "SanaPipeline"},
        "scheduler/scheduler_config.json": {
            "_class_name": "DPMSolverMultistepScheduler",
            "beta_schedule": "linear",
            "use_flow_sigmas": True,
        },
        "transformer/config.json": {"sample_size": 32},
        "vae/config.json": {"encoder_block_out_channels": [8] * 6},
    }
    write_settings(tmp_path, settings)
    entry = find_model(str(tmp_path))
    assert (entry.pipeline, entry.scheduler) == ("SanaPipeline", "DPMSolverMultistepScheduler")
    assert (entry.side, entry.sampler) == (1024, "native")


LINEAR = {"beta_schedule": "linear"}
LCM = LINEAR | {"_class_name": "LCMScheduler"}
TRAILING = LINEAR | {
    "_class_name": "EulerDiscreteScheduler",
    "timestep_spacing": "trailing",
    "prediction_type": "epsilon",
}


@pytest.mark.parametrize(
    ("pipeline", "denoiser", "schedule", "usual"),
    [
        ("FluxPipeline", {"guidance_embeds": False}, {}, (4, 0.0)),
        ("FluxPipeline", {"guidance_embeds": True}, {}, (28, 3.5)),
        ("FluxPipeline", {}, {}, None),  # its files do not tell
        ("StableDiffusionXLPipeline", {}, TRAILING, (4, 0.0)),
        ("StableDiffusionXLPipeline", {}, TRAILING | {"timestep_spacing": "leading"}, None),
        ("StableDiffusionPipeline", {}, LCM, (4, 1.0)),
        ("LatentConsistencyModelPipeline", {"time_cond_proj_dim": 256}, LCM, (4, 8.5)),
        ("StableDiffusionPipeline", {}, LINEAR | {"_class_name": 7}, None),
    ],
)
def test_a_folder_of_a_distilled_model_is_asked_for_the_few_steps_and_the_guidance_it_needs(
    tmp_path: Path,
    pipeline: str,
    denoiser: dict[str, object],
    schedule: dict[str, object],
    usual: tuple[int, float] | None,
) -> None:
    files = {
        "model_index.json": {"_class_name": pipeline},
        "transformer/config.json": denoiser,
        "scheduler/scheduler_config.json": schedule,
    }
    write_settings(tmp_path, files)
    entry = find_model(str(tmp_path))
    general = ModelEntry.model_fields
    expected = usual or (general["steps"].default, general["guidance_scale"].default)
    assert (entry.steps, entry.guidance_scale) == expected
    assert (entry.sampler == "native") is (usual is not None and bool(schedule))
