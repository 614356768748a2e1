"""An inaudible keyed mark in speech, and the test for it.

    samples > spectrum of 16 ms frames > every tile a little louder or softer, by the key > samples
    samples > level of every tile against its neighbours > agreement with the key > Detection

A tile is 8 ms by 125 Hz, between 219 and 3969 Hz. A key gives each tile of a 2 s pattern a sign,
the pattern repeats, and the mark multiplies a tile by 0.4 to 1 dB up or down: spread spectrum
(Cox et al., 1997, "Secure Spread Spectrum Watermarking for Multimedia") on log magnitudes. Speech
itself changes slowly from one tile to the next, compared with tiles this short; what is left after
the neighbours in time are subtracted is mostly the mark. The detector knows neither where a cut
began nor the sample rate of the original, and tries all 500 offsets.

How sure it is. With signs s and evidence y that does not depend on them, S = sum(s y) / |y| has
P(S > t) <= exp(-t**2 / 2) over the keys (Hoeffding, 1963), whatever the sound: no model of speech
is assumed. `Detection.p_value` is this bound times the number of offsets and windows tried.

What it does not do. It marks, it does not prove: the key lies in this repository, so anybody can
take the mark out, or put it on the speech of people. Played 1 percent faster it is lost; a mel
spectrogram and a vocoder leave little of it. Noise of 10 dB hides it in some files, and less than
2 s may be too short.
`benchmarks/self/watermark_robustness.py` has the figures.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diffusion_bench.records import Record

DEFAULT_KEY = "diffusion-bench watermark 1"
FALSE_ALARM = 1e-6  # at most this share of unmarked files is called marked
MIN_SAMPLE_RATE = 8000  # Hz; below it the marked band is not there

FRAME_S, HOP_S = 0.016, 0.004
FRAMES_A_TILE = 2
PERIOD = 250  # tiles in time until the pattern repeats: 2 s
BANDS, LOWEST_HZ, BAND_HZ = 30, 218.75, 125.0  # edges lie midway between the bins of a frame

# Depth of the mark in dB over frequency. Most of the energy of speech lies below 1 kHz, where a
# change is dearest in signal-to-noise ratio and heard best.
DEPTH_HZ, DEPTH_DB = (600.0, 1800.0), (0.4, 1.0)

FLOOR = 1e-5  # of the level of loud speech: fainter tiles are noise, and count as equal
SPREAD_FLOOR_DB2 = 0.25  # variance of a tile's residual that no recording goes below
FADE = 0.2  # how fast fainter tiles lose weight, as a power of their energy

WINDOW_S, WINDOW_STEP_S = 5.0, 2.5  # of the search for a marked part in a longer recording
BLOCK_FRAMES = 4096
LEAST_P = 1e-300

Samples = NDArray[np.float32]
Grid = NDArray[np.float64]


class Detection(Record):
    """What the search for a mark found.

    `score` is the agreement with the key in standard deviations; `p_value` bounds the chance that a
    sound without the mark agrees as well, all offsets and windows counted. `start_s` and `end_s`
    are the part that agrees best: a window of a long recording, or all of it.
    """

    found: bool
    score: float
    p_value: float
    start_s: float
    end_s: float


def embed(samples: Samples, sample_rate: int, *, key: str = DEFAULT_KEY) -> Samples:
    """Return mono `samples` with the mark of `key`, same length and sample rate (Hz).

    Where the mark would lift the peak above 1, all samples are scaled down to fit. Raises
    ValueError for sound that is not mono, not finite, or below 8 kHz.
    """
    _check(samples, sample_rate)
    if len(samples) == 0:
        return samples.astype(np.float32)
    marker = Marker(sample_rate, key=key)
    marker.start = _best_start(samples, sample_rate, marker.signs)
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
        size = _frame_size(sample_rate)
        self.signs = _signs(key)
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
        _check(samples, self._rate)
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
        band, inside = _band_of_bin(size, self._rate)
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


def detect(samples: Samples, sample_rate: int, *, key: str = DEFAULT_KEY) -> Detection:
    """Return whether mono `samples` carry the mark of `key`, and how sure that is.

    Raises ValueError for sound that is not mono, not finite, or below 8 kHz.
    """
    _check(samples, sample_rate)
    signs = _signs(key)
    duration_s = len(samples) / sample_rate
    evidence = _evidence(samples, sample_rate)
    windows = _windows(len(evidence[0]))
    # Half of the allowed false alarms for the whole, half shared by the windows.
    parts = [(slice(None), 1 + bool(windows))] + [(part, 2 * len(windows)) for part in windows]
    best, best_part, best_p = 0.0, parts[0][0], 1.0
    for part, share in parts:
        score = max(float(_scores(rows[part], signs).max()) for rows in evidence)
        p_value = min(1.0, share * FRAMES_A_TILE * PERIOD * math.exp(-(score**2) / 2))
        if (p_value, -score) < (best_p, -best):
            best, best_part, best_p = score, part, p_value
    tile_s = FRAMES_A_TILE * HOP_S
    return Detection(
        found=best_p <= FALSE_ALARM,
        score=best,
        p_value=max(best_p, LEAST_P),
        start_s=(best_part.start or 0) * tile_s,
        end_s=duration_s if best_part.stop is None else min(best_part.stop * tile_s, duration_s),
    )


def _check(samples: Samples, sample_rate: int) -> None:
    if samples.ndim != 1:
        raise ValueError(f"the watermark is for mono sound; got an array of shape {samples.shape}")
    if sample_rate < MIN_SAMPLE_RATE:
        raise ValueError(f"the watermark needs {MIN_SAMPLE_RATE} Hz or more; got {sample_rate} Hz")
    if not np.isfinite(samples).all():
        raise ValueError("the sound has samples that are not numbers (NaN or infinite)")


def _signs(key: str) -> Grid:
    """Return the pattern of a key: (PERIOD, BANDS) of +1 and -1, from SHAKE-256."""
    content = hashlib.shake_256(key.encode()).digest(math.ceil(PERIOD * BANDS / 8))
    bits = np.unpackbits(np.frombuffer(content, np.uint8))[: PERIOD * BANDS]
    return np.asarray(bits.reshape(PERIOD, BANDS) * 2.0 - 1.0, np.float64)


def _frame_size(sample_rate: int) -> int:
    return 2 * round(FRAME_S * sample_rate / 2)


def _band_of_bin(size: int, sample_rate: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the band of each bin of a frame, and whether it lies in the marked range."""
    hertz = np.arange(size // 2 + 1) * sample_rate / size
    band = np.floor((hertz - LOWEST_HZ) / BAND_HZ).astype(np.intp)
    return band.clip(0, BANDS - 1), (band >= 0) & (band < BANDS)


def _depth_db(size: int, sample_rate: int) -> Grid:
    hertz = np.arange(size // 2 + 1) * sample_rate / size
    return np.asarray(np.interp(hertz, DEPTH_HZ, DEPTH_DB), np.float64)


def _spectra(samples: Samples, sample_rate: int) -> Iterator[NDArray[np.complex64]]:
    """Yield the spectra of frames, a block after the other: (frames, bins).

    Frames lie every `HOP_S`, to the nearest sample, so that tiles are equally long at every sample
    rate.
    """
    size = _frame_size(sample_rate)
    window = np.hanning(size + 1)[:size].astype(np.float32)
    padded = np.pad(samples.astype(np.float32), (size // 2, size + size // 2))
    count = math.ceil(len(samples) / sample_rate / HOP_S) + 1
    for first in range(0, count, BLOCK_FRAMES):
        index = np.arange(first, min(first + BLOCK_FRAMES, count))
        starts = np.rint(index * HOP_S * sample_rate).astype(np.intp)
        frames = np.lib.stride_tricks.sliding_window_view(padded, size)[starts]
        yield np.fft.rfft(frames * window, axis=1).astype(np.complex64)


def _tile_energy(samples: Samples, sample_rate: int) -> Grid:
    """Return the energy of the tile that begins at each frame: (frames - 1, BANDS)."""
    size = _frame_size(sample_rate)
    band, inside = _band_of_bin(size, sample_rate)
    edges = np.searchsorted(band[inside], np.arange(BANDS))
    bins = np.diff(np.append(edges, inside.sum()))
    blocks = [
        np.add.reduceat(np.abs(spectra[:, inside]) ** 2, edges, axis=1) / bins
        for spectra in _spectra(samples, sample_rate)
    ]
    energy = np.concatenate(blocks).astype(np.float64)
    return (energy[:-1] + energy[1:]) / FRAMES_A_TILE


def _evidence(samples: Samples, sample_rate: int) -> list[Grid]:
    """Return what speaks for a + or a - in each tile: (tiles, BANDS), for both frame offsets.

    The difference in dB to the mean of the tiles before and after, over its variance around there,
    and less where there is little energy. It does not depend on any key.
    """
    energy = _tile_energy(samples, sample_rate)
    loud = np.percentile(energy.mean(axis=1), 95) if len(energy) else 0.0
    relative = energy / loud + FLOOR if loud > 0 else np.ones_like(energy)
    return [_weigh(relative[offset::FRAMES_A_TILE]) for offset in range(FRAMES_A_TILE)]


def _weigh(relative: Grid) -> Grid:
    if len(relative) < 3:
        return np.zeros_like(relative)
    level_db = 10 * np.log10(relative)
    around = np.pad(level_db, ((1, 1), (0, 0)), mode="edge")
    residual = level_db - (around[:-2] + around[2:]) / 2
    spread = _mean_around(_mean_around(residual**2, 2).T, 1).T
    fade = relative**FADE / (1 + relative**FADE)
    weighed = residual / (spread + SPREAD_FLOOR_DB2) * fade
    limit = 3 * np.sqrt(np.mean(weighed**2))
    return np.asarray(np.clip(weighed, -limit, limit), np.float64)


def _mean_around(values: Grid, reach: int) -> Grid:
    """Return the mean over `reach` rows on both sides and the row itself."""
    padded = np.pad(values, ((reach, reach), (0, 0)), mode="edge")
    total = sum(padded[i : i + len(values)] for i in range(2 * reach + 1))
    return np.asarray(total) / (2 * reach + 1)


def _scores(evidence: Grid, signs: Grid) -> Grid:
    """Return the agreement in standard deviations for each of the PERIOD starts of the pattern.

    Tiles a period apart share a sign, so they are added before they are squared.
    """
    short = -len(evidence) % PERIOD
    folded = np.pad(evidence, ((0, short), (0, 0))).reshape(-1, PERIOD, BANDS).sum(axis=0)
    norm = math.sqrt(float(np.sum(folded**2)))
    if norm == 0:
        return np.zeros(PERIOD)
    # scores[k] = sum over tiles of folded[t] * signs[t + k]
    product = np.conj(np.fft.rfft(folded, axis=0)) * np.fft.rfft(signs, axis=0)
    return np.fft.irfft(product.sum(axis=1), PERIOD) / norm


def _best_start(samples: Samples, sample_rate: int, signs: Grid) -> int:
    """Return the start of the pattern that this speech agrees with most before it is marked.

    The detector tries every start anyway, so that this costs no false alarms.
    """
    return int(np.argmax(_scores(_evidence(samples, sample_rate)[0], signs)))


def _windows(tiles: int) -> list[slice]:
    """Return the parts of a long recording that are searched on their own; none of a short one."""
    tile_s = FRAMES_A_TILE * HOP_S
    size, step = round(WINDOW_S / tile_s), round(WINDOW_STEP_S / tile_s)
    if tiles < size + step:
        return []
    return [slice(start, start + size) for start in range(0, tiles - size + step, step)]
