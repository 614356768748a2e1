"""What a candidate is measured by once it is spoken, and what is told of it."""

from __future__ import annotations

import numpy as np
import pytest
from fake_voices import RATE, FakeVoiceModel, make_reference
from speech_like import speech_like

from diffusion_bench.backends.voice.measuring import (
    MEASURED_S,
    measure_candidate,
    warnings_of,
)
from diffusion_bench.backends.voice.ranking import Candidate
from diffusion_bench.backends.voice.synthesis import VoiceBackend
from diffusion_bench.records import VoiceRequest

TWICE = 'They sang "row your boat", and "row your boat!" again.'


def spoken(samples, text, **fields):
    """Return the speech of a backend whose model says these samples, and its candidate."""
    model = FakeVoiceModel()
    model._letters = lambda *_: samples
    backend = VoiceBackend(model, model="echo", device="cpu", precision="fp32")
    request = VoiceRequest(text=text, steps=1, sampler="ddim", **fields)
    speech = backend.generate(request, make_reference())
    return speech, Candidate(0, speech.candidate(0), None)


@pytest.fixture(scope="module")
def stammer():
    phrase = speech_like(1.5, seed=3)
    return np.concatenate([speech_like(1.5, seed=4), phrase, phrase])


def again(speech, candidate):
    measured = measure_candidate(speech, candidate, None)
    return [line for line in warnings_of(speech, measured) if "said again" in line]


def test_what_is_said_twice_is_told_unless_the_text_says_it_twice(stammer):
    assert len(again(*spoken(stammer, "Is it one?"))) == 1
    assert again(*spoken(stammer, "Row on, row on, sir.")) == []
    assert again(*spoken(stammer, "Call 911: a 911 call.")) == []  # nine one one, nine one one


def test_a_long_speech_is_judged_by_its_first_minute_and_by_the_whole_text():
    phrase = speech_like(1.5, seed=3)
    minute = np.concatenate([phrase, phrase, speech_like(MEASURED_S - 3, seed=5)])
    speech, candidate = spoken(minute, TWICE)
    assert speech.num_chunks > 1
    assert len(candidate.audio) > MEASURED_S * RATE
    measured = measure_candidate(speech, candidate, None)
    assert (measured.expected_s, measured.duration_ratio) == (None, None)
    assert measured.missing["expected_s"]
    assert measured.duration_s <= MEASURED_S
    assert measured.repeated_s is not None
    assert again(speech, candidate) == []


@pytest.mark.parametrize("speed", [1.0, 2.0])
def test_the_length_is_measured_against_what_the_text_should_take(speed):
    text = "These are some thirty letters."
    speech, candidate = spoken(speech_like(4.0, seed=1), text, speed=speed)
    measured = measure_candidate(speech, candidate, None)
    assert measured.expected_s == pytest.approx(0.06 * len("These are some thirty letters") / speed)
    assert measured.duration_ratio == pytest.approx(measured.duration_s / measured.expected_s)


def test_the_rate_that_was_asked_for_is_no_fault():
    reference, text = make_reference(), "These are some thirty letters."
    quick = np.tile(make_reference().samples[: round(0.25 * RATE)][::2], 16)  # 8 syllables a second
    told = {}
    for speed in (1.0, 2.0):
        measured = measure_candidate(*spoken(quick, text, speed=speed), reference)
        assert measured.rate_ratio > 1.5
        told[speed] = [line for line in measured.warnings if "times as fast" in line]
    assert told[1.0]
    assert not told[2.0]


def test_a_doubtful_length_is_told_once():
    speech, candidate = spoken(speech_like(9.0, seed=1), "These are some thirty letters.")
    told = warnings_of(speech, measure_candidate(speech, candidate, None))
    assert [line for line in told if "words may be" in line] == list(speech.warnings)
    assert len(speech.warnings) == 1


def test_a_doubt_of_both_is_told_once_and_too_little_sound_is_not_measured():
    speech, candidate = spoken(speech_like(2.0, seed=1), "Quiet.")
    assert len(speech.warnings) == 1
    measured = measure_candidate(speech, candidate, None)
    assert warnings_of(speech, None) == speech.warnings
    doubled = measured.model_copy(update={"warnings": ("new", *speech.warnings, "new")})
    assert warnings_of(speech, doubled) == (*speech.warnings, "new")
    for count in (0, RATE // 20):
        assert measure_candidate(speech, Candidate(0, candidate.audio[:count], None), None) is None
