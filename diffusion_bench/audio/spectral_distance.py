"""How far two recordings of the same speech are apart in their spectra.

Log-spectral distance and mel L1 compare sample for sample: a vocoder's copy with its original.
Mel-cepstral distance allows for other timing, but the words must be the same.
"""

from __future__ import annotations

import math

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from diffusion_bench.audio.mel import MelSettings, log_mel

FLOOR_DB = -80.0  # bins that far below the loudest bin of the original count as that
CEPSTRA = 13


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


def mel_l1(copy: Tensor, original: Tensor, settings: MelSettings | None = None) -> float:
    """Return the mean difference of two natural-log mels; (samples,) of equal length."""
    _refuse_other_lengths(copy, original)
    settings = settings or MelSettings()
    both = torch.stack([copy, original]).detach().cpu()
    first, second = log_mel(both, settings)
    return float((first - second).abs().mean())


def mel_cepstral_distance_db(
    result: Tensor, parallel: Tensor, settings: MelSettings | None = None
) -> float:
    """Return the mel-cepstral distance in dB of two recordings of the same words.

    Kubichek (1993), "Mel-cepstral distance measure for objective speech quality assessment":
    coefficients 1 to 13, without the level, along the cheapest alignment of the frames.
    """
    settings = settings or MelSettings()
    first, second = (_cepstra(one, settings) for one in (result, parallel))
    # Not by a product of matrices, which leaves a little between frames that are equal.
    distances = torch.cdist(first, second, compute_mode="donot_use_mm_for_euclid_dist")
    costs = distances.double().numpy()
    return 10 / math.log(10) * math.sqrt(2) * _mean_along_cheapest_path(costs)


def _cepstra(samples: Tensor, settings: MelSettings) -> Tensor:
    """Return (frames, 13) heights of the cosines whose sum is the natural log spectrum."""
    mel = log_mel(samples.detach().cpu(), settings)[0]
    cosines = torchaudio.functional.create_dct(CEPSTRA + 1, settings.n_mels, "ortho")[:, 1:]
    cepstra: Tensor = mel.T @ cosines * math.sqrt(2 / settings.n_mels)
    return cepstra


def _mean_along_cheapest_path(costs: NDArray[np.float64]) -> float:
    """Return the mean cost along the cheapest monotonic path from corner to corner (DTW).

    Sakoe & Chiba (1978), without slope constraint; a diagonal of the table at once.
    """
    rows, columns = costs.shape
    total = np.full((rows + 1, columns + 1), np.inf)
    steps = np.zeros((rows + 1, columns + 1))
    total[0, 0] = 0
    for diagonal in range(2, rows + columns + 1):
        i = np.arange(max(1, diagonal - columns), min(rows, diagonal - 1) + 1)
        j = diagonal - i
        before = np.stack([total[i - 1, j - 1], total[i - 1, j], total[i, j - 1]])
        taken = before.argmin(axis=0)
        counts = np.stack([steps[i - 1, j - 1], steps[i - 1, j], steps[i, j - 1]])
        here = np.arange(len(i))
        total[i, j] = before[taken, here] + costs[i - 1, j - 1]
        steps[i, j] = counts[taken, here] + 1
    return float(total[-1, -1] / steps[-1, -1])


def _refuse_other_lengths(copy: Tensor, original: Tensor) -> None:
    if copy.dim() != 1 or copy.shape != original.shape:
        raise ValueError(
            "two recordings (samples,) of equal length are compared, "
            f"not {tuple(copy.shape)} and {tuple(original.shape)}"
        )
