"""What a recipe and a report say of the weights that spoke: which they are, wherever they lie."""

from __future__ import annotations

from pathlib import Path

import pytest
from huggingface_hub import constants
from tiny_tortoise import save_tiny_tortoise
from tiny_voices_ar import save_tiny_csm, save_tiny_speecht5

from diffusion_bench.backends.voice.catalog import voice_catalog
from diffusion_bench.backends.voice.facts import voice_model_facts, voice_weights_stamp

COMMIT = "0123456789abcdef0123456789abcdef01234567"


def save_csm(folder: Path) -> Path:
    return save_tiny_csm(folder / "csm")


@pytest.mark.parametrize("save", [save_csm, save_tiny_tortoise])
def test_a_folder_that_is_no_pipeline_of_diffusers_has_a_revision_too(save, tmp_path):
    name = str(save(tmp_path))
    facts = voice_model_facts(name)
    assert facts.revision.startswith("sha256:")
    assert voice_model_facts(name) == facts
    assert tmp_path.name not in str(facts.missing)
    settings = next(Path(name).rglob("config.json"))
    settings.write_text(settings.read_text() + " ")
    assert voice_model_facts(name).revision not in (facts.revision, None)


def test_pickles_that_are_read_are_among_the_weights_that_are_named(tmp_path):
    folder, _ = save_tiny_speecht5(tmp_path)
    pickle = folder / "pytorch_model.bin"
    found = set()
    for content in (b"1", b"22"):
        pickle.write_bytes(content)
        found |= {voice_model_facts(str(folder)).revision, voice_weights_stamp(str(folder))}
    assert len(found) == 4


@pytest.mark.parametrize("name", ["csm", "longcat", "tortoise"])
def test_the_revision_of_a_hub_model_is_its_commit(name, tmp_path, monkeypatch):
    """Tortoise's repository has neither a config.json nor a model_index.json."""
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    assert "not on this machine" in voice_model_facts(name).missing["revision"]
    place = tmp_path / f"models--{voice_catalog()[name].location.replace('/', '--')}"
    (place / "snapshots" / COMMIT).mkdir(parents=True)
    (place / "snapshots" / COMMIT / "weights.safetensors").touch()
    (place / "refs").mkdir()
    (place / "refs" / "main").write_text(COMMIT)
    assert voice_model_facts(name).revision == COMMIT


def test_the_bundled_model_has_a_revision_and_a_schedule():
    facts = voice_model_facts("echo")
    assert facts.revision.startswith("sha256:")
    assert (facts.pipeline, facts.missing) == ("EchoPipeline", {})
