"""The mel spectrogram against torchaudio's parts, its inverse, and what it refuses."""

from __future__ import annotations

import math

import pytest
import torch
import torchaudio

from diffusion_bench.audio.mel import MelSettings, convert_mel, inverse_mel, log_mel

SETTINGS = MelSettings()


def chord(seconds=1.0, sample_rate=16_000):
    """Return (2, samples): harmonics of 120 Hz and of 240 Hz, over breath."""
    time = torch.arange(int(seconds * sample_rate)) / sample_rate
    low = sum(torch.sin(2 * math.pi * 120 * k * time) / k for k in range(1, 30))
    high = sum(torch.sin(2 * math.pi * 240 * k * time) / k for k in range(1, 15))
    breath = torch.randn(2, len(time), generator=torch.Generator().manual_seed(0))
    return torch.stack([0.1 * low, 0.05 * high]) + 0.003 * breath


@pytest.mark.parametrize("samples", [513, 1023, 1024, 16_000, 16_127, 16_128])
def test_it_has_the_frames_that_were_announced(samples):
    mel = log_mel(torch.randn(3, samples), SETTINGS)
    assert mel.shape == (3, 80, SETTINGS.frames(samples))


def test_it_is_the_natural_log_of_the_magnitude_through_slaney_filters():
    samples = chord()
    window = torch.hann_window(1024)
    spectrum = torch.stft(samples, 1024, 256, window=window, return_complex=True).abs()
    filters = torchaudio.functional.melscale_fbanks(
        513, 0.0, 8000.0, 80, 16_000, norm="slaney", mel_scale="slaney"
    )
    expected = (filters.T @ spectrum).clamp(min=1e-5).log()
    torch.testing.assert_close(log_mel(samples, SETTINGS), expected, atol=1e-4, rtol=1e-4)


def test_silence_lies_on_the_floor_and_one_recording_needs_no_batch():
    mel = log_mel(torch.zeros(4000), SETTINGS)
    assert mel.shape == (1, 80, 16)
    assert torch.equal(mel, torch.full_like(mel, math.log(1e-5)))


def test_gradients_pass_even_after_a_first_use_without_them():
    settings = MelSettings(log_floor=2e-5)  # so that its filters are made under inference_mode
    with torch.inference_mode():
        log_mel(chord(), settings)
    samples = chord().requires_grad_()
    log_mel(samples, settings).mean().backward()
    assert samples.grad.abs().sum() > 0


def misfit(mel, **options):
    """Return the mean difference, in nepers, of a mel and the mel of its inverse."""
    magnitude = inverse_mel(mel, SETTINGS, **options)
    assert magnitude.shape == (len(mel), 513, mel.shape[-1])
    assert magnitude.min() >= 0
    filters = torchaudio.functional.melscale_fbanks(
        513, 0.0, 8000.0, 80, 16_000, norm="slaney", mel_scale="slaney"
    )
    return float(((filters.T @ magnitude).clamp(min=1e-5).log() - mel).abs().mean())


def test_the_inverse_is_not_negative_and_has_the_same_mel():
    assert misfit(log_mel(chord(), SETTINGS)) < 0.03


def test_updates_bring_the_inverse_closer_to_the_mel():
    mel = log_mel(chord(), SETTINGS)
    assert misfit(mel, iterations=4) < 0.5 * misfit(mel, iterations=0)


def test_settings_say_in_which_fields_they_differ():
    other = MelSettings(sample_rate=24_000, n_mels=100, f_max=12_000.0)
    assert SETTINGS.differences(other) == ("sample_rate", "n_mels", "f_max")
    assert SETTINGS.differences(MelSettings()) == ()


def test_settings_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="hop_length <= win_length <= n_fft"):
        MelSettings(win_length=2048)
    with pytest.raises(ValueError, match="half the sample rate"):
        MelSettings(f_max=9000.0)


def test_a_recording_shorter_than_half_a_window_is_refused():
    with pytest.raises(ValueError, match="512 samples are too short"):
        log_mel(torch.zeros(1, 512), SETTINGS)
    with pytest.raises(ValueError, match="not \\(1, 1, 9000\\)"):
        log_mel(torch.zeros(1, 1, 9000), SETTINGS)


def test_frames_that_are_not_centred_are_half_a_hop_later():
    settings = MelSettings(centred=False)
    samples = chord()
    mel = log_mel(samples, settings)
    assert mel.shape == (2, 80, settings.frames(16_000)) == (2, 80, 62)
    later = log_mel(samples[:, 128:], SETTINGS)
    torch.testing.assert_close(mel[..., 3:-3], later[..., 3 : mel.shape[-1] - 3])


@pytest.mark.parametrize("settings", [SETTINGS, MelSettings(centred=False)])
def test_so_many_samples_have_so_many_frames(settings):
    assert settings.frames(settings.samples(40)) == 40
    assert settings.frames(settings.samples(40) - 1) == 39


def test_another_logarithm_and_a_higher_floor_are_converted_exactly():
    samples = torch.cat([chord(), torch.zeros(2, 4000)], dim=-1)
    want = MelSettings(log="decimal", log_floor=1e-3)
    converted = convert_mel(log_mel(samples, SETTINGS), SETTINGS, want)
    torch.testing.assert_close(converted, log_mel(samples, want))
    assert converted.min() == pytest.approx(-3)
    back = convert_mel(converted, want, MelSettings(log_floor=1e-3))
    torch.testing.assert_close(back, log_mel(samples, MelSettings(log_floor=1e-3)))


def test_a_decimal_logarithm_is_inverted_as_well():
    decimal = MelSettings(log="decimal")
    magnitude = inverse_mel(log_mel(chord(), decimal), decimal)
    torch.testing.assert_close(magnitude, inverse_mel(log_mel(chord(), SETTINGS), SETTINGS))


def test_what_cannot_be_converted_is_refused_by_name():
    mel = torch.zeros(1, 80, 4)
    with pytest.raises(ValueError, match=r"differ: f_min 0\.0 against 80\.0, scale slaney against"):
        convert_mel(mel, SETTINGS, MelSettings(f_min=80, scale="htk", log="decimal"))
    with pytest.raises(ValueError, match="log_floor 1e-05 against 1e-07"):
        convert_mel(mel, SETTINGS, MelSettings(log_floor=1e-7))
