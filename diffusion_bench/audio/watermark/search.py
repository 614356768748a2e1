"""The mark looked for in sound.

samples > level of every tile against its neighbours > agreement with the key > Detection
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from diffusion_bench.audio.watermark.pattern import (
    BANDS,
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
from diffusion_bench.records import Record

FALSE_ALARM = 1e-6  # at most this share of unmarked files is called marked
FLOOR = 1e-5  # of the level of loud speech: fainter tiles are noise, and count as equal
SPREAD_FLOOR_DB2 = 0.25  # variance of a tile's residual that no recording goes below
FADE = 0.2  # how fast fainter tiles lose weight, as a power of their energy

WINDOW_S, WINDOW_STEP_S = 5.0, 2.5  # of the search for a marked part in a longer recording
LEAST_P = 1e-300


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


def detect(samples: Samples, sample_rate: int, *, key: str = DEFAULT_KEY) -> Detection:
    """Return whether mono `samples` carry the mark of `key`, and how sure that is.

    Raises ValueError for sound that is not mono, not finite, or below 8 kHz.
    """
    check(samples, sample_rate)
    signs = signs_of(key)
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


def _spectra(samples: Samples, sample_rate: int) -> Iterator[NDArray[np.complex64]]:
    """Yield the spectra of frames, a block after the other: (frames, bins).

    Frames lie every `HOP_S`, to the nearest sample, so that tiles are equally long at every sample
    rate.
    """
    size = frame_size(sample_rate)
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
    size = frame_size(sample_rate)
    band, inside = band_of_bin(size, sample_rate)
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


def best_start(samples: Samples, sample_rate: int, signs: Grid) -> int:
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
