"""Judges with weights on tiny random checkpoints, and the errors they count."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from speech_like import speech_like
from tiny_judges import save_tiny_speaker_encoder, save_tiny_whisper

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.catalog import ModelUnavailable
from diffusion_bench.backends.voice.judges import (
    SPEAKER_MODEL,
    SPEECH_MODEL,
    Judges,
    SpeakerJudge,
    SpeechJudge,
    _cut_at_pauses,
    recognition_errors,
)

RATE = 16_000


@pytest.fixture(scope="module")
def speaker_folder(tmp_path_factory):
    return save_tiny_speaker_encoder(tmp_path_factory.mktemp("wavlm"))


@pytest.fixture(scope="module")
def whisper_folder(tmp_path_factory):
    return save_tiny_whisper(tmp_path_factory.mktemp("whisper"))


def test_a_speaker_is_wholly_like_himself_at_any_rate(speaker_folder):
    judge = SpeakerJudge.load(str(speaker_folder))
    speech = speech_like(2.0, seed=1)
    vector = judge.embed(speech, RATE)
    assert vector.shape == (12,)
    assert float(vector.norm()) == pytest.approx(1, abs=1e-5)
    assert judge.similarity(speech, RATE, speech, RATE) == pytest.approx(1, abs=1e-5)
    # A tiny random network: other input, other vector, no more.
    assert not torch.allclose(judge.embed(speech_like(2.0, seed=2), RATE), vector, atol=1e-6)


def test_too_little_to_tell_a_speaker_from_is_refused(speaker_folder):
    judge = SpeakerJudge.load(str(speaker_folder))
    with pytest.raises(ValueError, match=r"0\.5 s of speech or more"):
        judge.embed(np.zeros(1000, dtype=np.float32), RATE)
    with pytest.raises(ValueError, match="one channel of finite samples"):
        judge.embed(np.full(RATE, np.nan, dtype=np.float32), RATE)


def test_whisper_transcribes_every_thirty_seconds(whisper_folder):
    judge = SpeechJudge.load(str(whisper_folder))
    short = judge.transcribe(speech_like(2.0, seed=1), RATE)
    assert set(short) <= set("abcdefghijklmnopqrstuvwxyz ")
    assert short == judge.transcribe(speech_like(2.0, seed=1), RATE)
    seen = []
    judge._model.model.encoder.register_forward_hook(lambda *_: seen.append(1))
    judge.transcribe(np.zeros(70 * RATE, dtype=np.float32), RATE)
    assert len(seen) == 3
    found = judge.errors(speech_like(2.0, seed=1), RATE, "hello there")
    assert found.heard == short
    assert found.word_error_rate > 0


@pytest.mark.parametrize(
    ("heard", "words", "characters"),
    [
        ("Hello, there friend!", 0, 0),
        ("hello their friend", 1 / 3, 2 / 18),
        ("", 1, 1),
        ("hello there friend friend", 1 / 3, 7 / 18),
    ],
)
def test_errors_are_counted_without_case_and_punctuation(heard, words, characters):
    found = recognition_errors(heard, "Hello there, friend.")
    assert found.word_error_rate == pytest.approx(words)
    assert found.character_error_rate == pytest.approx(characters)


def test_apostrophes_of_all_kinds_are_the_same():
    assert recognition_errors("It\u2019s 'fine'", "it's fine").word_error_rate == 0
    with pytest.raises(ValueError, match="no word in"):
        recognition_errors("hello", "?!")


@pytest.mark.parametrize(
    ("judge", "name"), [(SpeakerJudge, SPEAKER_MODEL), (SpeechJudge, SPEECH_MODEL)]
)
def test_weights_that_cannot_be_had_are_said_in_one_line(judge, name):
    with pytest.raises(ModelUnavailable, match=f"'{name}' is not on this machine and [^\n]+$"):
        judge.load()


def test_a_file_that_lacks_a_tensor_is_refused(speaker_folder, tmp_path):
    from safetensors.torch import load_file, save_file

    for path in speaker_folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(tmp_path / "model.safetensors")
    del state["projector.weight"]
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ModelUnavailable, match=r"lacks \d+ weights .* as projector\.weight"):
        SpeakerJudge.load(str(tmp_path))


def test_a_file_that_was_cut_off_is_one_line(speaker_folder, tmp_path):
    for path in speaker_folder.iterdir():
        whole = path.read_bytes()
        cut = whole[:-100] if path.suffix == ".safetensors" else whole
        (tmp_path / path.name).write_bytes(cut)
    with pytest.raises(ModelUnavailable, match=r"^speaker encoder .+ cannot be loaded: [^\n]+$"):
        SpeakerJudge.load(str(tmp_path))


@pytest.fixture
def both(speaker_folder, whisper_folder):
    return Judges(SpeakerJudge.load(str(speaker_folder)), SpeechJudge.load(str(whisper_folder)))


def test_both_judge_a_candidate_and_say_nothing_where_they_cannot_tell(both):
    speech = speech_like(2.0, seed=1)
    reference = Reference(speech_like(3.0, seed=2), RATE)
    found = both.judge(speech, RATE, "hello there", reference)
    assert found.similarity == pytest.approx(
        both.speaker.similarity(speech, RATE, reference.samples, RATE)
    )
    assert found.errors == both.listener.errors(speech, RATE, "hello there")
    assert both.judge(speech, RATE, "hello there", None).similarity is None
    assert both.judge(speech, RATE, "Привет, 你好!", reference) == (found.similarity, None)
    assert both.judge(speech[: RATE // 4], RATE, "hello there", reference) == (None, None)


def test_a_number_is_the_same_in_digits_and_in_words(both, monkeypatch):
    monkeypatch.setattr(SpeechJudge, "transcribe", lambda *_: "Our GPU costs $5?")
    found = both.listener.errors(speech_like(1.0, seed=1), RATE, "Our G P U costs five dollars.")
    assert (found.word_error_rate, found.character_error_rate) == (0, 0)
    assert found.heard == "Our GPU costs $5?"


def test_of_long_speech_the_speaker_is_told_from_the_beginning(speaker_folder):
    judge = SpeakerJudge.load(str(speaker_folder))
    long = np.concatenate([speech_like(30.0, seed=1), speech_like(5.0, seed=2)])
    assert torch.equal(judge.embed(long, RATE), judge.embed(long[: 30 * RATE], RATE))
    assert not torch.equal(judge.embed(long[: 29 * RATE], RATE), judge.embed(long, RATE))


def test_long_speech_is_cut_where_it_is_quiet_and_a_rest_without_a_word_is_left_out():
    wave = torch.ones(int(60.2 * RATE))
    wave[28 * RATE : int(28.1 * RATE)] = 0
    first, second, rest = _cut_at_pauses(torch.cat([wave, torch.ones(RATE)]))
    assert len(first) / RATE == pytest.approx(28.05)
    assert len(first) + len(second) + len(rest) == len(wave) + RATE
    assert max(len(first), len(second)) <= 30 * RATE
    late = torch.ones(int(30.2 * RATE))
    late[int(29.9 * RATE) : 30 * RATE] = 0
    (only,) = _cut_at_pauses(late)
    assert len(only) / RATE == pytest.approx(29.95)
    assert [len(each) for each in _cut_at_pauses(torch.ones(100))] == [100], "all there is is heard"
