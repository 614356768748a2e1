"""Griffin-Lim, and what happens to a vocoder that reads other mels than the model writes."""

from __future__ import annotations

import math

import pytest
import torch

from diffusion_bench.audio.mel import MelSettings, log_mel
from diffusion_bench.audio.pitch import pitch_hz
from diffusion_bench.audio.vocoders import GriffinLim, Resynthesis, Vocoder, vocoder_for

SETTINGS = MelSettings()


def sung(f0_hz=140.0, seconds=1.0):
    time = torch.arange(int(seconds * 16_000)) / 16_000
    vibrato = 0.02 * f0_hz / 5 * torch.sin(2 * math.pi * 5 * time)
    phase = 2 * math.pi * f0_hz * time + vibrato
    noise = torch.randn(len(time), generator=torch.Generator().manual_seed(0))
    return 0.1 * sum(torch.sin(k * phase) / k for k in range(1, 25)) + 0.002 * noise


class Recorder:
    """A vocoder that remembers the mel it was given."""

    name = "recorder"

    def __init__(self, settings):
        self.settings = settings

    def __call__(self, mel):
        self.mel = mel
        return torch.zeros(len(mel), self.settings.samples(mel.shape[-1]))


def test_griffin_lim_gives_back_the_mel_and_the_pitch():
    samples = sung()
    mel = log_mel(samples, SETTINGS)
    again = GriffinLim(SETTINGS)(mel)
    assert again.shape == (1, SETTINGS.samples(mel.shape[-1]))
    assert (log_mel(again, SETTINGS) - mel).abs().mean() < 0.25
    track = pitch_hz(again[0], 16_000)
    assert abs(12 * math.log2(float(track.f0_hz[track.voiced].median()) / 140)) < 0.3


def test_more_iterations_fit_the_magnitudes_better():
    mel = log_mel(sung(), SETTINGS)

    def misfit(iterations):
        again = GriffinLim(SETTINGS, iterations=iterations)(mel)
        return float((log_mel(again, SETTINGS) - mel).abs().mean())

    assert misfit(32) < 0.8 * misfit(1)


def test_a_seed_fixes_the_sound_alone_and_in_a_batch_and_leaves_the_global_one():
    mels = log_mel(torch.stack([sung(140.0), sung(220.0)]), SETTINGS)
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    both = GriffinLim(SETTINGS, iterations=4)(mels)
    assert torch.equal(torch.rand(1), expected)
    torch.testing.assert_close(GriffinLim(SETTINGS, iterations=4)(mels[1:]), both[1:])
    assert not torch.allclose(GriffinLim(SETTINGS, iterations=4, seed=1)(mels), both)


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 20])
def test_short_mels_have_the_samples_that_were_announced(frames):
    samples = GriffinLim(SETTINGS, iterations=2)(torch.full((2, 80, frames), -4.0))
    assert samples.shape == (2, SETTINGS.samples(frames))
    assert samples.isfinite().all()


def test_griffin_lim_is_a_vocoder_and_refuses_what_it_cannot_read():
    griffin_lim = GriffinLim(SETTINGS)
    assert isinstance(griffin_lim, Vocoder)
    with pytest.raises(ValueError, match=r"\(batch, 80, frames\), not \(1, 100, 7\)"):
        griffin_lim(torch.zeros(1, 100, 7))
    with pytest.raises(ValueError, match="1 iteration or more"):
        GriffinLim(SETTINGS, iterations=0)
    with pytest.raises(ValueError, match="centred"):
        GriffinLim(MelSettings(centred=False))


def test_a_vocoder_of_the_same_mels_is_left_as_it_is():
    vocoder = Recorder(SETTINGS)
    assert vocoder_for(SETTINGS, vocoder) is vocoder


def test_a_vocoder_of_decimal_logarithms_gets_them():
    vocoder = Recorder(MelSettings(log="decimal"))
    fitted = vocoder_for(SETTINGS, vocoder)
    assert isinstance(fitted, Vocoder)
    assert (fitted.name, fitted.settings) == ("recorder", SETTINGS)
    mel = log_mel(sung(), SETTINGS)
    assert fitted(mel).shape == (1, SETTINGS.samples(mel.shape[-1]))
    torch.testing.assert_close(vocoder.mel, log_mel(sung(), vocoder.settings))


FINER = MelSettings(sample_rate=24_000, n_mels=100, f_max=12_000)


def pitch_of(samples):
    track = pitch_hz(samples, 16_000)
    return float(track.f0_hz[track.voiced].median())


def semitones(hz, other_hz):
    return abs(12 * math.log2(hz / other_hz))


def test_a_vocoder_of_other_mels_says_again_what_another_one_has_said():
    mels = log_mel(torch.stack([sung(140.0), sung(220.0)]), SETTINGS)
    fitted = vocoder_for(SETTINGS, GriffinLim(FINER, iterations=16, name="finer"))
    assert isinstance(fitted, Vocoder)
    assert (fitted.name, fitted.settings) == ("finer", SETTINGS)
    assert "'finer'" in fitted.note
    assert "'griffin-lim'" in fitted.note
    both = fitted(mels)
    assert both.shape == (2, SETTINGS.samples(mels.shape[-1]))
    assert semitones(pitch_of(both[0]), 140) < 0.5
    assert semitones(pitch_of(both[1]), 220) < 0.5
    assert (log_mel(both, SETTINGS) - mels).abs().mean() < 0.5
    torch.testing.assert_close(fitted(mels[1:]), both[1:], atol=1e-4, rtol=1e-3)


class Singer(Recorder):
    """A vocoder that sings one note, whatever it is given."""

    name = "singer"

    def __call__(self, mel):
        return sung(300.0, seconds=2.0)[: self.settings.samples(mel.shape[-1])].expand(len(mel), -1)


def test_the_sound_that_is_said_again_is_that_of_the_vocoder_it_was_given():
    singer, heard = Singer(SETTINGS), Recorder(FINER)
    mel = log_mel(sung(140.0), SETTINGS)
    again = vocoder_for(SETTINGS, GriffinLim(FINER), first=singer)(mel)
    assert semitones(pitch_of(again[0]), 300) < 0.5
    said_again = vocoder_for(SETTINGS, heard, first=singer)
    assert said_again(mel).shape == (1, SETTINGS.samples(mel.shape[-1]))
    assert heard.mel.shape[1] == 100
    # At its own rate: above half of the model's there is nothing.
    inner = heard.mel.exp()[0, :, 5:-5]
    assert inner[-10:].max() < 0.01 * inner.max()
    assert "'singer'" in said_again.note


@pytest.mark.parametrize("frames", [1, 2, 3, 4, 20])
@pytest.mark.parametrize("centred", [True, False])
def test_short_mels_said_again_have_the_samples_that_were_announced(frames, centred):
    other = Recorder(FINER.model_copy(update={"centred": centred}))
    fitted = Resynthesis(GriffinLim(SETTINGS, iterations=2), other)
    samples = fitted(torch.full((2, 80, frames), -4.0))
    assert samples.shape == (2, SETTINGS.samples(frames))
    assert samples.isfinite().all()
    # No end is lost: the other's mel covers the sound.
    assert (
        frames == 1
        or other.settings.samples(other.mel.shape[-1]) / 24_000 >= samples.shape[-1] / 16_000
    )
