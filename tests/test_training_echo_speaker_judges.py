"""The judges of who speaks: what moves them and what does not, and their rate of errors."""

from __future__ import annotations

import numpy as np
import pytest

from diffusion_bench.training.echo.speaker_judges import (
    JUDGES,
    ORDER,
    RIVALS,
    distances,
    equal_error_rate,
    nearest_of_rivals,
    resonances_of,
)

RATE = 16_000
FORMANTS_HZ = (500.0, 1500.0, 2500.0, 3500.0)


def vowel(pitch_hz: float = 120.0, *, tract: float = 1.0, seconds: float = 1.0) -> np.ndarray:
    """Return pulses through four resonances, all `tract` times as high, and a hiss after them."""
    count = round(seconds * RATE)
    pulses = np.zeros(count)
    pulses[(np.arange(0, seconds, 1 / pitch_hz) * RATE).astype(int)] = 1
    at_s = np.arange(1024) / RATE
    sound = np.convolve(pulses, 0.95 ** np.arange(1024))[:count]  # a voice falls towards the treble
    for hz in FORMANTS_HZ:
        ring = np.exp(-np.pi * 80 * at_s) * np.cos(2 * np.pi * hz * tract * at_s)
        sound = np.convolve(sound, ring)[:count]
    rng = np.random.default_rng(0)
    breath = 1e-3 * rng.normal(0, np.abs(sound).max(), count)
    hiss = np.diff(rng.normal(0, 0.2 * np.abs(sound).max(), count // 2))
    spoken = np.concatenate([sound + breath, hiss])
    return (spoken / np.abs(spoken).max() * 0.5).astype(np.float32)


def test_lines_lie_where_the_vocal_tract_resonates() -> None:
    low, high = resonances_of(vowel()), resonances_of(vowel(tract=1.15))
    assert low.shape == (ORDER,)
    assert (np.diff(low) > 0).all()
    assert (low > 0).all()
    assert (low < RATE / 2).all()
    for hz in FORMANTS_HZ[1:]:  # a resonance has lines beside it; the lowest is near the pitch
        assert np.abs(low - hz).min() < 0.06 * hz
        assert np.abs(high - 1.15 * hz).min() < 0.06 * hz


def test_level_pitch_and_hiss_move_the_resonances_little() -> None:
    usual = resonances_of(vowel())
    tract = np.abs(resonances_of(vowel(tract=1.15)) - usual).mean()
    np.testing.assert_allclose(resonances_of(0.05 * vowel()), usual, rtol=1e-4)
    assert np.abs(resonances_of(vowel(pitch_hz=180)) - usual).mean() < 0.25 * tract
    without_hiss = resonances_of(vowel()[:RATE])
    assert np.abs(without_hiss - usual).mean() < 0.1 * tract


def test_what_has_no_vowel_is_refused() -> None:
    hiss = np.diff(np.random.default_rng(0).normal(0, 0.1, RATE)).astype(np.float32)
    for samples in (hiss, hiss[:100]):
        with pytest.raises(ValueError, match="no vowel"):
            resonances_of(samples)


@pytest.mark.parametrize("judge", JUDGES.values(), ids=JUDGES)
def test_each_judge_finds_the_speaker_among_others(judge) -> None:
    tracts, pitches = (0.85, 0.95, 1.05, 1.15), (90, 110, 150, 210)
    known = np.stack([judge(vowel(p, tract=t)) for p, t in zip(pitches, tracts, strict=True)])
    again = np.stack(
        [judge(vowel(1.03 * p, tract=t, seconds=1.5)) for p, t in zip(pitches, tracts, strict=True)]
    )
    assert distances(again, known).argmin(axis=1).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(
    ("same", "different", "rate"),
    [
        ([1.0, 2.0], [3.0, 4.0], 0.0),
        ([3.0, 4.0], [1.0, 2.0], 1.0),
        ([1.0, 2.0, 3.0, 6.0], [2.5, 7.0, 8.0, 9.0], 0.25),
    ],
)
def test_the_equal_error_rate_is_where_both_errors_are_as_frequent(
    same: list[float], different: list[float], rate: float
) -> None:
    assert equal_error_rate(np.array(same), np.array(different)) == pytest.approx(rate)


def test_more_speakers_make_a_figure_surer_and_the_question_no_harder() -> None:
    known = np.concatenate([np.arange(RIVALS), np.arange(RIVALS) + 0.4, [10.0, 50.0]])[:, None]
    found = known + 0.1
    found[3] += 1.0  # now nearest to the next one of the same group
    right = nearest_of_rivals(found, known)
    assert right.tolist() == [True] * 3 + [False] + [True] * (len(known) - 4)
    assert not nearest_of_rivals(found[-2:] - 30.0, known[-2:])[1]  # fewer than RIVALS: among all


def test_speakers_left_over_are_looked_for_among_as_many_rivals() -> None:
    known = np.arange(RIVALS + 1.0)[:, None]
    found = known.copy()
    found[-1] = known[-2]  # alone it would be right whatever it sounds like
    assert nearest_of_rivals(found, known).tolist() == [True] * RIVALS + [False]
