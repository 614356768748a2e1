"""The recogniser of the tests itself: what it makes of nothing, and of a synthesizer's speech."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
import recogniser
import soundfile
from recogniser import heard, word_error_rate, words_of
from torchaudio.functional import edit_distance


def test_words_are_compared_without_case_and_punctuation():
    assert words_of("Don't STOP -- it's 'fine', isn't it?") == [
        *("don't", "stop", "it's", "fine", "isn't", "it")
    ]


def test_silence_says_nothing_so_all_words_are_missing():
    silence = np.zeros(16_000, dtype=np.float32)
    assert heard(silence, 16_000) == ""
    assert word_error_rate(silence, 16_000, "two words") == 1
    with pytest.raises(ValueError, match="no word"):
        word_error_rate(silence, 16_000, "...")


@pytest.mark.parametrize(
    ("text", "rate"),
    [("the cat sat", 0), ("the cat", 0.5), ("the cat sat down", 0.25), ("a dog sat", 2 / 3)],
)
def test_missing_added_and_wrong_words_count_once_each(monkeypatch, text, rate):
    monkeypatch.setattr(recogniser, "heard", lambda samples, sample_rate: "the cat sat")
    assert word_error_rate(np.zeros(1), 16_000, text) == pytest.approx(rate)


@pytest.mark.skipif(shutil.which("flite") is None, reason="flite is not installed")
@pytest.mark.parametrize("sample_rate", [16_000, 24_000])
def test_plain_sentences_of_a_synthesizer_are_mostly_understood(tmp_path, sample_rate):
    text = "The old man told the children a story about the sea."
    path = tmp_path / "speech.wav"
    subprocess.run(["flite", "-voice", "rms", "-t", text, "-o", str(path)], check=True)
    samples, rate = soundfile.read(path, dtype="float32")
    if sample_rate != rate:
        import torch
        from torchaudio.functional import resample

        samples = resample(torch.from_numpy(samples), rate, sample_rate).numpy()
    first = heard(samples, sample_rate)
    backwards = np.ascontiguousarray(samples[::-1])
    assert word_error_rate(backwards, sample_rate, text) > 0.7
    assert heard(samples, sample_rate) == first
    wrong = edit_distance(words_of(text), words_of(first))
    assert wrong / len(words_of(text)) <= 0.2
