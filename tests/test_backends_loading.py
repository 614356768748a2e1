"""Model folders as they come: what loads, and in one line why another does not."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_models import save_tiny_sd

from diffusion_bench.backends.catalog import ModelUnavailable, UnknownModel, find_model
from diffusion_bench.backends.loading import DTYPES, load_pipeline
from diffusion_bench.backends.model_files import presence
from diffusion_bench.records import PrecisionName

INDEX = "model_index.json"


@pytest.fixture(scope="module")
def sd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd(tmp_path_factory.mktemp("sd"))


@pytest.fixture
def folder(sd: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sd, tmp_path / "model")


def why_not(folder: Path) -> str:
    with pytest.raises(ModelUnavailable) as refused:
        load_pipeline(str(folder), "fp32")
    told = str(refused.value)
    assert "\n" not in told
    return told


def without_a_weight(file: Path, name: str) -> None:
    weights = load_file(file)
    del weights[next(key for key in weights if key.endswith(name))]
    save_file(weights, file, {"format": "pt"})


@pytest.mark.parametrize(
    ("file", "weight"),
    [
        ("text_encoder/model.safetensors", "layers.0.mlp.fc1.weight"),
        ("unet/diffusion_pytorch_model.safetensors", "mid_block.resnets.0.conv1.weight"),
        ("vae/diffusion_pytorch_model.safetensors", "decoder.conv_out.bias"),
    ],
)
def test_a_model_that_lacks_a_weight_is_not_drawn_with_random_ones(
    folder: Path, file: str, weight: str
) -> None:
    without_a_weight(folder / file, weight)
    told = why_not(folder)
    assert f"its {Path(file).parent} lacks 1 weights, such as" in told
    assert weight in told


def test_a_tokenizer_without_its_vocabulary_is_refused_and_not_drawn_with(folder: Path) -> None:
    for file in ("vocab.json", "merges.txt", "tokenizer.json"):
        (folder / "tokenizer" / file).unlink(missing_ok=True)
    assert "its tokenizer knows no words" in why_not(folder)


def edit(file: Path, change: Callable[[dict[str, Any]], object]) -> None:
    settings = json.loads(file.read_text())
    file.write_text(json.dumps(change(settings) or settings))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda index: index.update(_class_name="NewerPipeline"), "NewerPipeline"),
        (lambda index: {"unet": index["unet"]}, "there is no '_class_name'"),
        (lambda index: [index], "cannot be loaded: "),
        (lambda index: index.update(scheduler=["diffusers", "NewScheduler"]), "NewScheduler"),
    ],
)
def test_what_diffusers_cannot_make_of_a_folder_is_one_line(
    folder: Path, change: Callable[[dict[str, Any]], object], said: str
) -> None:
    edit(folder / INDEX, change)
    assert said in why_not(folder)


def test_a_scheduler_that_needs_another_package_is_named_with_it(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from diffusers.utils import dummy_torch_and_scipy_objects, import_utils

    monkeypatch.setitem(import_utils.BACKENDS_MAPPING, "scipy", (lambda: False, "{0} needs scipy"))
    lms = dummy_torch_and_scipy_objects.LMSDiscreteScheduler
    monkeypatch.setattr("diffusers.LMSDiscreteScheduler", lms)
    edit(folder / INDEX, lambda index: index.update(scheduler=["diffusers", lms.__name__]))
    assert why_not(folder).endswith("LMSDiscreteScheduler needs scipy")


@pytest.mark.parametrize("precision", ["fp32", "fp16"])
def test_a_folder_of_sixteen_bit_files_only_loads_in_every_precision(
    folder: Path, precision: PrecisionName
) -> None:
    whole = load_pipeline(str(folder), "fp16")
    for file in folder.rglob("*.safetensors"):
        save_file({k: v.half() for k, v in load_file(file).items()}, file, {"format": "pt"})
        file.rename(file.with_suffix(".fp16.safetensors"))
    assert presence(find_model(str(folder)), precision) == "here"
    drawn_with = load_pipeline(str(folder), precision)
    assert drawn_with.unet.dtype == DTYPES[precision]
    for mine, theirs in zip(drawn_with.unet.parameters(), whole.unet.parameters(), strict=True):
        assert torch.equal(mine.half(), theirs)


def test_weights_in_pickles_are_refused_as_that_with_what_helps(folder: Path) -> None:
    weights = folder / "unet" / "diffusion_pytorch_model.safetensors"
    torch.save(load_file(weights), weights.with_suffix(".bin"))
    weights.unlink()
    told = why_not(folder)
    assert "weights in pickles (unet/diffusion_pytorch_model.bin), which can run code" in told
    assert told.endswith("with save_pretrained"), "a folder has no commits"


def test_a_setting_that_diffusers_puts_right_is_no_warning(
    folder: Path, recwarn: pytest.WarningsRecorder
) -> None:
    edit(folder / INDEX, lambda index: index.update(scheduler=["diffusers", "DDIMScheduler"]))
    edit(folder / "scheduler/scheduler_config.json", lambda own: own.update(clip_sample=True))
    assert load_pipeline(str(folder), "fp32").scheduler.config.clip_sample is False
    assert not [str(own.message) for own in recwarn if "scheduler" in str(own.message)]


@pytest.mark.parametrize(
    "kind", ["StableDiffusionImg2ImgPipeline", "StableDiffusionInpaintPipeline"]
)
def test_a_pipeline_that_needs_a_picture_is_refused_by_its_class(folder: Path, kind: str) -> None:
    edit(folder / INDEX, lambda index: index.update(_class_name=kind))
    assert why_not(folder).endswith(f"is no text-to-image pipeline over latents, but {kind}")


def test_a_checkpoint_of_one_file_is_refused_with_how_to_make_a_folder_of_it(
    tmp_path: Path,
) -> None:
    file = tmp_path / "dreams.safetensors"
    file.touch()
    with pytest.raises(UnknownModel, match=r"is a file; .* from_single_file, then save_pretrained"):
        find_model(str(file))
