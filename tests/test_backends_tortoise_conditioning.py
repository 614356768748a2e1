"""A recording becomes a voice: which parts of it are heard, and as which mel spectrograms."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from tiny_tortoise import MEL_NORMS, WIDTH, hum, tiny_clvp, tiny_decoder
from transformers import ClvpFeatureExtractor
from transformers.audio_utils import mel_filter_bank

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.tortoise.conditioning import (
    check_reference,
    clips_of,
    code_latent,
    code_mel,
    diffusion_mel,
    voice_latents,
)

NORMS = torch.tensor(MEL_NORMS)


@pytest.mark.parametrize("seconds", [1.5, 6.0, 9.0])
def test_the_autoregressive_models_mel_is_that_of_transformers_extractor(seconds: float) -> None:
    clip = hum(seconds, rate=22_050)
    extractor = ClvpFeatureExtractor(mel_norms=MEL_NORMS)
    theirs = extractor(clip.samples, sampling_rate=22_050, return_tensors="np")
    ours = code_mel(clip, NORMS)
    assert ours.shape == (80, 517)
    assert np.abs(ours.numpy() - theirs["input_features"][0]).max() < 2e-3


def test_the_decoders_mel_is_of_magnitudes_of_the_first_102_400_samples() -> None:
    clip = hum(5)
    wave = np.pad(np.clip(clip.samples[:102_400], -1, 1), 512, mode="reflect")
    window = np.hanning(1025)[:-1]
    frames = [wave[at : at + 1024] * window for at in range(0, 102_401, 256)]
    filters = mel_filter_bank(513, 100, 0.0, 12_000.0, 24_000, norm="slaney", mel_scale="slaney")
    magnitudes = np.abs(np.fft.rfft(frames))
    theirs = np.log(np.maximum(magnitudes @ filters, 1e-5)).T
    ours = diffusion_mel(clip).numpy()
    assert ours.shape == (100, 401)
    assert np.abs(ours - theirs).max() < 2e-3


def test_a_short_clip_is_followed_by_silence() -> None:
    silent = np.log(1e-5)
    assert (diffusion_mel(hum(2))[:, 200:] - silent).abs().max() < 1e-5
    norms = torch.ones(80)
    assert (code_mel(hum(2), norms)[:, 200:] - silent).abs().max() < 1e-5


def test_nothing_after_the_part_that_is_used_matters() -> None:
    long = hum(8, rate=22_050)
    cut = Reference(long.samples[: 6 * 22_050], 22_050)
    assert torch.equal(code_mel(long, NORMS), code_mel(cut, NORMS))


def test_every_sample_rate_gives_the_same_spectrogram() -> None:
    low, high = (diffusion_mel(hum(5, rate=rate)) for rate in (24_000, 48_000))
    below_10_khz = low[:85] - high[:85]  # the buzz itself; above lie its noise and the filter
    assert below_10_khz[:40].abs().mean() < 0.15


@pytest.mark.parametrize(
    ("seconds", "starts"),
    [
        (1.5, [0]),
        (6, [0]),
        (11.9, [0]),
        (12, [0, 6]),
        (20, [0, 7, 14]),
        (60, [0, 13.5, 27, 40.5, 54]),
    ],
)
def test_a_long_recording_is_several_clips_spread_over_it(
    seconds: float, starts: list[float]
) -> None:
    rate = 1000
    reference = Reference(np.arange(round(seconds * rate), dtype=np.float32), rate)
    clips = clips_of(reference)
    assert [clip.samples[0] / rate for clip in clips] == starts
    assert {len(clip.samples) for clip in clips} == {min(6 * rate, len(reference.samples))}


def test_a_voice_of_several_clips_is_the_mean_of_theirs() -> None:
    clvp, decoder = tiny_clvp(), tiny_decoder()
    clips = [hum(6, pitch=110), hum(6, pitch=170), hum(3, pitch=90)]
    together = voice_latents(clips, clvp, decoder, NORMS)
    alone = [voice_latents([clip], clvp, decoder, NORMS) for clip in clips]
    for name, width in (("codes", WIDTH), ("diffusion", 2 * WIDTH)):
        mean = torch.stack([latents[name] for latents in alone]).mean(dim=0)
        assert together[name].shape == (1, width)
        assert torch.allclose(together[name], mean, atol=1e-5)
        assert not torch.allclose(alone[0][name], alone[1][name], atol=1e-2)


def test_the_voice_for_codes_is_the_first_place_of_transformers_encoder() -> None:
    clvp = tiny_clvp()
    mels = torch.randn((2, 80, 30), generator=torch.Generator().manual_seed(0))
    text = torch.tensor([[5, 6, 7]])
    first = clvp.conditioning_encoder(input_features=mels, input_ids=text)[:, 0]
    assert torch.allclose(code_latent(clvp, mels), first.mean(dim=0, keepdim=True), atol=1e-6)


@pytest.mark.parametrize(
    ("samples", "complaint"),
    [
        (np.zeros(48_000, np.float32), "silent"),
        (np.ones(4_800, np.float32), "0.20 s long"),
        (np.zeros(0, np.float32), "0.00 s long"),
        (np.ones((48_000, 2), np.float32), "mono"),
        (np.full(48_000, np.nan, np.float32), "no numbers"),
    ],
)
def test_a_recording_without_a_voice_is_refused_in_one_line(
    samples: np.ndarray, complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint) as caught:
        check_reference(Reference(samples, 24_000))
    assert "\n" not in str(caught.value)
