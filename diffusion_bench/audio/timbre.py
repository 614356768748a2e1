"""Timbre similarity (MFCC): how alike two recordings sound, without any weights.

The mean mel-frequency cepstrum of the speech, on a fixed scale, compared by cosine. It hears the
vocal tract, the voice's brightness, and the microphone too. It is no speaker verification: how
often it errs is in `evidence()`, measured by `training/echo/calibrate_timbre.py`, which made the
scale in timbre.json.
"""

from __future__ import annotations

from bisect import bisect_left
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray
from torch import Tensor

from diffusion_bench.audio.resampling import resample
from diffusion_bench.records import Record

NAME = "timbre similarity (MFCC)"

RATE = 16_000
FFT, HOP = 512, 256
MELS, COEFFICIENTS = 40, 23  # c1 to c23; c0 is the level
LOW_HZ, HIGH_HZ = 100.0, 7000.0  # what most microphones and codecs let through
GATE_DB = 20.0  # frames that far below the loud ones are no speech
LEAST_SPEECH_S = 0.4
FLOOR = 1e-4  # of a band's magnitude, against the mean of all bands


class TimbreEvidence(Record):
    """How well it tells speakers apart: clean against clean clips, and clean against recorded ones.

    AUC: the chance that a pair of one speaker is more alike than a pair of two. EER: the error
    rate at the threshold where both kinds of errors are as frequent.
    """

    speakers: int
    same_pairs: int
    different_pairs: int
    auc_clean: float
    eer_clean: float
    auc_recorded: float
    eer_recorded: float


class TimbreScale(Record):
    """What timbre.json holds. `different`: percentiles 0 to 100 of similarities of two speakers."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    different: tuple[float, ...]
    evidence: TimbreEvidence


def timbre_similarity(
    samples: NDArray[np.float32],
    sample_rate: int,
    other: NDArray[np.float32],
    other_rate: int,
) -> float | None:
    """Return how alike the timbres of two recordings (samples,) are: -1 to 1.

    `None` where one of them has too little speech to tell.
    """
    first, second = timbre(samples, sample_rate), timbre(other, other_rate)
    return None if first is None or second is None else float(first @ second)


def timbre(samples: NDArray[np.float32] | Tensor, sample_rate: int) -> Tensor | None:
    """Return the timbre of a recording (samples,), (23,) of length 1, to be compared by cosine."""
    means = mfcc_means(samples, sample_rate)
    if means is None:
        return None
    scale = _scale()
    standard = (means - torch.tensor(scale.mean)) / torch.tensor(scale.deviation)
    return torch.nn.functional.normalize(standard, dim=0)


def share_of_others_below(similarity: float) -> float:
    """Return the share of pairs of different speakers that are less alike than that: 0 to 1.

    It is read between the percentiles in a straight line.
    """
    percentiles = _scale().different
    place = bisect_left(percentiles, similarity)
    if place in (0, len(percentiles)):
        return float(place > 0)
    low, high = percentiles[place - 1], percentiles[place]
    return (place - 1 + (similarity - low) / (high - low)) / (len(percentiles) - 1)


def evidence() -> TimbreEvidence:
    """Return how well timbre similarity was measured to tell speakers apart."""
    return _scale().evidence


def mfcc_means(samples: NDArray[np.float32] | Tensor, sample_rate: int) -> Tensor | None:
    """Return the mean MFCC c1 to c23 over frames with speech, (23,); `None` for too little of it.

    Independent of level. Davis & Mermelstein (1980), with 40 bands from 100 to 7000 Hz.
    """
    wave = torch.as_tensor(samples, dtype=torch.float32)
    if sample_rate != RATE:
        wave = resample(wave, sample_rate, RATE)
    if wave.shape[-1] < LEAST_SPEECH_S * RATE:
        return None
    transform, cosines = _transforms()
    bands: Tensor = transform(wave).T
    power_db = 10 * bands.sum(dim=1).clamp(min=1e-10).log10()
    speech = (power_db > power_db.quantile(0.95) - GATE_DB) & (power_db > -60)
    if speech.sum() < LEAST_SPEECH_S * RATE / HOP:
        return None
    bands = bands[speech]
    means: Tensor = ((bands / bands.mean() + FLOOR).log() @ cosines).mean(dim=0)
    return means


@cache
def _transforms() -> tuple[Any, Tensor]:
    spectrogram = torchaudio.transforms.MelSpectrogram(
        RATE,
        n_fft=FFT,
        hop_length=HOP,
        f_min=LOW_HZ,
        f_max=HIGH_HZ,
        n_mels=MELS,
        norm="slaney",
        mel_scale="slaney",
    )
    cosines: Tensor = torchaudio.functional.create_dct(COEFFICIENTS + 1, MELS, "ortho")
    return spectrogram, cosines[:, 1:]


@cache
def _scale() -> TimbreScale:
    text = resources.files(__package__).joinpath("timbre.json").read_text(encoding="utf-8")
    return TimbreScale.model_validate_json(text)
