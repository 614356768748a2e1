"""Pocket TTS: its loop is transformers', it streams, and weights that clone nobody say so."""

from __future__ import annotations

import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch
from huggingface_hub import constants
from safetensors.torch import load_file
from tiny_voices import chirp, save_tiny_pocket
from torch import Tensor
from transformers import PocketTTSAudioTokenizerModel

from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.voice import pocket_tts
from diffusion_bench.backends.voice.base import StreamingVoiceModel, Utterance, VoiceState
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.backends.voice.pocket_tts import PocketTts
from diffusion_bench.records import VoiceRequest

TEXT = "Hello there."
FRAME = 1920  # samples


def load(folder: Path, **settings: Any) -> tuple[PocketTts, VoiceState]:
    model = PocketTts.load(
        find_voice_model(str(save_tiny_pocket(folder, **settings))), device="cpu"
    )
    return model, model.encode_voice(chirp(2.0))


@pytest.fixture(scope="module")
def endless(tmp_path_factory: pytest.TempPathFactory) -> tuple[PocketTts, VoiceState]:
    return load(tmp_path_factory.mktemp("endless"), ends="never")


@pytest.fixture(scope="module")
def ending(tmp_path_factory: pytest.TempPathFactory) -> tuple[PocketTts, VoiceState]:
    return load(tmp_path_factory.mktemp("ending"), ends="by chance")


def request(**settings: Any) -> VoiceRequest:
    return VoiceRequest(**{"text": TEXT, "sampler": "native", "steps": 1, **settings})


def say(spoken: tuple[PocketTts, VoiceState], text: str = TEXT, **settings: Any) -> Utterance:
    model, voice = spoken
    return model.speak(text, voice, request(**settings), lambda index, total: None)


def stream(
    spoken: tuple[PocketTts, VoiceState], text: str = TEXT, **settings: Any
) -> tuple[list[Tensor], list[int], Utterance]:
    """Return the pieces of a stream, how many frames were made when each came, and its end."""
    model, voice = spoken
    told: list[int] = []
    pieces, made = [], []
    speech = model.speak_stream(text, voice, request(**settings), lambda i, _: told.append(i))
    while True:
        try:
            pieces.append(next(speech))
        except StopIteration as end:
            return pieces, made, end.value
        made.append(len(told))


def test_a_codec_that_is_here_is_not_asked_for_on_the_hub(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_tiny_pocket(tmp_path)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    kept = tmp_path / "hub" / "models--tiny--codec"
    (kept / "refs").mkdir(parents=True)
    (kept / "refs" / "main").write_text("0" * 40)
    (kept / "snapshots").mkdir()
    (tmp_path / "codec").rename(kept / "snapshots" / ("0" * 40))
    config = folder / "processor_config.json"
    told = json.loads(config.read_text())
    told["audio_tokenizer"]["audio_tokenizer_name_or_path"] = "tiny/codec"
    config.write_text(json.dumps(told))
    asked = []
    from_pretrained = PocketTTSAudioTokenizerModel.from_pretrained.__func__

    def spy(cls: Any, place: str, **options: Any) -> Any:
        asked.append(not Path(place).is_dir() and not options.get("local_files_only"))
        return from_pretrained(cls, place, **options | {"cache_dir": tmp_path / "hub"})

    monkeypatch.setattr(PocketTTSAudioTokenizerModel, "from_pretrained", classmethod(spy))
    model = PocketTts.load(find_voice_model(str(folder)), device="cpu")
    assert asked == [False, False]
    assert model.encode_voice(chirp(2.0)).tensors["latents"].any()


@pytest.mark.parametrize("steps", [1, 3])
def test_its_loop_is_that_of_transformers_bit_for_bit(
    ending: tuple[PocketTts, VoiceState], steps: int
) -> None:
    model, voice = ending
    said = say(ending, steps=steps, seed=11, temperature=0.7)
    inputs = model._prompt(TEXT, voice, 1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(11)
        made = model._model.generate(
            **inputs,
            do_sample=True,
            temperature=0.7,
            num_flow_steps=steps,
            return_dict_in_generate=True,
        )
    expected = model._processor.decode(made.audio_latents, made.audio_latents_mask)[0]
    assert said.lengths == (len(expected),)
    assert torch.equal(said.audio[0], expected)


def test_steps_are_passes_of_the_flow_head(ending: tuple[PocketTts, VoiceState]) -> None:
    passes: list[object] = []
    hook = ending[0]._model.flow_head.register_forward_hook(lambda *_: passes.append(None))
    said = say(ending, steps=4)
    hook.remove()
    assert len(passes) == 4 * len(said.step_s)


def test_without_noise_every_seed_says_the_same(ending: tuple[PocketTts, VoiceState]) -> None:
    still = say(ending, temperature=0, seed=1)
    assert torch.equal(still.audio, say(ending, temperature=0, seed=2).audio)
    assert not torch.equal(say(ending, seed=1).audio, say(ending, seed=2).audio)


def test_candidates_end_on_their_own_and_are_followed_by_silence(
    ending: tuple[PocketTts, VoiceState],
) -> None:
    said = say(ending, batch=4)
    assert len(set(said.lengths)) > 1
    for index, length in enumerate(said.lengths):
        assert length % FRAME == 0
        assert not said.audio[index, length:].any()
        alone = say(ending, seed=index)
        assert alone.lengths == (length,)
        torch.testing.assert_close(alone.audio[0], said.audio[index, :length], atol=2e-3, rtol=0)


def test_a_stream_is_the_whole_in_pieces(endless: tuple[PocketTts, VoiceState]) -> None:
    pieces, _, said = stream(endless, batch=2)
    assert isinstance(endless[0], StreamingVoiceModel)
    # What is looked back at is less than what there is, so that the bound is put to the test.
    assert len(said.step_s) > 4 * pocket_tts.NEXT_FRAMES
    torch.testing.assert_close(torch.cat(pieces, dim=1), said.audio, atol=0, rtol=0)
    whole = say(endless, batch=2)
    assert said.lengths == whole.lengths
    torch.testing.assert_close(said.audio, whole.audio, atol=1e-5, rtol=0)


def test_a_stream_is_heard_while_it_is_made(endless: tuple[PocketTts, VoiceState]) -> None:
    pieces, made, said = stream(endless)
    assert made[0] == pocket_tts.FIRST_FRAMES < len(said.step_s)
    assert pieces[0].shape == (1, pocket_tts.FIRST_FRAMES * FRAME)
    assert made == sorted(set(made))


def test_a_stream_of_candidates_that_end_apart_is_the_whole(
    ending: tuple[PocketTts, VoiceState],
) -> None:
    pieces, _, said = stream(ending, batch=4)
    whole = say(ending, batch=4)
    assert said.lengths == whole.lengths
    torch.testing.assert_close(torch.cat(pieces, dim=1), whole.audio, atol=1e-5, rtol=0)


def test_the_time_between_pieces_is_the_listeners(endless: tuple[PocketTts, VoiceState]) -> None:
    model, voice = endless
    waiting = threading.Event()
    pieces, slept_s, start_s = 0, 0.0, time.perf_counter()
    speech = model.speak_stream(TEXT, voice, request(), lambda index, total: None)
    while True:
        try:
            next(speech)
        except StopIteration as end:
            said = end.value
            break
        pieces += 1
        waits_s = time.perf_counter()
        waiting.wait(0.05)
        slept_s += time.perf_counter() - waits_s
    wall_s = time.perf_counter() - start_s
    assert slept_s >= 0.05 * pieces > 0.2
    stages_s = said.text_s + said.prior_s + said.denoising_s + said.vocoder_s
    assert stages_s <= wall_s - slept_s
    assert sum(said.step_s) <= wall_s - slept_s - said.vocoder_s


def test_a_stream_that_is_given_up_does_no_more_work(
    endless: tuple[PocketTts, VoiceState],
) -> None:
    model, voice = endless
    told: list[int] = []
    speech = model.speak_stream(TEXT, voice, request(), lambda index, _: told.append(index))
    next(speech)
    speech.close()
    assert len(told) == pocket_tts.FIRST_FRAMES
    assert torch.is_grad_enabled()  # a loop left half way must not leave its mode behind


def test_speech_that_does_not_end_is_stopped_and_said(
    endless: tuple[PocketTts, VoiceState], ending: tuple[PocketTts, VoiceState]
) -> None:
    (warning,) = say(endless).warnings
    assert "did not come to an end" in warning
    assert not say(ending).warnings


def test_of_a_long_recording_the_first_30_s_are_used(ending: tuple[PocketTts, VoiceState]) -> None:
    model, _ = ending
    frames = len(model.encode_voice(chirp(33.0)).tensors["latents"])
    assert 30 * 12.5 - 3 <= frames <= 30 * 12.5 + 1


def test_weights_without_an_encoder_say_how_to_get_those_with_one(
    tmp_path: Path, ending: tuple[PocketTts, VoiceState]
) -> None:
    model = PocketTts.load(
        find_voice_model(str(save_tiny_pocket(tmp_path, encoder=False))), device="cpu"
    )
    with pytest.raises(ModelUnavailable, match=r"^[^\n]+$") as caught:
        model.encode_voice(chirp(2.0))
    assert "accept the terms at https://huggingface.co/kyutai/pocket-tts" in str(caught.value)
    assert "hf auth login" in str(caught.value)
    # A voice that was encoded before is one all the same.
    saved = VoiceState(model.entry.name, ending[1].tensors)
    assert say((model, saved)).audio.std() > 0.01


def test_a_codec_that_is_a_pickle_is_not_read(tmp_path: Path) -> None:
    folder = save_tiny_pocket(tmp_path)
    weights = tmp_path / "codec" / "model.safetensors"
    torch.save(load_file(weights), weights.with_name("pytorch_model.bin"))
    weights.unlink()
    with pytest.raises(ModelUnavailable, match=r"^[^\n]+safetensors[^\n]*$"):
        PocketTts.load(find_voice_model(str(folder)), device="cpu")
