"""The pattern of a key, and the tiles of time and frequency that it lies on."""

from __future__ import annotations

import hashlib
import math

import numpy as np
from numpy.typing import NDArray

DEFAULT_KEY = "diffusion-bench watermark 1"
MIN_SAMPLE_RATE = 8000  # Hz; below it the marked band is not there

FRAME_S, HOP_S = 0.016, 0.004
FRAMES_A_TILE = 2
PERIOD = 250  # tiles in time until the pattern repeats: 2 s
BANDS, LOWEST_HZ, BAND_HZ = 30, 218.75, 125.0  # edges lie midway between the bins of a frame
BLOCK_FRAMES = 4096  # that are transformed at once

Samples = NDArray[np.float32]
Grid = NDArray[np.float64]


def check(samples: Samples, sample_rate: int) -> None:
    """Raise ValueError for sound that is not mono, not finite, or below 8 kHz."""
    if samples.ndim != 1:
        raise ValueError(f"the watermark is for mono sound; got an array of shape {samples.shape}")
    if sample_rate < MIN_SAMPLE_RATE:
        raise ValueError(f"the watermark needs {MIN_SAMPLE_RATE} Hz or more; got {sample_rate} Hz")
    if not np.isfinite(samples).all():
        raise ValueError("the sound has samples that are not numbers (NaN or infinite)")


def signs_of(key: str) -> Grid:
    """Return the pattern of a key: (PERIOD, BANDS) of +1 and -1, from SHAKE-256."""
    content = hashlib.shake_256(key.encode()).digest(math.ceil(PERIOD * BANDS / 8))
    bits = np.unpackbits(np.frombuffer(content, np.uint8))[: PERIOD * BANDS]
    return np.asarray(bits.reshape(PERIOD, BANDS) * 2.0 - 1.0, np.float64)


def frame_size(sample_rate: int) -> int:
    """Return the samples of a frame of 16 ms, an even number."""
    return 2 * round(FRAME_S * sample_rate / 2)


def band_of_bin(size: int, sample_rate: int) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    """Return the band of each bin of a frame, and whether it lies in the marked range."""
    hertz = np.arange(size // 2 + 1) * sample_rate / size
    band = np.floor((hertz - LOWEST_HZ) / BAND_HZ).astype(np.intp)
    return band.clip(0, BANDS - 1), (band >= 0) & (band < BANDS)
