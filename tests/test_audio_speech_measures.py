"""What judging speech finds: silence, pace, pitch, repetition, and what it cannot tell."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch
import torchaudio
from speech_like import speech_like

from diffusion_bench.audio.reference import Reference
from diffusion_bench.audio.speech_measures import judge_speech

RATE = 16_000
TEXT = "These are about sixty characters that take five seconds or so."


def reference(samples):
    return Reference(samples.astype(np.float32), RATE)


def silence(seconds):
    return np.zeros(int(seconds * RATE), dtype=np.float32)


def faster(samples, factor):
    """Return speech played faster, so that its pitch rises too."""
    played = torchaudio.functional.resample(torch.from_numpy(samples), int(1000 * factor), 1000)
    return played.numpy()


def test_speech_against_itself_differs_in_nothing():
    speech = speech_like(5.0, seed=1)
    found = judge_speech(speech, RATE, TEXT, expected_s=5.5, reference=reference(speech))
    assert found.pitch_semitones == 0
    assert found.rate_ratio == 1
    assert found.timbre_similarity == pytest.approx(1, abs=1e-5)
    assert found.expected_s == 5.5
    assert found.duration_ratio == pytest.approx(found.duration_s / 5.5)
    assert found.duration_s == pytest.approx(5.0, abs=0.5)
    assert 1 < found.syllables_per_s < 8
    assert found.missing == {}
    assert found.warnings == ()


def test_silence_at_the_ends_is_measured_and_is_not_speech():
    speech = speech_like(4.0, seed=1)
    plain = judge_speech(speech, RATE)
    padded = judge_speech(np.concatenate([silence(0.5), speech, silence(1.5)]), RATE)
    assert padded.leading_silence_s - plain.leading_silence_s == pytest.approx(0.5, abs=0.03)
    assert padded.trailing_silence_s - plain.trailing_silence_s == pytest.approx(1.5, abs=0.03)
    assert padded.duration_s == pytest.approx(plain.duration_s, abs=0.03)
    assert padded.silence_share > plain.silence_share + 0.2
    assert any("of silence before" in line for line in padded.warnings)


def test_pitch_and_pace_are_told_against_the_reference():
    speech = speech_like(5.0, seed=1)
    found = judge_speech(faster(speech, 1.6), RATE, reference=reference(speech))
    assert found.pitch_semitones == pytest.approx(12 * np.log2(1.6), abs=0.5)
    assert 1.3 < found.rate_ratio < 1.9
    assert any("semitones above the reference" in line for line in found.warnings)
    assert found.timbre_similarity < 0.9


@pytest.mark.parametrize(("speed", "told"), [(1.0, 1), (1.6, 0), (0.5, 1)])
def test_a_rate_is_doubtful_against_the_speed_that_was_asked_for(speed, told):
    speech = speech_like(5.0, seed=1)
    found = judge_speech(faster(speech, 1.8), RATE, reference=reference(speech), speed=speed)
    assert found.rate_ratio > 1.5, "the measured ratio stays what it is"
    lines = [line for line in found.warnings if "times as fast" in line]
    assert len(lines) == told
    assert all(line.endswith(", asked for 0.5 times") == (speed == 0.5) for line in lines)


def test_no_rate_is_told_against_a_reference_without_speech():
    tone = np.sin(2 * np.pi * 220 * np.arange(5 * RATE) / RATE).astype(np.float32) / 8
    found = judge_speech(speech_like(5.0, seed=1), RATE, reference=reference(tone))
    assert found.syllables_per_s > 1
    assert found.rate_ratio is None
    assert found.missing["rate_ratio"] == "too little speech"
    assert not any("times as fast" in line for line in found.warnings)


def test_clipping_and_level_are_told():
    speech = np.clip(speech_like(3.0, seed=2) * 6, -1, 1)
    found = judge_speech(speech, RATE)
    assert found.clipped_share == pytest.approx(float(np.mean(np.abs(speech) == 1)), rel=0.01)
    assert any("clipped" in line for line in found.warnings)
    assert judge_speech(speech * 0.5, RATE).clipped_share == 0


def test_a_repetition_is_told_unless_the_text_says_it_twice():
    phrase = speech_like(1.5, seed=3)
    speech = np.concatenate([speech_like(1.5, seed=4), phrase, phrase])
    found = judge_speech(speech, RATE, "nothing here is said a second time, or is it")
    assert found.repeated_s[1] - found.repeated_s[0] == pytest.approx(1.5, abs=0.05)
    assert any("is said again at" in line for line in found.warnings)
    twice = judge_speech(speech, RATE, "row row your boat, and row your boat again, sir")
    assert twice.repeated_s == found.repeated_s
    assert not any("again" in line for line in twice.warnings)
    marked = judge_speech(speech, RATE, 'Was it Row Row? "Row, row," it was.')
    assert not any("again" in line for line in marked.warnings)


def test_silence_is_said_and_what_cannot_be_told_is_none_with_a_reason():
    found = judge_speech(silence(2), RATE, TEXT, reference=reference(speech_like(3.0)))
    assert found.warnings == ("it is silent",)
    assert found.duration_s == 0
    assert found.silence_share == 1
    for name in ("pitch_hz", "pitch_semitones", "rate_ratio", "timbre_similarity"):
        assert getattr(found, name) is None
        assert found.missing[name]


def test_every_none_has_a_reason():
    judged = (
        judge_speech(speech_like(3.0), RATE, expected_s=3.0),
        judge_speech(silence(0.2), RATE, TEXT),
    )
    for found in judged:
        empty = {name for name, value in found.model_dump().items() if value is None}
        assert empty - {"repeated_s"} == set(found.missing)


def test_other_sample_rates_give_the_same_figures():
    speech = speech_like(4.0, seed=1)
    finer = torchaudio.functional.resample(torch.from_numpy(speech), RATE, 44_100).numpy()
    found, same = judge_speech(finer, 44_100, TEXT), judge_speech(speech, RATE, TEXT)
    assert found.duration_s == pytest.approx(same.duration_s, abs=0.05)
    assert found.pitch_hz == pytest.approx(same.pitch_hz, rel=0.02)
    assert found.syllables_per_s == pytest.approx(same.syllables_per_s, rel=0.15)


def test_what_cannot_be_measured_is_refused():
    with pytest.raises(ValueError, match=r"0\.1 s or more"):
        judge_speech(silence(0.05), RATE)
    with pytest.raises(ValueError, match="one channel"):
        judge_speech(np.zeros((2, RATE), dtype=np.float32), RATE)
    with pytest.raises(ValueError, match="not finite"):
        judge_speech(np.full(RATE, np.nan, dtype=np.float32), RATE)


def test_five_seconds_are_judged_in_less_than_a_third_of_a_second_of_one_core():
    speech = speech_like(5.0, seed=1)
    judge_speech(speech, RATE, TEXT, reference=reference(speech))
    taken = []
    for _ in range(3):
        start = time.process_time()
        judge_speech(speech, RATE, TEXT, reference=reference(speech))
        taken.append(time.process_time() - start)
    assert min(taken) < 0.3
