"""The pitch of a voice: YIN's difference function, with a path through its minima.

YIN (de Cheveigné & Kawahara 2002, "YIN, a fundamental frequency estimator for speech and music")
takes the first deep minimum of each frame on its own, which now and then is an octave off. Here
each frame keeps several minima, and the cheapest path through all frames is found by dynamic
programming, with a price on leaps and on changes of voicing, as in RAPT (Talkin 1995).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusion_bench.audio.resampling import resample

RATE = 16_000  # of the analysis; other recordings are resampled
WINDOW = 512  # samples compared at each lag: 32 ms, more than the longest period
CANDIDATES = 6
PASS_HZ = (1000.0, 2000.0)  # the pitch is read from what is below; the gain falls between them
RUMBLE_HZ = 30.0

# Prices of the path, in units of the normalised difference (0: exactly periodic, about 1: noise).
UNVOICED = 0.46  # of an unvoiced frame: what is less periodic than that is not a voice
LEAP = 0.7  # of a change of pitch by an octave between two frames
TURN = 0.12  # of a change between voiced and unvoiced
LONG_LAG = 0.02  # of each octave of lag: of two minima as deep, the first is the period
SILENCE_DB = 45.0  # frames that much below the loudest are silent, so unvoiced
_QUIET = 1e-10  # mean square of digital silence
_NO_PATH = 1e6


@dataclass(frozen=True)
class PitchTrack:
    """Pitch over time, one value a frame; frame `i` is centred on `i * hop_s`.

    `f0_hz`: (frames,) or (batch, frames) float32, NaN where unvoiced, so that a mean over all of it
    is seen to be wrong. `voiced`: the same shape, bool. `periodicity`: 1 is exactly periodic,
    0 is noise; of the chosen period where voiced, of the best one elsewhere.
    """

    f0_hz: Tensor
    voiced: Tensor
    periodicity: Tensor
    hop_s: float


def pitch_hz(
    samples: Tensor,
    sample_rate: int,
    *,
    hop_s: float = 0.016,
    low: float = 60.0,
    high: float = 500.0,
) -> PitchTrack:
    """Return the pitch of (samples,) or (batch, samples), each `hop_s` seconds from the start on.

    There are `1 + int(duration / hop_s)` frames: those of a mel spectrogram with the same hop.
    Pitch is looked for between `low` and `high` Hz. ValueError for limits that a window of 32 ms
    cannot tell. Independent of level; runs on the CPU.
    """
    if not 40 <= low < high <= 1000:
        raise ValueError(f"pitch limits must be 40 <= low < high <= 1000 Hz, not {low:g}, {high:g}")
    batch = samples.detach().cpu().float().reshape(-1, samples.shape[-1])
    count = 1 + int(samples.shape[-1] / (sample_rate * hop_s) + 1e-9)
    if sample_rate != RATE:
        batch = resample(batch, sample_rate, RATE)
    lags = (int(RATE / high), math.ceil(RATE / low) + 1)
    frames = _frames(_low_passed(batch), count, hop_s, lags[1])
    difference = _normalised_difference(frames, lags[1])
    lag, price = _candidates(difference, lags)
    silent = _silent(frames)
    path = _cheapest_path(lag.numpy(), price.numpy(), silent.numpy(), hop_s)
    return _track(lag, price, torch.from_numpy(path), hop_s, samples.shape[:-1])


def voice_pitch(samples: Tensor, sample_rate: int) -> tuple[float | None, float | None, float]:
    """Return median pitch in Hz, its spread in semitones, and the voiced share of the frames.

    The spread is half of the distance of the 16th and the 84th percentile: the standard deviation
    of a normal distribution, not moved by single wrong frames. `None` where nothing is voiced.
    """
    return pitch_summary(pitch_hz(samples, sample_rate))


def pitch_summary(track: PitchTrack) -> tuple[float | None, float | None, float]:
    """Return what `voice_pitch` does of a track that is there already."""
    share = float(track.voiced.float().mean())
    voiced = track.f0_hz[track.voiced]
    if not len(voiced):
        return None, None, share
    semitones = 12 * voiced.log2()
    edges = semitones.quantile(torch.tensor([0.16, 0.84]))
    return float(voiced.median()), float(edges[1] - edges[0]) / 2, share


def _low_passed(batch: Tensor) -> Tensor:
    """Return recordings without what is above the pitch's first few harmonics, nor any rumble.

    Noise of breath lies above, and a smooth difference function is read between samples.
    """
    hz = torch.linspace(0, RATE / 2, batch.shape[-1] // 2 + 1)
    start, end = PASS_HZ
    fall = ((hz - start) / (end - start)).clamp(0, 1)
    gain = (1 + torch.cos(math.pi * fall)) / 2 * (hz >= RUMBLE_HZ)
    passed: Tensor = torch.fft.irfft(torch.fft.rfft(batch) * gain, batch.shape[-1])
    return passed


def _frames(batch: Tensor, count: int, hop_s: float, longest: int) -> Tensor:
    """Return (batch, frames, WINDOW + longest).

    A lag's window and its shifted copy together are centred on the frame at half the longest lag.
    """
    length = WINDOW + longest
    before = (WINDOW + longest // 2) // 2
    starts = (torch.arange(count, dtype=torch.float64) * hop_s * RATE).round().long()
    missing = max(0, int(starts[-1]) + length - batch.shape[-1])
    padded = torch.nn.functional.pad(batch, (before, missing))
    frames: Tensor = padded[:, starts[:, None] + torch.arange(length)]
    return frames


def _normalised_difference(frames: Tensor, longest: int) -> Tensor:
    """Return YIN's cumulative mean normalised difference at lags 0 to `longest` (eq. 8)."""
    size = 1 << (WINDOW + longest - 1).bit_length()
    spectrum = torch.fft.rfft(frames, size)
    start = torch.fft.rfft(frames[..., :WINDOW], size)
    correlation = torch.fft.irfft(spectrum * start.conj(), size)[..., : longest + 1]
    # In double precision: a difference of two sums that are close where the voice is periodic.
    power: Tensor = frames.double().square().cumsum(dim=-1)
    ends = power[..., WINDOW - 1 :]
    starts = torch.nn.functional.pad(power[..., :longest], (1, 0))
    energy = (ends[..., : longest + 1] - starts).float()
    difference = (energy[..., :1] + energy - 2 * correlation).clamp(min=0)
    difference[..., 0] = 0
    mean = difference.cumsum(dim=-1) / torch.arange(longest + 1).clamp(min=1)
    normalised: Tensor = difference / mean.clamp(min=_QUIET)
    normalised[..., 0] = 1
    return normalised


def _candidates(difference: Tensor, lags: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """Return the lag, in samples with fractions, and the price of each frame's best minima.

    Both (batch, frames, CANDIDATES), the cheapest first. A minimum is read off the parabola through
    it and its neighbours: a short period lies between samples, and would lose against its own
    multiples. The price of a candidate that there is not is infinite.
    """
    shortest, longest = lags
    before, here, after = (difference[..., shortest - 1 + k : longest - 1 + k] for k in range(3))
    curvature = (before + after - 2 * here).clamp(min=1e-9)
    shift = ((before - after) / (2 * curvature)).clamp(-0.5, 0.5)
    depth = (here - curvature * shift.square() / 2).clamp(min=0)
    lag = torch.arange(shortest, longest) + shift
    price = depth + LONG_LAG * (lag / shortest).log2()
    price = torch.where((here < before) & (here <= after), price, torch.inf)
    price, index = price.topk(CANDIDATES, dim=-1, largest=False)
    return lag.gather(-1, index), price


def _silent(frames: Tensor) -> Tensor:
    """Return which frames (batch, frames) are far below the loudest of their recording."""
    power = frames.square().mean(dim=-1)
    loudest = power.amax(dim=-1, keepdim=True)
    return power <= (loudest * 10 ** (-SILENCE_DB / 10)).clamp(min=_QUIET)


def _cheapest_path(
    lag: NDArray[np.float32], price: NDArray[np.float32], silent: NDArray[np.bool_], hop_s: float
) -> NDArray[np.int64]:
    """Return the candidate of each frame on the cheapest path, (batch, frames); the last: unvoiced.

    Viterbi's algorithm over the candidates and "unvoiced", all recordings at once.
    """
    octaves = np.log2(np.maximum(lag, 1))
    missing = ~np.isfinite(price) | silent[..., None]
    voiced = np.where(missing, _NO_PATH, price)
    unvoiced = np.where(silent, 0, UNVOICED)
    price = np.concatenate([voiced, unvoiced[..., None]], axis=-1)
    batch, count, states = price.shape
    leap = LEAP * 0.016 / hop_s
    step = np.full((batch, states, states), TURN)
    step[:, -1, -1] = 0
    back = np.zeros((batch, count, states), dtype=np.int64)
    total = price[:, 0]
    for frame in range(1, count):
        # From every candidate (axis 1) to every candidate (axis 2).
        apart = np.abs(octaves[:, frame - 1, :, None] - octaves[:, frame, None, :])
        step[:, :-1, :-1] = leap * apart
        arrived = total[:, :, None] + step
        back[:, frame] = arrived.argmin(axis=1)
        total = arrived.min(axis=1) + price[:, frame]
    path = np.empty((batch, count), dtype=np.int64)
    path[:, -1] = total.argmin(axis=1)
    for frame in range(count - 1, 0, -1):
        path[:, frame - 1] = np.take_along_axis(back[:, frame], path[:, frame, None], axis=1)[:, 0]
    return path


def _track(lag: Tensor, price: Tensor, path: Tensor, hop_s: float, shape: torch.Size) -> PitchTrack:
    voiced = path < CANDIDATES
    # The candidates are sorted, so the first stands for unvoiced frames.
    chosen = torch.where(voiced, path, 0)[..., None]
    f0_hz = (RATE / lag.gather(-1, chosen)[..., 0]).masked_fill(~voiced, torch.nan)
    periodicity = (1 - price.gather(-1, chosen)[..., 0]).clamp(0, 1)
    tracks = (f0_hz, voiced, periodicity)
    f0_hz, voiced, periodicity = (track.reshape(*shape, -1) for track in tracks)
    return PitchTrack(f0_hz=f0_hz, voiced=voiced, periodicity=periodicity, hop_s=hop_s)
