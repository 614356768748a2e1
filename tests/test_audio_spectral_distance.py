"""Distances between recordings whose difference is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from speech_like import speech_like

from diffusion_bench.audio.mel import MelSettings
from diffusion_bench.audio.spectral_distance import (
    _mean_along_cheapest_path,
    log_spectral_distance_db,
    mel_cepstral_distance_db,
    mel_l1,
)

SPEECH = torch.from_numpy(speech_like(2.0, seed=3))


def noise(seed=0, seconds=2.0):
    return torch.randn(int(seconds * 16_000), generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("distance", [log_spectral_distance_db, mel_l1, mel_cepstral_distance_db])
def test_a_recording_has_no_distance_from_itself(distance):
    assert distance(SPEECH, SPEECH) == pytest.approx(0, abs=1e-5)


def test_twice_as_loud_is_six_decibels_away():
    assert log_spectral_distance_db(2 * noise(), noise()) == pytest.approx(6.02, abs=0.01)
    assert mel_l1(2 * noise(), noise()) == pytest.approx(math.log(2), abs=0.001)


def test_what_is_far_below_the_loudest_does_not_count():
    silence = torch.zeros(16_000)
    one, other = (torch.cat([noise(), silence + 1e-7 * gain]) for gain in (0, 1))
    assert log_spectral_distance_db(one, other) < 0.1


def test_more_noise_is_farther_away():
    distances = [
        (log_spectral_distance_db(near, SPEECH), mel_l1(near, SPEECH))
        for near in (SPEECH + gain * noise() for gain in (1e-4, 1e-3, 1e-2))
    ]
    assert distances == sorted(distances)


def test_level_and_timing_do_not_count_for_mel_cepstra():
    assert mel_cepstral_distance_db(0.5 * SPEECH, SPEECH) < 0.1
    # A hum of 1 kHz, of which all frames are the same, held for 8 or for 31 frames.
    pause = 0.1 * torch.sin(torch.arange(31 * 256) % 16 * 2 * math.pi / 16)
    early, late = torch.cat([SPEECH, pause]), torch.cat([pause, SPEECH])
    own = mel_cepstral_distance_db(torch.cat([pause[:2048], SPEECH]), torch.cat([pause, SPEECH]))
    assert own < 1
    assert mel_cepstral_distance_db(early, late) > 3 * own


def test_a_spectral_ripple_has_its_height_in_decibels():
    # A cosine over the mel bands, of 1 neper in the log spectrum: 8.69 / sqrt(2) dB of RMS.
    settings = MelSettings()
    from diffusion_bench.audio import spectral_distance as module

    bands = torch.arange(80) + 0.5
    flat = torch.zeros(1, 80, 20)
    ripple = flat + torch.cos(math.pi * 5 * bands / 80)[None, :, None]
    mels = iter([flat, ripple])
    patched = pytest.MonkeyPatch()
    patched.setattr(module, "log_mel", lambda samples, settings: next(mels))
    with patched.context():
        found = mel_cepstral_distance_db(SPEECH, SPEECH, settings)
    patched.undo()
    assert found == pytest.approx(20 / math.log(10) / math.sqrt(2), rel=1e-4)


def test_the_cheapest_path_is_that_of_an_exhaustive_search():
    costs = np.random.default_rng(0).random((5, 4))

    def paths(i, j):
        if (i, j) == (0, 0):
            yield [costs[0, 0]]
            return
        for a, b in ((i - 1, j - 1), (i - 1, j), (i, j - 1)):
            if a >= 0 and b >= 0:
                for path in paths(a, b):
                    yield [*path, costs[i, j]]

    best = min(paths(4, 3), key=sum)
    assert _mean_along_cheapest_path(costs) == pytest.approx(sum(best) / len(best))


def test_recordings_of_other_lengths_are_refused():
    with pytest.raises(ValueError, match=r"not \(100,\) and \(99,\)"):
        log_spectral_distance_db(torch.zeros(100), torch.zeros(99))
    with pytest.raises(ValueError, match="equal length"):
        mel_l1(torch.zeros(1, 100), torch.zeros(1, 100))
