"""Pitch of signals whose pitch is known, in noise, in batches, and against pyworld's harvest."""

from __future__ import annotations

import math
import time

import numpy as np
import pytest
import torch

from diffusion_bench.audio.mel import MelSettings
from diffusion_bench.audio.pitch import pitch_hz, voice_pitch

RATE = 16_000


def voice(f0_hz, *, sample_rate=RATE, formants=(700, 1200, 2600), breath=0.003, seed=0):
    """Return a vowel: harmonics of `f0_hz` (one value a sample) under the formants' resonances."""
    phase = 2 * math.pi * torch.cumsum(f0_hz.double() / sample_rate, dim=0)
    sound = torch.zeros(len(f0_hz), dtype=torch.float64)
    for k in range(1, int(sample_rate / 2 / float(f0_hz.max()))):
        height = sum(1 / (1 + ((k * f0_hz - f) / 90) ** 2) for f in formants) + 0.02
        sound += height / k * torch.cos(k * phase)
    noise = torch.randn(len(sound), generator=torch.Generator().manual_seed(seed))
    return (0.1 * sound).float() + breath * noise


def glide(start, end, seconds=1.5, sample_rate=RATE):
    share = torch.linspace(0, 1, int(seconds * sample_rate))
    return start * (end / start) ** share


def cents(track, truth, sample_rate=RATE):
    """Return the error of every voiced frame, the edges left out."""
    places = (torch.arange(track.f0_hz.shape[-1]) * track.hop_s * sample_rate).round().long()
    inside = (places > 0.05 * sample_rate) & (places < len(truth) - 0.05 * sample_rate)
    keep = inside & track.voiced
    assert keep.sum() > 0.95 * inside.sum()
    return 1200 * (track.f0_hz[keep] / truth[places[keep]]).log2()


@pytest.mark.parametrize("f0_hz", [65.0, 92.5, 130.0, 211.0, 333.0, 480.0])
def test_a_steady_vowel_has_its_pitch_within_five_cents(f0_hz):
    truth = torch.full((RATE,), f0_hz)
    error = cents(pitch_hz(voice(truth), RATE), truth)
    assert error.abs().median() < 5
    assert error.abs().max() < 100


@pytest.mark.parametrize(("start", "end"), [(70, 140), (300, 110), (180, 420)])
def test_a_glide_is_followed_without_an_octave_error(start, end):
    truth = glide(start, end)
    error = cents(pitch_hz(voice(truth), RATE), truth)
    assert error.abs().median() < 15
    assert error.abs().max() < 200


def test_an_octave_is_not_lost_where_the_first_harmonic_is_missing():
    truth = glide(200, 150)
    sound = voice(truth)
    cut = torch.fft.rfft(sound)
    cut[: int(260 * len(sound) / RATE)] = 0
    error = cents(pitch_hz(torch.fft.irfft(cut, len(sound)), RATE), truth)
    assert error.abs().max() < 200


def test_every_second_pulse_weaker_does_not_halve_the_pitch():
    truth = torch.full((RATE,), 240.0)
    sound = voice(truth) + 0.15 * voice(truth / 2)
    track = pitch_hz(sound, RATE)
    assert abs(1200 * math.log2(float(track.f0_hz[track.voiced].median()) / 240)) < 10


def test_a_moment_at_half_the_pitch_is_repaired_by_what_is_around_it():
    truth = torch.full((RATE,), 240.0)
    rough = torch.zeros(RATE)
    rough[8000:9600] = 1
    sound = voice(truth) * (1 - 0.5 * rough) + 0.5 * rough * voice(truth / 2)
    alone = pitch_hz(sound[8000:9600], RATE)
    assert float(alone.f0_hz[3]) == pytest.approx(120, rel=0.02)
    track = pitch_hz(sound, RATE)
    assert (track.f0_hz[track.voiced] - 240).abs().max() < 10


def test_noise_and_silence_have_no_pitch():
    noise = torch.randn(RATE, generator=torch.Generator().manual_seed(1))
    for sound in (0.1 * noise, torch.zeros(RATE), torch.full((RATE,), 0.3)):
        track = pitch_hz(sound, RATE)
        assert track.voiced.float().mean() < 0.03
        assert torch.equal(track.f0_hz.isnan(), ~track.voiced)
    assert voice_pitch(torch.zeros(RATE), RATE) == (None, None, 0.0)


def test_the_voiced_part_of_a_recording_is_found_to_a_frame_or_two():
    quiet = torch.zeros(RATE // 2)
    sound = torch.cat([quiet, voice(torch.full((RATE // 2,), 120.0)), quiet])
    voiced = pitch_hz(sound, RATE).voiced.nonzero()[:, 0]
    assert abs(int(voiced[0]) - 31) <= 2
    assert abs(int(voiced[-1]) - 62) <= 2
    assert len(voiced) == voiced[-1] - voiced[0] + 1


@pytest.mark.parametrize("samples", [400, 8000, 16_000, 16_383, 16_384])
def test_frames_are_those_of_the_mel_spectrogram(samples):
    settings = MelSettings()
    track = pitch_hz(torch.zeros(samples), RATE, hop_s=settings.hop_s)
    assert track.f0_hz.shape == (settings.frames(samples),)


def test_a_batch_gives_what_each_recording_gives_alone():
    sounds = torch.stack([voice(glide(100, 150)), voice(glide(260, 200)), torch.zeros(24_000)])
    batch = pitch_hz(sounds, RATE)
    for index, sound in enumerate(sounds):
        alone = pitch_hz(sound, RATE)
        assert torch.equal(batch.voiced[index], alone.voiced)
        torch.testing.assert_close(batch.f0_hz[index], alone.f0_hz, equal_nan=True)


@pytest.mark.parametrize("sample_rate", [8000, 22_050, 24_000, 44_100, 48_000])
def test_other_sample_rates_give_the_same_pitch(sample_rate):
    truth = torch.full((sample_rate,), 145.0)
    track = pitch_hz(voice(truth, sample_rate=sample_rate), sample_rate)
    assert track.f0_hz.shape == (63,)
    assert cents(track, truth, sample_rate).abs().median() < 5


def test_level_does_not_matter():
    sound = voice(glide(100, 150))
    track, faint = pitch_hz(sound, RATE), pitch_hz(sound * 0.01, RATE)
    assert torch.equal(track.voiced, faint.voiced)
    torch.testing.assert_close(track.f0_hz, faint.f0_hz, equal_nan=True, rtol=1e-3, atol=0)


def test_the_pitch_of_a_voice_is_said_with_its_spread():
    median, spread, share = voice_pitch(voice(glide(100, 200, seconds=3)), RATE)
    assert abs(12 * math.log2(median / math.sqrt(100 * 200))) < 0.1
    assert abs(spread - 0.34 * 12) < 0.2
    assert share > 0.95


def test_limits_that_cannot_be_told_are_refused():
    with pytest.raises(ValueError, match="40 <= low < high <= 1000"):
        pitch_hz(torch.zeros(RATE), RATE, low=20)


def test_five_seconds_take_less_than_fifty_milliseconds_of_one_core():
    sound = voice(glide(100, 200, seconds=5))
    pitch_hz(sound, RATE)
    taken = []
    for _ in range(5):
        start = time.process_time()
        pitch_hz(sound, RATE)
        taken.append(time.process_time() - start)
    assert min(taken) < 0.05


def test_it_agrees_with_harvest():
    pyworld = pytest.importorskip("pyworld")
    truth = torch.cat([glide(90, 130), glide(220, 160), glide(150, 250)])
    sound = voice(truth)
    theirs, _ = pyworld.harvest(sound.double().numpy(), RATE, 60, 500, frame_period=16.0)
    ours = pitch_hz(sound, RATE).f0_hz.numpy()[: len(theirs)]
    both = ~np.isnan(ours) & (theirs > 0)
    error = 1200 * np.log2(ours[both] / theirs[both])
    assert both.mean() > 0.95
    assert np.median(np.abs(error)) < 10
    assert (np.abs(error) > 350).mean() < 0.01
