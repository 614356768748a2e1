"""What every diffusing voice model of the hub keeps to, on tiny ones of their real classes."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import numpy as np
import pytest
import torch
from tiny_voices import chirp, save_tiny_longcat, save_tiny_pocket, save_tiny_vibevoice
from transformers.utils.hub import hf_api

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.voice import vibevoice
from diffusion_bench.backends.voice.base import Utterance, VoiceModel, VoiceState
from diffusion_bench.backends.voice.catalog import load_voice_model, voice_catalog
from diffusion_bench.records import VoiceRequest

MODELS = {
    "pocket-tts": save_tiny_pocket,
    "vibevoice": save_tiny_vibevoice,
    "longcat": save_tiny_longcat,
}
TEXT = "Hi you."


class Stop(Exception):
    """What a watcher raises to cancel."""


class Speaker:
    """A tiny model with one voice, asked with its usual settings unless told otherwise."""

    def __init__(self, name: str, folder: Path) -> None:
        self.entry = voice_catalog()[name]
        self.folder = MODELS[name](folder)
        self.model = load_voice_model(str(self.folder), device="cpu", precision="fp32")
        self.voice = self.model.encode_voice(chirp(2.0))

    def request(self, **settings: Any) -> VoiceRequest:
        usual = {
            "text": TEXT,
            "sampler": self.entry.samplers[0],
            "steps": 2,
            "guidance_scale": self.entry.guidance_scale,
            "temperature": self.entry.temperature,
        }
        return VoiceRequest(**{**usual, **settings})

    def say(self, text: str = TEXT, voice: VoiceState | None = None, **settings: Any) -> Utterance:
        request = self.request(**settings)
        return self.model.speak(text, voice or self.voice, request, lambda index, total: None)


@pytest.fixture(scope="module", params=MODELS)
def speaker(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Speaker]:
    with pytest.MonkeyPatch.context() as patch:
        # Random models never come to an end, and a test need not wait for it.
        patch.setattr(vibevoice, "SPEECH_S", (0.05, 1.0))
        yield Speaker(request.param, tmp_path_factory.mktemp(request.param))


@pytest.fixture(scope="module")
def spoken(speaker: Speaker) -> Utterance:
    return speaker.say()


def differ(one: Utterance, other: Utterance) -> bool:
    length = min(one.lengths[0], other.lengths[0])
    return float((one.audio[0, :length] - other.audio[0, :length]).abs().max()) > 1e-4


def test_a_model_loaded_from_a_folder_speaks(speaker: Speaker, spoken: Utterance) -> None:
    assert isinstance(speaker.model, VoiceModel)
    assert speaker.model.entry.source == "folder"
    assert spoken.audio.shape == (1, spoken.lengths[0])
    assert spoken.audio.dtype == torch.float32
    assert spoken.audio.std() > 0.01
    assert spoken.audio.abs().max() <= 1


def test_the_same_seed_says_the_same_and_another_something_else(
    speaker: Speaker, spoken: Utterance
) -> None:
    torch.manual_seed(12345)  # what the program drew before is to have no part in it
    assert torch.equal(speaker.say().audio, spoken.audio)
    assert differ(speaker.say(seed=1), spoken)


def test_the_global_random_numbers_are_left_as_they_were(speaker: Speaker) -> None:
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    speaker.model.encode_voice(chirp(1.5))
    speaker.say()
    assert torch.equal(torch.rand(3), expected)


def test_voice_text_and_steps_reach_the_sound(speaker: Speaker, spoken: Utterance) -> None:
    other = speaker.model.encode_voice(chirp(2.0, low_hz=300))
    assert differ(speaker.say(voice=other), spoken)
    assert differ(speaker.say("Ho you."), spoken)
    assert differ(speaker.say(steps=5), spoken)


def test_a_voice_is_encoded_the_same_each_time(speaker: Speaker) -> None:
    again = speaker.model.encode_voice(chirp(2.0))
    for name, tensor in speaker.voice.tensors.items():
        assert tensor.device.type == "cpu"
        assert torch.equal(again.tensors[name], tensor)


def test_a_recording_at_another_rate_is_the_same_voice(speaker: Speaker) -> None:
    at_48_khz = speaker.model.encode_voice(chirp(2.0, sample_rate=48_000))
    for name, tensor in speaker.voice.tensors.items():
        assert at_48_khz.tensors[name].shape == tensor.shape
        difference = (at_48_khz.tensors[name] - tensor).abs().median()
        assert difference < 0.05 * tensor.abs().median()


def test_a_candidate_sounds_as_it_would_alone(speaker: Speaker) -> None:
    together = speaker.say(batch=2, seed=5)
    for index in range(2):
        alone = speaker.say(seed=5 + index)
        assert together.lengths[index] == alone.lengths[0]
        torch.testing.assert_close(
            together.audio[index, : alone.lengths[0]], alone.audio[0], atol=2e-3, rtol=0
        )


def test_each_step_is_told_and_timed_and_the_stages_add_up(speaker: Speaker) -> None:
    told: list[tuple[int, int]] = []
    request = speaker.request(steps=3)
    said = speaker.model.speak(TEXT, speaker.voice, request, lambda *step: told.append(step))
    assert [index for index, _ in told] == list(range(len(told)))
    assert len(told) == len(said.step_s) > 2
    assert all(seconds > 0 for seconds in said.step_s)
    # The frames of a language model are not known beforehand; the steps of a solver are.
    assert {total for _, total in told} == {3 if speaker.entry.family.startswith("long") else 0}
    assert min(said.text_s, said.denoising_s, said.vocoder_s) > 0
    in_steps = said.prior_s + said.denoising_s
    assert sum(said.step_s) <= in_steps + said.vocoder_s
    assert sum(said.step_s) >= 0.5 * in_steps


def test_the_watchers_own_time_counts_for_nothing(speaker: Speaker) -> None:
    waiting = threading.Event()
    slept_s = 0.0

    def slow(index: int, total: int) -> None:
        nonlocal slept_s
        if index < 2:
            start_s = time.perf_counter()
            waiting.wait(0.1)
            slept_s += time.perf_counter() - start_s

    start_s = time.perf_counter()
    said = speaker.model.speak(TEXT, speaker.voice, speaker.request(), slow)
    wall_s = time.perf_counter() - start_s
    assert slept_s >= 0.2
    stages_s = said.text_s + said.prior_s + said.denoising_s + said.vocoder_s
    assert max(stages_s, sum(said.step_s)) <= wall_s - slept_s


def test_a_watcher_that_raises_stops_it_at_once_and_it_still_works(
    speaker: Speaker, spoken: Utterance
) -> None:
    told = []

    def stop(index: int, total: int) -> None:
        told.append(index)
        if index == 1:
            raise Stop

    with pytest.raises(Stop):
        speaker.model.speak(TEXT, speaker.voice, speaker.request(), stop)
    assert told == [0, 1]
    assert torch.equal(speaker.say().audio, spoken.audio)


def test_what_a_model_has_not_is_refused_in_one_line(speaker: Speaker) -> None:
    unfit: list[dict[str, Any]] = [{"vocoder": "griffin-lim"}]
    unfit += (
        [{"sampler": "native"}]
        if speaker.entry.family == "vibevoice"
        else [{"sampler": name} for name in ("ddim", "ddpm", "dpm++", "unipc")]
    )
    if speaker.entry.guidance_scale == 1:
        unfit.append({"guidance_scale": 3.0})
    if speaker.entry.family != "longcat_audio_dit":
        unfit.append({"speed": 1.5})
    for settings in unfit:
        with pytest.raises(ValueError, match=r"^[^\n]+$"):
            speaker.say(**settings)


def test_the_voice_of_another_model_is_refused(speaker: Speaker) -> None:
    foreign = VoiceState("echo", speaker.voice.tensors, speaker.voice.facts)
    with pytest.raises(ValueError, match="encoded by echo"):
        speaker.say(voice=foreign)


def test_a_recording_that_is_too_short_or_silent_is_refused(speaker: Speaker) -> None:
    with pytest.raises(ValueError, match=r"0\.2 s|1 to 15 s"):
        speaker.model.encode_voice(chirp(0.2))
    silent = Reference(np.zeros(48_000, np.float32), 24_000, "So it was.")
    with pytest.raises(ValueError, match="silent"):
        speaker.model.encode_voice(silent)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_speaks(speaker: Speaker, precision: Any) -> None:
    model = load_voice_model(str(speaker.folder), device="cpu", precision=precision)
    voice = model.encode_voice(chirp(2.0))
    said = model.speak(TEXT, voice, speaker.request(), lambda index, total: None)
    assert torch.isfinite(said.audio).all()
    assert said.audio.std() > 0.01


# -- weights that cannot be had


def test_a_pickle_is_not_read(speaker: Speaker, tmp_path: Path) -> None:
    for path in speaker.folder.rglob("*"):
        target = tmp_path / path.relative_to(speaker.folder)
        if path.suffix == ".safetensors":
            torch.save({}, target.with_name("pytorch_model.bin"))
        elif path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            target.write_bytes(path.read_bytes())
    with pytest.raises(ModelUnavailable, match=r"^[^\n]+$"):
        load_voice_model(str(tmp_path), device="cpu", precision="fp32")


def test_a_model_that_was_never_downloaded_is_one_line(speaker: Speaker) -> None:
    with pytest.raises(ModelUnavailable, match=r"^[^\n]+$") as caught:
        load_voice_model(speaker.entry, device="cpu", precision="fp32")
    assert "not on this machine" in str(caught.value)
    assert ("accept the terms" in str(caught.value)) == speaker.entry.gated


def test_a_cut_off_file_is_one_line(speaker: Speaker, tmp_path: Path) -> None:
    for path in speaker.folder.rglob("*"):
        target = tmp_path / path.relative_to(speaker.folder)
        if path.is_dir():
            target.mkdir(exist_ok=True)
        else:
            whole = path.read_bytes()
            target.write_bytes(whole[:-100] if path.suffix == ".safetensors" else whole)
    with pytest.raises(ModelUnavailable, match=r"^[^\n]+$"):
        load_voice_model(str(tmp_path), device="cpu", precision="fp32")


class Gate(BaseHTTPRequestHandler):
    """A hub that tells of its models, and gives their files to nobody who is not logged in."""

    def do_GET(self) -> None:
        is_about_model = self.path.startswith("/api/")
        files = [{"rfilename": name} for name in ("config.json", "model_index.json")]
        about = {"id": "somebody/secret", "sha": "0" * 40, "gated": "manual", "siblings": files}
        body = json.dumps([] if "/tree/" in self.path else about).encode()
        body = body if is_about_model else b""
        self.send_response(200 if is_about_model else 401)
        if not is_about_model:
            self.send_header("X-Error-Code", "GatedRepo")
            self.send_header("X-Error-Message", "Access to this model is restricted.")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    do_HEAD = do_GET  # noqa: N815 (as http.server names it)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def gated_hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let the libraries ask a `Gate` for models."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Gate)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    address = f"http://127.0.0.1:{server.server_port}"
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    constants = huggingface_hub.constants
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_DISABLE_TELEMETRY", True)
    monkeypatch.setattr(constants, "ENDPOINT", address)
    template = address + "/{repo_id}/resolve/{revision}/{filename}"
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", template)
    for api in (huggingface_hub.hf_api.api, hf_api()):
        monkeypatch.setattr(api, "endpoint", address)
    huggingface_hub.close_session()  # whatever was built for no network
    yield
    huggingface_hub.close_session()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.usefixtures("gated_hub")
def test_a_gated_model_says_where_to_accept_its_terms(speaker: Speaker) -> None:
    changes = {"name": "secret", "location": "somebody/secret", "gated": False}
    secret = speaker.entry.model_copy(update=changes)  # nobody knew that it is gated
    with pytest.raises(ModelUnavailable, match=r"^[^\n]+$") as caught:
        load_voice_model(secret, device="cpu", precision="fp32")
    assert "accept the terms on huggingface.co/somebody/secret" in str(caught.value)
    assert "hf auth login" in str(caught.value)
