"""One loaded model, of pictures or of speech, and one job at a time, on the CPU."""

from __future__ import annotations

import weakref
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import fake_voices
import numpy as np
import pytest
import torch
from fake_voices import FakeVoiceModel, make_entry, make_reference
from safetensors.torch import load_file, save_file
from tiny_echo import save_tiny_echo
from tiny_models import save_tiny_sd

from diffusion_bench.backends import engine as engine_module
from diffusion_bench.backends.catalog import UnknownModel
from diffusion_bench.backends.device import DeviceBusy, hold_device
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.backends.voice.base import VoiceState
from diffusion_bench.backends.voice.facts import voice_model_facts
from diffusion_bench.backends.voice.voices import find_voice, save_voice
from diffusion_bench.records import Cancelled, ImageRequest, Step, VoiceRequest, VoiceStep


@pytest.fixture(scope="module")
def engine() -> Engine:
    return Engine("cpu")


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> str:
    return str(save_tiny_sd(tmp_path_factory.mktemp("sd")))


def ask(**settings: object) -> ImageRequest:
    return ImageRequest(**{"prompt": "a cat", "steps": 2, "width": 32, "height": 32, **settings})


def test_a_model_is_loaded_once_for_each_precision(engine: Engine, tiny: str) -> None:
    engine.unload()
    first, fresh = engine.backend(tiny, "fp32")
    assert fresh
    assert engine.backend(tiny, "fp32") == (first, False)
    other, fresh = engine.backend(tiny, "bf16")
    assert fresh
    assert (other.model, other.precision, other.device) == (tiny, "bf16", "cpu")


def test_a_folder_whose_weights_have_changed_is_loaded_anew(engine: Engine, tmp_path: Path) -> None:
    model = str(save_tiny_sd(tmp_path))
    before = engine.generate(ask(model=model))
    assert not engine.backend(model, "fp32")[1]
    weights = next((tmp_path / "sd" / "unet").glob("*.safetensors"))
    doubled = {name: 2 * each for name, each in load_file(weights).items()}
    weights.unlink()  # the loaded model may still read the old file
    save_file(doubled, weights, {"format": "pt"})
    after = engine.generate(ask(model=model))
    assert np.asarray(before.images[0]).tolist() != np.asarray(after.images[0]).tolist()
    (tmp_path / "sd" / "sample.png").touch()
    assert not engine.backend(model, "fp32")[1]


def test_a_voice_model_whose_weights_have_changed_is_loaded_anew(
    engine: Engine, tmp_path: Path
) -> None:
    """Else the recipe of what it says would name weights that did not speak."""
    model = str(save_tiny_echo(tmp_path / "echo"))
    request = VoiceRequest(text="Good morning.", model=model, steps=2)
    before = engine.speak(request, make_reference())
    assert not engine.voice_backend(model, "fp32")[1]
    weights = next((tmp_path / "echo" / "prior").glob("*.safetensors"))
    doubled = {name: 2 * each for name, each in load_file(weights).items()}
    weights.unlink()  # the loaded model may still read the old file
    save_file(doubled, weights, {"format": "pt"})
    after = engine.speak(request, make_reference())
    assert before.audio.tolist() != after.audio.tolist()
    assert not engine.voice_backend(model, "fp32")[1]


def test_a_saved_voice_that_other_weights_encoded_speaks_with_a_warning_that_names_both(
    engine: Engine, tmp_path: Path
) -> None:
    model = str(save_tiny_echo(tmp_path / "echo"))
    request = VoiceRequest(text="Good morning.", model=model, steps=2)
    save_voice("mum", engine.encode_voice(model, "fp32", make_reference()))
    mum = find_voice("mum", model)
    assert isinstance(mum, VoiceState)
    then = voice_model_facts(model).revision
    assert mum.weights == then
    quiet = engine.speak(request, mum).warnings
    weights = next((tmp_path / "echo" / "prior").glob("*.safetensors"))
    doubled = {name: 2 * each for name, each in load_file(weights).items()}
    weights.unlink()  # the loaded model may still read the old file
    save_file(doubled, weights, {"format": "pt"})
    now = voice_model_facts(model).revision
    assert f"({then} then, {now} now)" in engine.speak(request, mum).warnings[-1]
    assert engine.encode_voice(model, "fp32", mum).weights == then, "saved anew it stays what it is"
    of_before = replace(mum, weights=None)  # its file named none
    assert not any("weights" in line for line in engine.speak(request, of_before).warnings + quiet)


def test_the_old_model_is_gone_before_the_new_one_is_loaded(
    engine: Engine, tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two models at once may not fit."""
    old = weakref.ref(engine.backend(tiny, "fp32")[0])
    alive_at_load: list[bool] = []
    load = ImageBackend.load

    def watched(model: str, **settings: object) -> ImageBackend:
        alive_at_load.append(old() is not None)
        return load(model, **settings)

    monkeypatch.setattr(ImageBackend, "load", watched)
    engine.backend(tiny, "bf16")
    assert alive_at_load == [False]


def test_unloading_lets_the_model_go_and_may_be_done_twice(engine: Engine, tiny: str) -> None:
    held = weakref.ref(engine.backend(tiny, "fp32")[0])
    engine.unload()
    engine.unload()
    assert held() is None


def test_memory_is_collected_before_each_loading_but_the_first(
    tiny: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A collection takes a quarter of a second; what failed to load may have left something."""
    collected: list[bool] = []
    collecting = SimpleNamespace(collect=lambda: collected.append(True))
    monkeypatch.setattr(engine_module, "gc", collecting)
    fresh = Engine("cpu")
    with pytest.raises(UnknownModel):
        fresh.generate(ask(model="nope"))
    assert collected == []
    fresh.backend(tiny, "fp32")
    assert collected == [True]
    fresh.unload()
    assert collected == [True, True]


def test_unloading_gives_back_what_metal_holds(monkeypatch: pytest.MonkeyPatch) -> None:
    given_back: list[bool] = []
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.mps, "empty_cache", lambda: given_back.append(True))
    Engine("mps").unload()
    assert given_back == [True]


def test_a_generation_holds_the_device_and_lets_it_go(engine: Engine, tiny: str) -> None:
    busy: list[bool] = []

    def on_step(step: Step) -> None:
        with pytest.raises(DeviceBusy), hold_device("cpu"):
            pass
        busy.append(True)

    generation = engine.generate(ask(model=tiny), on_step)
    assert busy == [True, True]
    assert generation.device == "cpu"
    with hold_device("cpu"):
        pass


def test_a_taken_device_is_waited_for_as_long_as_asked(engine: Engine, tiny: str) -> None:
    waits: list[int] = []

    def on_wait() -> None:
        waits.append(1)
        if len(waits) == 2:
            raise Cancelled

    with hold_device("cpu"):
        with pytest.raises(DeviceBusy):
            engine.generate(ask(model=tiny))
        with pytest.raises(Cancelled):
            engine.generate(ask(model=tiny), wait_s=60, on_wait=on_wait)
    engine.generate(ask(model=tiny))


def test_cancelling_lets_the_device_go_and_keeps_the_model(engine: Engine, tiny: str) -> None:
    def cancel(step: Step) -> None:
        raise Cancelled

    engine.generate(ask(model=tiny))
    with pytest.raises(Cancelled):
        engine.generate(ask(model=tiny), cancel)
    assert engine.backend(tiny, "fp32")[1] is False
    engine.generate(ask(model=tiny))


def test_a_model_that_cannot_be_loaded_leaves_an_engine_that_can_go_on(
    engine: Engine, tiny: str, tmp_path: Path
) -> None:
    for model in ("nope", str(tmp_path)):
        with pytest.raises(UnknownModel):
            engine.generate(ask(model=model))
    assert len(engine.generate(ask(model=tiny)).images) == 1


def test_an_engine_is_made_without_torch_and_refuses_a_device_when_asked_to_draw() -> None:
    with pytest.raises(ValueError, match="device 'cuda:99' cannot be used here"):
        Engine("cuda:99").generate(ask())


@pytest.fixture
def loaded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let there be two voice models, `echo` and `pocket`; fill with the names that are loaded."""
    return fake_voices.install(
        monkeypatch, FakeVoiceModel(), FakeVoiceModel(make_entry(name="pocket"))
    )


def say(model: str = "echo") -> VoiceRequest:
    return VoiceRequest(text="Three short words.", model=model, steps=2)


def test_speech_is_spoken_by_a_model_that_is_loaded_once(engine: Engine, loaded: list[str]) -> None:
    engine.unload()
    for _ in range(2):
        assert engine.speak(say(), make_reference()).audio_s > 1
    assert loaded == ["echo"]
    backend, fresh = engine.voice_backend("echo", "fp32")
    assert not fresh
    assert (backend.model, backend.precision, backend.device) == ("echo", "fp32", "cpu")
    assert engine.voice_backend("echo", "bf16")[1]
    assert engine.voice_backend("pocket", "bf16")[1]
    assert loaded == ["echo", "echo", "pocket"]


def test_a_voice_model_and_a_picture_model_never_are_loaded_together(
    engine: Engine, tiny: str, loaded: list[str]
) -> None:
    picture = weakref.ref(engine.backend(tiny, "fp32")[0])
    voice = weakref.ref(engine.voice_backend("echo", "fp32")[0])
    assert picture() is None
    assert engine.backend(tiny, "fp32")[1]
    assert voice() is None
    engine.voice_backend("echo", "fp32")
    engine.unload()
    assert engine.voice_backend("echo", "fp32")[1]


def test_speech_holds_the_device_and_lets_it_go_when_cancelled(
    engine: Engine, loaded: list[str]
) -> None:
    def cancel(step: VoiceStep) -> None:
        with pytest.raises(DeviceBusy), hold_device("cpu"):
            pass
        raise Cancelled

    with pytest.raises(Cancelled):
        engine.speak(say(), make_reference(), cancel)
    with hold_device("cpu"), pytest.raises(DeviceBusy):
        engine.speak(say(), make_reference())
    pieces: list[object] = []
    engine.speak(say(), make_reference(), on_audio=pieces.append)
    assert len(pieces) == 1


def test_an_unknown_voice_model_leaves_an_engine_that_can_go_on(
    engine: Engine, loaded: list[str]
) -> None:
    with pytest.raises(UnknownModel, match="unknown voice model 'nope'"):
        engine.speak(say("nope"), make_reference())
    assert engine.speak(say(), make_reference()).num_chunks == 1
