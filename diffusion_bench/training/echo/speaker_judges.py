"""Judges of who speaks that no network of ours has seen, and that have no weights themselves.

Two that look at different things, so that speech which pleases one by accident does not please
both: levels of bands and the pitch, and where a vocal tract resonates. Each gives numbers that are
compared by Euclidean distance.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from diffusion_bench.audio.mel import MelSettings, log_mel
from diffusion_bench.audio.pitch import voice_pitch
from diffusion_bench.training.echo.aligned import SAMPLE_RATE

Features = NDArray[np.float64]

RIVALS = 24  # voices that a speaker is looked for among
ORDER = 16  # of the linear prediction: eight resonances up to 8 kHz
FRAME, HOP = 512, 160
GATE_DB = 25.0  # frames that far below the loudest say nothing
VOWEL = 0.5  # of the correlation of neighbouring samples: below it a frame hisses
PRE_EMPHASIS = 0.95
LAG_HZ = 60.0  # width of the smoothing that keeps poles off the harmonics


def spectrum_of(samples: NDArray[np.float32]) -> Features:
    """Return a judge's view of a voice: long-term mean and deviation of 64 bands, and its pitch.

    No network and no training: so it cannot flatter an encoder that was trained along.
    """
    mel = log_mel(torch.from_numpy(samples), MelSettings(n_mels=64))[0]
    loud = mel.mean(dim=0)
    speech = mel[:, loud > loud.max() - 4.0]
    bands = speech.mean(dim=1)
    median_hz, _, _ = voice_pitch(torch.from_numpy(samples), SAMPLE_RATE)
    octaves = np.log2((median_hz or 150.0) / 150.0)
    shape = torch.cat([bands - bands.mean(), 0.5 * speech.std(dim=1)]).double().numpy()
    return np.concatenate([shape, [8.0 * octaves]])


def resonances_of(samples: NDArray[np.float32]) -> Features:
    """Return a second judge's view: the mean line spectral frequencies of vowels, (16,) in Hz.

    They are where the vocal tract resonates (Itakura 1975, "Line spectrum representation of linear
    predictor coefficients"), whatever the level, and hardly depend on the pitch. ValueError where
    there is no vowel.
    """
    frames = _vowels(samples.astype(np.float64))
    if not len(frames):
        raise ValueError("there is no vowel to judge a speaker by")
    found = [one for one in map(_line_spectrum, _predictors(frames)) if len(one) == ORDER]
    return np.asarray(np.mean(found, axis=0))


def _vowels(samples: Features) -> Features:
    """Return the loud frames whose energy lies low, (frames, FRAME)."""
    if len(samples) < FRAME:
        return np.empty((0, FRAME))
    frames = np.lib.stride_tricks.sliding_window_view(samples, FRAME)[::HOP]
    power = np.square(frames).sum(axis=1)
    frames = frames[power > power.max() * 10 ** (-GATE_DB / 10)]
    correlation = (frames[:, 1:] * frames[:, :-1]).sum(axis=1) / np.square(frames).sum(axis=1)
    return np.asarray(frames[correlation > VOWEL])


def _predictors(frames: Features) -> Features:
    """Return A(z) of each frame, (frames, ORDER + 1), by the autocorrelation method."""
    raised = (
        np.concatenate([frames[:, :1], frames[:, 1:] - PRE_EMPHASIS * frames[:, :-1]], axis=1)
        * np.hanning(FRAME + 2)[1:-1]
    )
    power = np.abs(np.fft.rfft(raised, 2 * FRAME)) ** 2
    lags = np.arange(ORDER + 1)
    window = np.exp(-0.5 * np.square(2 * np.pi * LAG_HZ / SAMPLE_RATE * lags))
    correlation = np.fft.irfft(power)[:, : ORDER + 1] * window
    correlation[:, 0] *= 1 + 1e-5  # as if there were noise 50 dB below
    toeplitz = correlation[:, np.abs(np.subtract.outer(lags[:-1], lags[:-1]))]
    taps = np.linalg.solve(toeplitz, correlation[:, 1:, None])[..., 0]
    return np.concatenate([np.ones((len(taps), 1)), -taps], axis=1)


def _line_spectrum(predictor: Features) -> Features:
    """Return the line spectral frequencies of A(z) in Hz, in order.

    The roots on the unit circle of A(z) +- z^-(p+1) A(1/z), but for those at 0 and at half the
    sample rate.
    """
    straight, turned = np.append(predictor, 0.0), np.append(0.0, predictor[::-1])
    roots = np.concatenate([np.roots(straight + turned), np.roots(straight - turned)])
    angles = np.angle(roots)
    inner = np.sort(angles[(angles > 1e-4) & (angles < np.pi - 1e-4)])
    return np.asarray(inner * SAMPLE_RATE / (2 * np.pi))


JUDGES: dict[str, Callable[[NDArray[np.float32]], Features]] = {
    "long-term spectrum": spectrum_of,
    "line spectral frequencies": resonances_of,
}


def distances(found: Features, known: Features) -> Features:
    """Return how far each of (speech, features) is from each of (voices, features)."""
    return np.asarray(np.sqrt(np.square(found[:, None] - known[None]).sum(axis=-1)))


def nearest_of_rivals(found: Features, known: Features) -> NDArray[np.bool_]:
    """Return whether each of (speech, features) is nearest to its own of (voices, features).

    Groups of RIVALS follow one another; a last group that is not full takes its neighbours in.
    """
    hits = np.zeros(len(found), bool)
    for first in range(0, len(found), RIVALS):
        stop = min(first + RIVALS, len(found))
        begin = max(0, stop - RIVALS)
        group = distances(found[first:stop], known[begin:stop])
        hits[first:stop] = group.argmin(axis=1) == np.arange(first, stop) - begin
    return hits


def equal_error_rate(same: Features, different: Features) -> float:
    """Return the share of errors where as many same pairs are refused as different ones taken.

    `same` and `different` are distances of pairs of one speaker and of two.
    """
    limits = np.sort(np.concatenate([same, different]))
    refused = np.array([(same > limit).mean() for limit in limits])
    taken = np.array([(different <= limit).mean() for limit in limits])
    place = int(np.abs(refused - taken).argmin())
    return float(refused[place] + taken[place]) / 2
