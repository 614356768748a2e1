"""Candidates in the order of their likeness, scores kept."""

from __future__ import annotations

import numpy as np
import pytest
from fake_voices import RATE, FakeVoiceModel, make_reference, pitch_of

from diffusion_bench.backends.voice.ranking import rank_candidates
from diffusion_bench.backends.voice.synthesis import VoiceBackend
from diffusion_bench.records import Speech, VoiceRequest

REFERENCE = make_reference(160)


@pytest.fixture
def speech(monkeypatch: pytest.MonkeyPatch) -> Speech:
    """Return three candidates at 190, 150 and 100 Hz."""
    model = FakeVoiceModel()
    model.uneven = True
    letters, pitches = model._letters, (190.0, 150.0, 100.0)
    monkeypatch.setattr(
        model,
        "_letters",
        lambda text, _, request, index: letters(text, pitches[index], request, index),
    )
    backend = VoiceBackend(model, model="echo", device="cpu", precision="fp32")
    return backend.generate(VoiceRequest(text="Three short words.", batch=3), REFERENCE)


def nearness(samples: np.ndarray, rate: int, reference: np.ndarray, reference_rate: int) -> float:
    assert (rate, reference_rate) == (RATE, RATE)
    return -abs(pitch_of(samples) - pitch_of(reference))


def test_the_most_similar_comes_first_with_its_score_and_without_padding(speech: Speech) -> None:
    ranked = rank_candidates(speech, REFERENCE, nearness)
    assert [one.index for one in ranked] == [1, 0, 2]
    assert [one.similarity for one in ranked] == pytest.approx([-10, -30, -60], abs=3)
    for one in ranked:
        assert np.array_equal(one.audio, speech.audio[one.index, : speech.lengths[one.index]])
    assert len({len(one.audio) for one in ranked}) == 3


def test_what_cannot_be_compared_comes_last(speech: Speech) -> None:
    scores = iter([None, 0.2, 0.9])
    ranked = rank_candidates(speech, REFERENCE, lambda *_: next(scores))
    assert [(one.index, one.similarity) for one in ranked] == [(2, 0.9), (1, 0.2), (0, None)]


def test_without_a_reference_the_order_is_that_of_the_seeds(speech: Speech) -> None:
    ranked = rank_candidates(speech, None, nearness)
    assert [(one.index, one.similarity) for one in ranked] == [(0, None), (1, None), (2, None)]
