"""The mark put on sound: whole files, or pieces as they come.

samples > spectrum of 16 ms frames > every tile a little louder or softer, by the key > samples
"""

from __future__ import annotations

import math

import numpy as np

from diffusion_bench.audio.watermark.pattern import (
    BLOCK_FRAMES,
    DEFAULT_KEY,
    FRAMES_A_TILE,
    HOP_S,
    PERIOD,
    Grid,
    Samples,
    band_of_bin,
    check,
    frame_size,
    signs_of,
)
from diffusion_bench.audio.watermark.search import best_start

# Depth of the mark in dB over frequency. Most of the energy of speech lies below 1 kHz, where a
# change is dearest in signal-to-noise ratio and heard best.
DEPTH_HZ, DEPTH_DB = (600.0, 1800.0), (0.4, 1.0)


def embed(samples: Samples, sample_rate: int, *, key: str = DEFAULT_KEY) -> Samples:
    """Return mono `samples` with the mark of `key`, same length and sample rate (Hz).

    Where the mark would lift the peak above 1, all samples are scaled down to fit. Raises
    ValueError for sound that is not mono, not finite, or below 8 kHz.
    """
    check(samples, sample_rate)
    if len(samples) == 0:
        return samples.astype(np.float32)
    marker = Marker(sample_rate, key=key)
    marker.start = best_start(samples, sample_rate, marker.signs)
    marked = np.concatenate([marker.add(samples), marker.end()])
    peak = float(np.abs(marked).max())
    limit = max(1.0, float(np.abs(samples).max()))
    return (marked * min(1.0, limit / max(peak, limit))).astype(np.float32)


class Marker:
    """Marks mono sound that comes in pieces: all that is returned, end to end, is as long.

    A piece waits until no later frame reaches it, at most 16 ms. The pattern goes on from piece to
    piece, so that what was heard is found like a file, in 2 s or more of it; a piece alone is too
    short. Peaks are left as they come out.
    """

    def __init__(self, sample_rate: int, *, key: str = DEFAULT_KEY) -> None:
        size = frame_size(sample_rate)
        self.signs = signs_of(key)
        self.start = 0  # tile of the pattern that comes first
        self._rate = sample_rate
        self._window = np.hanning(size + 1)[:size].astype(np.float32)
        self._frame = 0  # the next one; frame 0 is centred on the first sample
        # From here on what is not settled: sound, mark, and the sum of squared windows.
        self._sound = np.zeros(size // 2, np.float32)
        self._mark, self._weight = self._sound.copy(), self._sound.copy()
        self._lead = len(self._sound)  # of it that is before the first sample
        self._at = self._seen = 0

    def add(self, samples: Samples) -> Samples:
        """Take the next piece; return what is settled of it and those before: (samples,)."""
        check(samples, self._rate)
        self._seen += len(samples)
        self._extend(samples)
        self._mark_frames(None)
        return self._give(min(self._start_of(self._frame) - self._at, len(self._sound)))

    def end(self) -> Samples:
        """Return what is left."""
        left = len(self._sound)
        self._extend(np.zeros(2 * len(self._window), np.float32))
        self._mark_frames(math.ceil(self._seen / self._rate / HOP_S) + 1)
        return self._give(left)

    def _start_of(self, frame: int) -> int:
        return round(frame * HOP_S * self._rate)

    def _extend(self, samples: Samples) -> None:
        nothing = np.zeros(len(samples), np.float32)
        self._sound = np.concatenate([self._sound, samples.astype(np.float32)])
        self._mark = np.concatenate([self._mark, nothing])
        self._weight = np.concatenate([self._weight, nothing])

    def _mark_frames(self, stop: int | None) -> None:
        """Add the mark of all frames that are whole, up to `stop` of them."""
        size = len(self._window)
        if len(self._sound) < size:
            return
        band, inside = band_of_bin(size, self._rate)
        depth_db = np.where(inside, _depth_db(size, self._rate), 0)
        frames = np.lib.stride_tricks.sliding_window_view(self._sound, size)
        while stop is None or self._frame < stop:
            index = np.arange(self._frame, min(self._frame + BLOCK_FRAMES, stop or 2**62))
            starts = np.rint(index * HOP_S * self._rate).astype(np.intp) - self._at
            index, starts = index[starts < len(frames)], starts[starts < len(frames)]
            if not len(index):
                return
            tile = (index // FRAMES_A_TILE + self.start) % PERIOD
            change = (10 ** (self.signs[tile][:, band] * depth_db / 20) - 1).astype(np.float32)
            spectra = np.fft.rfft(frames[starts] * self._window, axis=1).astype(np.complex64)
            added = np.fft.irfft(spectra * change, size, axis=1) * self._window
            for start, frame in zip(starts, added, strict=True):
                self._mark[start : start + size] += frame
                self._weight[start : start + size] += self._window**2
            self._frame += len(index)

    def _give(self, count: int) -> Samples:
        """Return the first `count` samples of what waits, marked, without those in the lead."""
        lead = min(self._lead, count)
        part = slice(lead, count)
        given = self._sound[part] + self._mark[part] / self._weight[part]
        self._sound, self._mark, self._weight = (
            one[count:] for one in (self._sound, self._mark, self._weight)
        )
        self._at += count
        self._lead -= lead
        return np.asarray(given, np.float32)


def _depth_db(size: int, sample_rate: int) -> Grid:
    hertz = np.arange(size // 2 + 1) * sample_rate / size
    return np.asarray(np.interp(hertz, DEPTH_HZ, DEPTH_DB), np.float64)
