"""What a model's name stood for: the same weights, the same revision, whatever they are called."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from fakes import make_header
from huggingface_hub import constants
from tiny_models import save_tiny_sd

from diffusion_bench.backends.model_facts import folder_revision, model_facts
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.reports.schema import Header
from diffusion_bench.reports.store import ReportRefused, ReportWriter

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_sd(tmp_path_factory.mktemp("made"))


@pytest.fixture
def model(made: Path, tmp_path: Path) -> Path:
    """Return a copy of a model that a test may damage."""
    return Path(shutil.copytree(made, tmp_path / "model"))


def flip_a_byte(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


def header_of(model: Path) -> Header:
    """Return the header of a sweep of a model as it is now."""
    (request,) = parse_sweep(
        f'name = "x"\n[axes]\nsampler = ["ddim"]\nmodel = [{json.dumps(str(model))}]'
    ).requests()
    header = make_header(cells=[request])
    plan = header.plan.model_copy(update={"models": (model_facts(str(model)),)})
    return header.model_copy(update={"plan": plan})


def test_the_same_files_are_the_same_revision_wherever_they_lie(made: Path, model: Path) -> None:
    here, there = model_facts(str(made)), model_facts(str(model))
    assert (here.name, there.name) == (str(made), str(model))
    assert here.revision is not None
    assert here.model_copy(update={"name": ""}) == there.model_copy(update={"name": ""})
    assert here.pipeline == "StableDiffusionPipeline"
    assert not here.missing


@pytest.mark.parametrize(
    "name", ["unet/diffusion_pytorch_model.safetensors", "scheduler/scheduler_config.json"]
)
def test_one_byte_of_a_weight_or_a_setting_makes_another_revision(model: Path, name: str) -> None:
    before = model_facts(str(model))
    path = model / name
    if path.suffix == ".json":
        path.write_text(path.read_text().replace("0.012", "0.013"))
    else:
        flip_a_byte(path)
    after = model_facts(str(model))
    assert after.revision != before.revision
    assert (after.schedule != before.schedule) == name.startswith("scheduler")


def test_weights_that_change_after_they_were_read_are_another_revision(model: Path) -> None:
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    found = []
    for hours_old in (3, 2, 1):
        for path in model.rglob("*"):
            os.utime(path, (time.time() - hours_old * 3600,) * 2)
        found += [folder_revision(model), folder_revision(model)]
        flip_a_byte(weights)
        found.append(folder_revision(model))
    first, other = found[0], found[2]
    assert first != other
    assert found == [first, first, other, other, other, first, first, first, other]


def test_a_settled_folder_is_read_once_a_process(model: Path) -> None:
    weights = model / "unet" / "diffusion_pytorch_model.safetensors"
    for path in model.rglob("*"):
        os.utime(path, (1e9, 1e9))
    before = folder_revision(model)
    flip_a_byte(weights)
    os.utime(weights, (1e9, 1e9))  # as nobody does: it shows that the file was not opened
    assert folder_revision(model) == before


def test_a_file_moved_to_another_name_is_another_revision(model: Path) -> None:
    before = model_facts(str(model)).revision
    # It keeps its place among the files, so only its name can tell.
    (model / "unet" / "config.json").rename(model / "unet" / "config_.json")
    assert model_facts(str(model)).revision != before


def test_which_version_of_a_library_wrote_the_schedule_does_not_change_it(model: Path) -> None:
    path = model / "scheduler" / "scheduler_config.json"
    before = model_facts(str(model)).schedule
    settings = json.loads(path.read_text()) | {"_diffusers_version": "99.0"}
    path.write_text(json.dumps(settings))
    assert model_facts(str(model)).schedule == before


def test_a_report_of_other_weights_is_not_gone_on_with(model: Path, tmp_path: Path) -> None:
    before = header_of(model)
    report = tmp_path / "report.jsonl"
    ReportWriter.create(report, before).close()
    again, _ = ReportWriter.resume(report, header_of(model))
    again.close()
    flip_a_byte(model / "vae" / "diffusion_pytorch_model.safetensors")
    after = header_of(model)
    (request,) = before.plan.cells
    assert before.cell_id(request) != after.cell_id(request)
    with pytest.raises(ReportRefused, match=r"holds another sweep.*plan\.models\.") as caught:
        ReportWriter.resume(report, after)
    assert f"{before.plan.models[0].revision} in the file" in str(caught.value)


def test_the_bundled_model_is_known() -> None:
    facts = model_facts(BUNDLED_MODEL)
    assert facts.revision is not None
    assert facts.revision.startswith("sha256:")
    assert not facts.missing


def test_a_hub_model_in_the_cache_is_its_commit(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cached = tmp_path / "models--tiny--sd"
    (cached / "refs").mkdir(parents=True)
    (cached / "refs" / "main").write_text(COMMIT)
    shutil.copytree(made, cached / "snapshots" / COMMIT)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    facts = model_facts("tiny/sd")
    assert (facts.revision, facts.pipeline) == (COMMIT, "StableDiffusionPipeline")
    assert facts.schedule == model_facts(str(made)).schedule
    at = f"tiny/sd@{COMMIT}"
    assert model_facts(at) == facts.model_copy(update={"name": at})
    assert not facts.missing


@pytest.mark.parametrize("name", ["nobody/no-such-model", "nope", "x" * 500, "../mine", "a--b/c"])
def test_a_model_that_is_not_here_has_a_reason_for_every_gap_and_raises_nothing(name: str) -> None:
    facts = model_facts(name)
    assert (facts.revision, facts.pipeline, facts.schedule) == (None, None, None)
    assert set(facts.missing) == {"revision", "pipeline", "schedule"}
    assert all(facts.missing.values())


@pytest.mark.parametrize("content", ["[]", "{", '"text"', "\xff"])
def test_a_folder_with_damaged_settings_has_a_reason(model: Path, content: str) -> None:
    for name in ("model_index.json", "scheduler/scheduler_config.json"):
        (model / name).write_text(content, encoding="latin-1")
        facts = model_facts(str(model))
        assert facts.revision is None
        assert facts.missing["revision"].startswith("its files cannot be read: ")
