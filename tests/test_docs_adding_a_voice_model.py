"""The page on adding a voice model, followed word by word."""

from __future__ import annotations

import json
import re
import sys
import tomllib
from pathlib import Path
from types import ModuleType

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import save_file
from tiny_voices_ar import hum

from diffusion_bench.backends.voice import catalog
from diffusion_bench.backends.voice.base import VoiceEntry, VoiceModel
from diffusion_bench.backends.voice.describe import describe
from diffusion_bench.backends.voice.synthesis import VoiceBackend
from diffusion_bench.records import Cancelled, VoiceRequest

PAGE = Path(__file__).resolve().parents[1] / "docs" / "adding-a-voice-model.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```", PAGE.read_text(encoding="utf-8"), re.M | re.S)
ROWS = tomllib.loads(next(text for kind, text in BLOCKS if kind == "toml"))
CLASS, LINE = (text for kind, text in BLOCKS if kind == "python")


def save_hum(folder: Path) -> None:
    save_file({"burst": torch.hann_window(800)}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps({"model_type": "hum"}), encoding="utf-8")


@pytest.fixture
def followed(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> VoiceEntry:
    """Do what the page says, with the weights in a folder, and return the new entry."""
    families = eval(f"{{{LINE}}}", {"Family": catalog.Family})
    for name, family in families.items():
        monkeypatch.setitem(catalog.FAMILIES, name, family)
        module = ModuleType(family.module)
        exec(compile(CLASS, str(PAGE), "exec"), module.__dict__)
        monkeypatch.setitem(sys.modules, family.module, module)
    save_hum(tmp_path)
    (name, row), *others = ROWS.items()
    assert not others
    entry = VoiceEntry.model_validate({"name": name, **row, "location": str(tmp_path)})
    offered = {**catalog.voice_catalog(), name: entry}
    monkeypatch.setattr(catalog, "voice_catalog", lambda: offered)
    return entry


def test_the_table_names_every_field_truly() -> None:
    entry = VoiceEntry.model_validate({"name": "hum", **ROWS["hum"]})
    assert describe(entry)[0] == "Needs 1 to 10 s of one voice; no transcript"
    assert "To be fetched from huggingface.co/owner/hum" in describe(entry)[2]


def test_the_new_model_speaks_by_its_name_and_by_its_folder(followed: VoiceEntry) -> None:
    request = VoiceRequest(text="Hello over there.", model="hum", sampler="native", batch=2)
    assert catalog.find_voice_model("hum") == followed
    by_name = VoiceBackend.load("hum", device="cpu")
    assert isinstance(by_name.voice_model, VoiceModel)
    speech = by_name.generate(request, hum())
    assert speech.sample_rate == 8000
    assert len(speech.step_s) == 2 * len(request.text)
    assert speech.audio_s > 0.5
    assert speech.audio.std() > 0


def test_the_entry_as_the_page_has_it_is_loaded_from_the_hub(
    followed: VoiceEntry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    as_written = followed.model_copy(update={"location": ROWS["hum"]["location"]})
    assert as_written.source == "hub"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    with pytest.raises(catalog.ModelUnavailable, match="not on this machine"):
        catalog.load_voice_model(as_written, device="cpu", precision="fp32")
    fetched = tmp_path / "hub" / "models--owner--hum"
    (fetched / "refs").mkdir(parents=True)
    (fetched / "refs" / "main").write_text("0" * 40, encoding="utf-8")
    (fetched / "snapshots" / ("0" * 40)).mkdir(parents=True)
    save_hum(fetched / "snapshots" / ("0" * 40))
    model = catalog.load_voice_model(as_written, device="cpu", precision="fp32")
    assert model.encode_voice(hum()).tensors["loudness"] > 0


def test_it_keeps_what_the_page_promises(followed: VoiceEntry) -> None:
    model = catalog.load_voice_model("hum", device="cpu", precision="fp32")
    state = model.encode_voice(hum())
    request = VoiceRequest(text="Hello.", model="hum", sampler="native", batch=2)

    def stop(*_: int) -> None:
        raise Cancelled

    before = torch.get_rng_state()
    both = model.speak(request.text, state, request, lambda *_: None)
    alone = model.speak(request.text, state, request.of_candidate(1), lambda *_: None)
    assert torch.equal(both.audio[1], alone.audio[0])
    assert not torch.equal(both.audio[0], both.audio[1])
    with pytest.raises(Cancelled):
        model.speak(request.text, state, request, stop)
    assert torch.equal(torch.get_rng_state(), before)
    with pytest.raises(ValueError, match="hum has no guidance"):
        model.speak(
            request.text,
            state,
            request.model_copy(update={"guidance_scale": 2.0}),
            lambda *_: None,
        )
    (Path(followed.location) / "model.safetensors").unlink()
    with pytest.raises(catalog.ModelUnavailable, match="voice model 'hum'"):
        catalog.load_voice_model("hum", device="cpu", precision="fp32")
