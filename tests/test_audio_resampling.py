"""Sound at another rate: between usual ones as torchaudio has it, and between odd ones at all."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torchaudio

from diffusion_bench.audio.resampling import resample

USUAL = (8000, 11_025, 12_000, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000, 88_200, 96_000)


@pytest.mark.parametrize("rate", USUAL)
@pytest.mark.parametrize("wanted", [16_000, 22_050, 24_000, 44_100])
def test_usual_rates_are_brought_to_each_other_exactly(rate: int, wanted: int) -> None:
    noise = torch.randn(2, 3000, generator=torch.Generator().manual_seed(0))
    exact = torchaudio.functional.resample(noise, rate, wanted)
    assert torch.equal(resample(noise, rate, wanted), exact)


@pytest.mark.parametrize("rate", [4001, 15_999, 44_101, 383_983])
def test_an_odd_rate_keeps_length_and_pitch_and_asks_for_few_filters(
    rate: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """From 383 983 to 16 000 Hz torchaudio by itself would ask for 49 GB."""
    sizes = []
    whole = torchaudio.functional.resample

    def watched(samples: torch.Tensor, old: int, new: int) -> torch.Tensor:
        divisor = np.gcd(old, new)
        sizes.append(old * new // divisor**2)
        assert sizes[-1] < 3e6
        return whole(samples, old, new)

    monkeypatch.setattr(torchaudio.functional, "resample", watched)
    tone = torch.sin(2 * np.pi * 440 * torch.arange(2 * rate) / rate)
    brought = resample(tone, rate, 16_000)
    assert len(sizes) == 1
    assert len(brought) == pytest.approx(32_000, rel=1e-3)
    spectrum = np.abs(np.fft.rfft(brought.numpy() * np.hanning(len(brought)), 2**18))
    assert spectrum.argmax() * 16_000 / 2**18 == pytest.approx(440, rel=1e-3)
    middle = brought[1000:-1000]
    assert float(middle.square().mean()) == pytest.approx(0.5, rel=0.01)
