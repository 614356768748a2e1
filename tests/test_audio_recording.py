"""A recording made ready to be cloned, and what is said of it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from speech_like import speech_like
from torchaudio.functional import loudness

from diffusion_bench.audio.recording import _clipped_share, prepare_reference

RATE = 16000


def silence(seconds, rate=RATE):
    return np.zeros(round(seconds * rate), np.float32)


def noise(like, decibels, seed=0):
    """Return white noise so many decibels under a sound."""
    power = np.mean(like**2) * 10 ** (-decibels / 10)
    return np.random.default_rng(seed).normal(0, np.sqrt(power), len(like)).astype(np.float32)


def padded(sound, before_s=0.8, after_s=0.6, rate=RATE):
    return np.concatenate([silence(before_s, rate), sound, silence(after_s, rate)])


def report_of(samples, rate=RATE, **how):
    return prepare_reference(samples, rate, **how)[1]


def warned(report, words):
    return any(words in warning for warning in report.warnings)


def test_good_speech_is_only_made_as_loud_as_the_others():
    speech = speech_like(6.0)
    reference, report = prepare_reference(speech, RATE, transcript="as it was said")
    assert report.warnings == ()
    assert report.cut_s == 0
    assert report.duration_s == pytest.approx(6, abs=0.3)
    assert reference.transcript == "as it was said"
    assert reference.sample_rate == report.sample_rate == RATE
    assert reference.samples.dtype == np.float32
    assert reference.duration_s == report.duration_s
    assert np.corrcoef(reference.samples, speech[-len(reference.samples) :])[0, 1] > 0.9999


@pytest.mark.parametrize("gain", [0.01, 0.3, 1.5])
@pytest.mark.parametrize("rate", [8000, 44100])
def test_loudness_is_minus_23_lufs_whatever_it_was(gain, rate):
    speech = speech_like(4.0, sample_rate=rate, seed=1)
    reference, report = prepare_reference(speech * gain, rate)
    after = float(loudness(torch.from_numpy(reference.samples)[None].double(), rate))
    assert after == pytest.approx(-23, abs=0.2)
    before = float(loudness(torch.from_numpy(speech * gain)[None].double(), rate))
    assert report.loudness_lufs == pytest.approx(before, abs=0.1)
    assert report.peak == pytest.approx(0.5 * gain, rel=1e-3)


def test_the_peak_stays_under_095_though_it_is_softer_then():
    speech = speech_like(4.0) * 0.02
    speech[30000] = 0.9
    reference, _ = prepare_reference(speech, RATE)
    assert np.abs(reference.samples).max() == pytest.approx(0.95, abs=1e-3)


@pytest.mark.parametrize("decibels", [None, 40, 20])
def test_silence_is_taken_off_both_ends_and_80_ms_kept(decibels):
    speech = speech_like(5.0, seed=2)
    begins = np.flatnonzero(np.abs(speech) > 0.05)
    sound = padded(speech)
    if decibels:
        sound = sound + noise(sound, decibels)
    reference, report = prepare_reference(sound, RATE)
    expected_s = (begins[-1] - begins[0]) / RATE + 0.16
    assert reference.duration_s == pytest.approx(expected_s, abs=0.25)
    assert report.silence_trimmed_s == pytest.approx(6.4 - expected_s, abs=0.25)
    assert report.recorded_s == pytest.approx(6.4)
    if not decibels:
        heard = np.flatnonzero(np.abs(reference.samples) > 0.01) / RATE
        assert heard[0] == pytest.approx(0.08, abs=0.04)
        assert reference.duration_s - heard[-1] == pytest.approx(0.08, abs=0.04)


def test_a_click_before_the_speech_is_no_speech():
    sound = padded(speech_like(4.0), before_s=2.0)
    sound[8000:8040] = 0.6
    assert report_of(sound).duration_s < 4.4


@pytest.mark.parametrize("decibels", [40, 30, 25, 15, 10])
def test_the_signal_to_noise_ratio_is_estimated(decibels):
    for seed in range(3):
        sound = padded(speech_like(5.0, seed=seed))
        speech_only = sound[np.abs(sound) > 0]
        power = np.mean(speech_only**2) * 10 ** (-decibels / 10)
        sound = sound + np.random.default_rng(seed).normal(0, np.sqrt(power), len(sound))
        report = report_of(sound.astype(np.float32))
        assert report.snr_db == pytest.approx(decibels, abs=4)
        assert warned(report, "noisy") == (decibels < 20)


def test_zeros_that_were_never_recorded_do_not_hide_noise():
    speech = speech_like(5.0)
    assert report_of(padded(speech + noise(speech, 10))).snr_db < 16


@pytest.mark.parametrize("softer", [1.0, 0.4, 8.0])
def test_clipping_is_measured_also_when_it_was_made_softer_or_louder_since(softer):
    speech = speech_like(5.0) * 2  # peak 1
    clipped = np.clip(speech, -0.4, 0.4)
    true_share = np.mean(np.abs(speech) >= 0.4)
    report = report_of((clipped / 0.4 * softer).astype(np.float32))
    assert report.clipped_share == pytest.approx(true_share, rel=0.25)
    assert warned(report, "clipped")
    assert report_of(speech * 0.999).clipped_share < 1e-4
    assert report_of(speech * 8).clipped_share < 1e-4


@pytest.mark.parametrize("peak", [0.05, 0.12, 0.9])
@pytest.mark.parametrize("tone_hz", [120.0, 220.0, 441.0])
@pytest.mark.parametrize("rate", [16000, 44100])
def test_a_tone_with_room_above_it_is_not_clipped_and_one_with_flat_tops_is(peak, tone_hz, rate):
    tone = np.sin(2 * np.pi * tone_hz * np.arange(2 * rate) / rate)
    rounded = np.round(peak * tone * 2**15) / 2**15
    assert _clipped_share(rounded.astype(np.float32)) == 0
    assert _clipped_share((tone * 30_000).astype(np.float32)) == 0, "on a scale of its own"
    flat = np.round(peak * np.clip(tone, -0.6, 0.6) * 2**15) / 2**15
    stereo = np.stack([flat, flat], axis=1).astype(np.float32)
    assert _clipped_share(stereo) == pytest.approx(np.mean(np.abs(tone) >= 0.6), rel=0.05)


@pytest.mark.parametrize("seconds", [15.5, 30.0])
def test_long_speech_is_cut_at_a_pause_and_the_transcript_left_out(seconds):
    speech = speech_like(seconds, seed=3)
    for start in (5, 12, 20):  # pauses between sentences
        speech[start * RATE : round((start + 0.6) * RATE)] *= 1e-3
    reference, report = prepare_reference(speech, RATE, transcript="all of it")
    # The last pause before 15 s is at 12 s, or one of the synthesiser's own after it.
    assert 12.0 <= reference.duration_s <= 15.0
    assert report.duration_s + report.cut_s + report.silence_trimmed_s == pytest.approx(seconds)
    assert reference.transcript is None
    assert warned(report, "up to a pause")
    assert warned(report, "transcript says more")
    # What is left ends softly: no word was cut in half.
    levels = np.sqrt(np.mean(reference.samples[-800:] ** 2)), np.abs(reference.samples[-1])
    assert levels[0] < 0.03
    assert levels[1] < 1e-3
    assert not warned(report_of(speech), "transcript")


def test_the_cut_lies_in_the_last_pause_before_the_limit():
    sound = noise(silence(20) + 1, 20)
    for start in (10, 12, 16):
        sound[start * RATE : round((start + 0.5) * RATE)] *= 1e-3
    # Up to where the pause begins, and 80 ms of it.
    assert report_of(sound).duration_s == pytest.approx(12.08, abs=0.05)


def test_speech_without_a_pause_is_cut_all_the_same():
    tone = 0.3 * np.sin(np.arange(20 * RATE) * 0.05).astype(np.float32)
    reference, report = prepare_reference(tone, RATE)
    assert 8.9 < reference.duration_s <= 15
    assert warned(report, "only the first")
    assert reference.samples[-1] == 0, "it fades out and does not click"


def test_the_longest_length_is_the_model_s_to_say():
    assert report_of(speech_like(8.0), max_s=5.0).duration_s <= 5
    assert report_of(speech_like(15.5, seed=3), max_s=30.0).cut_s == 0


def test_short_speech_is_warned_of():
    report = report_of(speech_like(2.0))
    assert warned(report, "only 1.8 s of speech: with 3 to 15 s")


def test_the_sound_of_a_telephone_is_warned_of():
    assert warned(report_of(speech_like(4.0, sample_rate=8000), 8000), "recorded at 8000 Hz")


def test_stereo_and_an_offset_make_no_difference():
    speech = speech_like(4.0)
    plain, _ = prepare_reference(speech, RATE)
    stereo, _ = prepare_reference(np.stack([speech + 0.2, speech + 0.1], axis=1), RATE)
    np.testing.assert_allclose(stereo.samples, plain.samples, atol=2e-3)
    assert abs(stereo.samples.mean()) < 1e-3


def test_channels_that_cancel_each_other_are_the_loudest_of_them_as_in_a_file():
    speech = speech_like(4.0)
    plain, _ = prepare_reference(speech, RATE)
    upside_down = np.stack([speech, noise(speech, 50) - speech], axis=1)
    heard, _ = prepare_reference(upside_down, RATE)
    assert len(heard.samples) == len(plain.samples)
    assert abs(np.corrcoef(heard.samples, plain.samples)[0, 1]) > 0.99


@pytest.mark.parametrize("rate", [RATE, 48000])
def test_what_has_no_pitch_is_told_when_it_is_read(rate):
    hiss = np.random.default_rng(0).normal(0, 0.1, 5 * rate).astype(np.float32)
    assert report_of(hiss, rate).warnings[0].startswith("no voice is heard in it")
    said = report_of(speech_like(5.0, sample_rate=rate), rate)
    assert not warned(said, "no voice is heard")


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        (silence(5), "the recording is silent"),
        (silence(5) + 0.3, "the recording is silent"),
        (noise(silence(5) + 1, 100), "the recording is silent"),
        (speech_like(0.2), "0.2 s of speech in the recording; at least 0.5 s"),
        (silence(0), "0 s of speech"),
        (padded(speech_like(0.25)), "s of speech in the recording"),
        (np.eye(1, 80000, 30000, dtype=np.float32)[0], "0 s of speech"),
        (np.full(80000, np.nan, np.float32), "not numbers"),
        ((speech_like(2) * 32767).astype(np.int16), "samples are int16; floats of -1 to 1"),
        (np.zeros((0, 2), np.float32), "0 s of speech"),
    ],
    ids=[
        "zeros",
        "constant",
        "faint",
        "0.2 s",
        "nothing",
        "short",
        "click",
        "nan",
        "whole numbers",
        "no stereo",
    ],
)
def test_what_holds_no_voice_is_refused_in_one_line(samples, complaint):
    with pytest.raises(ValueError, match=complaint) as caught:
        prepare_reference(samples, RATE)
    assert "\n" not in str(caught.value)


def test_equal_recordings_have_equal_names_afterwards():
    speech = speech_like(4.0)
    first, second = (prepare_reference(speech, RATE)[0] for _ in range(2))
    assert first.name() == second.name()
