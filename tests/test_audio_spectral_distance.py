"""Distances between recordings whose difference is known."""

from __future__ import annotations

import pytest
import torch
from speech_like import speech_like

from diffusion_bench.audio.spectral_distance import log_spectral_distance_db, mel_distance_db

SPEECH = torch.from_numpy(speech_like(2.0, seed=3))


def noise(seed=0, seconds=2.0):
    return torch.randn(int(seconds * 16_000), generator=torch.Generator().manual_seed(seed))


def test_a_recording_has_no_distance_from_itself():
    assert log_spectral_distance_db(SPEECH, SPEECH) == pytest.approx(0, abs=1e-5)


def test_twice_as_loud_is_six_decibels_away():
    assert log_spectral_distance_db(2 * noise(), noise()) == pytest.approx(6.02, abs=0.01)


def test_mel_spectrograms_of_one_sound_at_two_levels_are_not_apart():
    assert mel_distance_db(SPEECH, SPEECH) == 0
    assert mel_distance_db(2 * noise(), noise()) == pytest.approx(0, abs=1e-4)
    assert mel_distance_db(0.6 * SPEECH, SPEECH) < 0.05
    with pytest.raises(ValueError, match="of equal length"):
        mel_distance_db(SPEECH[1:], SPEECH)


@pytest.mark.parametrize("gain", [1.0, 0.1])
def test_a_quarter_that_is_twenty_decibels_louder_is_five_in_the_mean(gain):
    quarter = len(noise()) // 4
    louder = torch.cat([10 * noise()[:quarter], noise()[quarter:]])
    assert mel_distance_db(gain * louder, noise()) == pytest.approx(5, abs=0.2)


def test_what_is_far_below_the_loudest_does_not_count():
    silence = torch.zeros(16_000)
    one, other = (torch.cat([noise(), silence + 1e-7 * gain]) for gain in (0, 1))
    assert log_spectral_distance_db(one, other) < 0.1


def test_more_noise_is_farther_away():
    distances = [
        log_spectral_distance_db(SPEECH + gain * noise(), SPEECH) for gain in (1e-4, 1e-3, 1e-2)
    ]
    assert distances == sorted(distances)


def test_recordings_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"not \(100,\) and \(99,\)"):
        log_spectral_distance_db(torch.zeros(100), torch.zeros(99))
    with pytest.raises(ValueError, match="equal length"):
        log_spectral_distance_db(torch.zeros(1, 100), torch.zeros(1, 100))
