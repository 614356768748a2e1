"""How far the spectrum of a copy, as a vocoder makes, is from its original's, sample for sample."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from diffusion_bench.audio.mel import MelSettings, log_mel

DB = 20 / math.log(10)  # of a natural logarithm of magnitudes
FLOOR_DB = -80.0  # bins that far below the loudest bin of the original count as that


def log_spectral_distance_db(
    copy: Tensor,
    original: Tensor,
    settings: MelSettings | None = None,
    *,
    floor_db: float = FLOOR_DB,
) -> float:
    """Return the mean over frames of the RMS difference of log magnitude spectra, in dB.

    Both (samples,) of equal length; frames as those of the mel (Gray & Markel 1976, "Distance
    measures for speech processing"). Silence and what is below the floor counts little.
    """
    _refuse_other_lengths(copy, original)
    settings = settings or MelSettings()
    window = torch.hann_window(settings.win_length)
    first, second = (
        torch.stft(
            one.detach().cpu().float(),
            settings.n_fft,
            settings.hop_length,
            settings.win_length,
            window=window,
            return_complex=True,
        ).abs()
        for one in (copy, original)
    )
    floor = (second.max() * 10 ** (floor_db / 20)).clamp(min=1e-10)
    difference_db = 20 * (first.clamp(min=floor) / second.clamp(min=floor)).log10()
    return float(difference_db.square().mean(dim=0).sqrt().mean())


def mel_distance_db(copy: Tensor, original: Tensor) -> float:
    """Return the mean absolute difference of log mel spectrograms, less their median one, in dB.

    So that the same sound turned down is no other one, as mel-cepstral distances leave the level
    out (Kubichek 1993, "Mel-cepstral distance measure"). Both (samples,) of equal length at the
    rate of `MelSettings`; of each, what is that far below its loudest counts as that.
    """
    _refuse_other_lengths(copy, original)
    first, second = (_below_loudest_db(one) for one in (copy, original))
    difference_db = first - second
    return float((difference_db - difference_db.median()).abs().mean())


def _below_loudest_db(samples: Tensor) -> Tensor:
    mel = DB * log_mel(samples.detach().cpu().float(), MelSettings())[0]
    return (mel - mel.max()).clamp(min=FLOOR_DB)


def _refuse_other_lengths(copy: Tensor, original: Tensor) -> None:
    if copy.dim() != 1 or copy.shape != original.shape:
        raise ValueError(
            "two recordings (samples,) of equal length are compared, "
            f"not {tuple(copy.shape)} and {tuple(original.shape)}"
        )
