"""Syllables that were put in are counted, and what is said twice is found where it is."""

from __future__ import annotations

import math

import pytest
import torch
from speech_like import speech_like

from diffusion_bench.audio.pitch import pitch_hz
from diffusion_bench.audio.rhythm import ALIKE, find_repetition, syllables

RATE = 16_000


def syllable_train(count, *, length_s=0.12, gap_s=0.06, voiced=True):
    """Return so many bursts of a vowel, or of hiss, with dips between them."""
    time = torch.arange(int(length_s * RATE)) / RATE
    if voiced:
        sound = sum(torch.sin(2 * math.pi * 140 * k * time) / k for k in range(1, 20))
    else:
        sound = torch.randn(len(time), generator=torch.Generator().manual_seed(1))
    burst = 0.1 * sound * torch.hann_window(len(time))
    gap = torch.zeros(int(gap_s * RATE))
    pieces = [gap, gap]
    for _ in range(count):
        pieces += [burst, gap]
    train = torch.cat([*pieces, gap])
    return train + 1e-5 * torch.randn(len(train), generator=torch.Generator().manual_seed(2))


@pytest.mark.parametrize("count", [1, 4, 9, 20])
def test_syllables_that_were_put_in_are_counted(count):
    train = syllable_train(count)
    assert syllables(train, pitch_hz(train, RATE)) == count


def test_hiss_and_silence_are_no_syllables():
    hiss = syllable_train(6, voiced=False)
    assert syllables(hiss, pitch_hz(hiss, RATE)) <= 1
    silence = torch.zeros(RATE)
    assert syllables(silence, pitch_hz(silence, RATE)) == 0


@pytest.mark.parametrize(("dip_db", "count"), [(0.5, 1), (4.0, 6), (12.0, 6)])
def test_a_dip_of_the_level_parts_syllables_and_a_ripple_does_not(dip_db, count):
    middle = torch.arange(int(1.5 * RATE)) / RATE
    wave = (1 - torch.cos(2 * math.pi * middle / 0.25)) / 2
    held = sum(torch.sin(2 * math.pi * 140 * k * middle) / k for k in range(1, 20))
    swaying = 0.1 * held * 10 ** (-dip_db * wave / 20)
    swaying[: RATE // 100] = 0
    found = syllables(swaying, pitch_hz(swaying, RATE))
    assert abs(found - count) <= (count > 1)


def test_a_held_vowel_is_one_syllable():
    vowel = syllable_train(1, length_s=1.0)
    assert syllables(vowel, pitch_hz(vowel, RATE)) == 1


def test_what_is_said_twice_is_found_where_it_is():
    speech = torch.from_numpy(speech_like(4.0, seed=5))
    start, length = int(1.0 * RATE), int(1.2 * RATE)
    phrase = speech[start : start + length]
    twice = torch.cat([speech, 0.7 * phrase, torch.from_numpy(speech_like(1.0, seed=6))])
    found = find_repetition(twice)
    assert found.similarity > 0.9
    assert found.second_s - found.first_s == pytest.approx(3.0, abs=0.05)
    assert 0.95 < found.first_s < 1.6


@pytest.mark.parametrize("seed", range(4))
def test_what_is_said_once_is_no_repetition(seed):
    found = find_repetition(torch.from_numpy(speech_like(5.0, seed=seed)))
    assert found.similarity < ALIKE


def test_short_sounds_and_silence_repeat_nothing():
    assert find_repetition(torch.zeros(RATE)) is None
    assert find_repetition(torch.zeros(3 * RATE)).similarity == 0
