"""Timbre similarity on made-up voices, and its calibration."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torchaudio

from diffusion_bench.audio.timbre import (
    NAME,
    TimbreScale,
    evidence,
    mfcc_means,
    share_of_others_below,
    timbre,
    timbre_similarity,
)

RATE = 16_000
VOWELS = ((700, 1200), (300, 2300), (450, 900), (550, 1800), (350, 1400), (800, 1500))


def babble(*, seed, f0_hz=120.0, tract=1.0, tilt=1.0, seconds=4.0, sample_rate=RATE):
    """Return (samples,) of vowels and hisses in an order that `seed` draws, by one made-up voice.

    `tract` moves all resonances, as a shorter vocal tract would; `tilt` is the source's fall.
    """
    generator = np.random.default_rng(seed)
    pieces = []
    while sum(map(len, pieces)) < seconds * sample_rate:
        length = int(generator.uniform(0.08, 0.25) * sample_rate)
        if generator.random() < 0.2:
            pieces.append(0.02 * generator.normal(size=length))
            continue
        formants = VOWELS[generator.integers(len(VOWELS))]
        time = np.arange(length) / sample_rate
        phase = 2 * np.pi * f0_hz * generator.uniform(0.85, 1.2) * time
        sound = 0.003 * generator.normal(size=length)
        for k in range(1, int(7500 / f0_hz)):
            hz = k * f0_hz
            gain = sum(
                1 / (1 + ((hz - tract * f) / 120) ** 2) for f in (*formants, 2600, 3500, 5200)
            )
            sound += 0.2 * (gain + 0.01) / k**tilt * np.sin(k * phase)
        pieces.append(sound * np.hanning(length) ** 0.3)
    return np.concatenate(pieces).astype(np.float32)


def alike(first, second):
    return timbre_similarity(first, RATE, second, RATE)


def test_the_same_voice_saying_other_things_is_more_alike_than_another_voice():
    voices = ({"tract": 0.9}, {"tract": 1.1, "f0_hz": 200.0}, {"tilt": 1.6})
    for index, voice in enumerate(voices):
        own = alike(babble(seed=1, **voice), babble(seed=2, **voice))
        others = [
            alike(babble(seed=1, **voice), babble(seed=3, **other))
            for other in (*voices[:index], *voices[index + 1 :])
        ]
        assert own > 0.9
        assert own > max(others) + 0.1


def test_voices_on_opposite_sides_of_the_usual_one_are_opposites(monkeypatch):
    from diffusion_bench.audio import timbre as module

    scale = module._scale()
    mean, away = torch.tensor(scale.mean), 2 * torch.tensor(scale.deviation)
    means = iter([mean + away, mean - away])
    monkeypatch.setattr(module, "mfcc_means", lambda samples, sample_rate: next(means))
    assert alike(np.zeros(1), np.zeros(1)) == pytest.approx(-1, abs=1e-5)


def test_a_recording_is_wholly_like_itself_and_the_order_does_not_matter():
    first, second = babble(seed=1), babble(seed=2, tract=1.15)
    assert alike(first, first) == pytest.approx(1, abs=1e-5)
    assert alike(first, second) == pytest.approx(alike(second, first), abs=1e-6)


def test_level_and_silence_do_not_matter():
    first = babble(seed=1)
    quiet = 3e-3 * np.random.default_rng(0).normal(size=RATE).astype(np.float32)
    padded = np.concatenate([quiet, first, quiet])
    assert alike(first, 0.1 * padded) > 0.98


def test_the_sample_rate_hardly_matters():
    first = babble(seed=1)
    finer = torchaudio.functional.resample(torch.from_numpy(first), RATE, 48_000).numpy()
    assert timbre_similarity(first, RATE, finer, 48_000) > 0.98


def test_without_speech_there_is_no_timbre():
    first = babble(seed=1)
    for nothing in (np.zeros(RATE), np.zeros(0), first[:2000], np.zeros(RATE * 60)):
        assert timbre(nothing.astype(np.float32), RATE) is None
        assert alike(first, nothing.astype(np.float32)) is None


def test_the_first_coefficients_are_a_cosine_series_of_the_log_spectrum():
    # White noise is flat on a scale of normalised bands, so all coefficients are near none.
    noise = np.random.default_rng(0).normal(size=10 * RATE).astype(np.float32)
    shape = mfcc_means(noise, RATE)
    assert shape.shape == (23,)
    low = np.convolve(noise, np.ones(16) / 16).astype(np.float32)
    assert mfcc_means(low, RATE)[0] > shape[0] + 3  # c1: more below than above


def test_the_calibration_rises_from_none_to_all():
    shares = [share_of_others_below(score / 50) for score in range(-50, 51)]
    assert shares[0] == 0
    assert shares[-1] == 1
    assert shares == sorted(shares)
    assert share_of_others_below(0.83) > 0.98


def test_the_scale_is_read_between_its_percentiles(monkeypatch):
    from diffusion_bench.audio import timbre as module

    ramp = tuple(value / 100 for value in range(101))
    whole = module._scale().model_copy(update={"different": ramp})
    monkeypatch.setattr(module, "_scale", lambda: whole)
    assert share_of_others_below(0.305) == pytest.approx(0.305)
    assert share_of_others_below(-0.5) == 0
    assert share_of_others_below(1.5) == 1


def test_what_was_measured_comes_along_and_is_better_than_chance():
    measured = evidence()
    assert measured.speakers >= 50
    assert measured.same_pairs >= 300
    assert measured.different_pairs > 20_000
    assert 0.97 < measured.auc_recorded <= measured.auc_clean <= 1
    assert measured.eer_clean < measured.eer_recorded < 0.1
    assert "speaker verification" not in NAME


def test_calibrating_finds_what_separates_speakers():
    from diffusion_bench.training.echo import calibrate_timbre as module

    clips = [
        module.Clip(f"{tract}", "made-up", sound, (0.5 * sound).astype(np.float32))
        for tract in (0.85, 1.0, 1.15)
        for sound in (babble(seed=seed, tract=tract, seconds=2.0) for seed in (1, 2))
    ]
    scale = module.calibrate(clips, clips)
    assert isinstance(scale, TimbreScale)
    assert (scale.evidence.speakers, scale.evidence.same_pairs) == (3, 3)
    assert scale.evidence.different_pairs == 12
    assert scale.evidence.auc_clean == 1
    assert scale.evidence.eer_clean == 0
    assert len(scale.different) == 101
    assert len(scale.mean) == 23
    assert all(math.isfinite(value) and value > 0 for value in scale.deviation)
