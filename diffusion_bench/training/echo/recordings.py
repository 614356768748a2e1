"""What a microphone does to a voice: noise, room, equaliser, level, band and codec.

References are heard through this in training, so that a voice is told from its recording.
"""

from __future__ import annotations

import io

import numpy as np
import soundfile
from numpy.typing import NDArray

from diffusion_bench.training.echo.aligned import SAMPLE_RATE

CODECS = (("MP3", "MPEG_LAYER_III"), ("OGG", "VORBIS"))


def record(samples: NDArray[np.int16], rng: np.random.Generator) -> NDArray[np.int16]:
    """Return the samples as some microphone in some room would give them; as long."""
    wave = samples.astype(np.float64) / 32768
    if rng.random() < 0.5:
        wave = _room(wave, rng)
    if rng.random() < 0.6:
        wave = _equaliser(wave, rng)
    if rng.random() < 0.7:
        wave = wave + _noise(wave, rng)
    wave = wave / max(1e-3, np.abs(wave).max()) * rng.uniform(0.05, 1.0)
    if rng.random() < 0.25:
        wave = _codec(wave, rng)
    return np.asarray(np.clip(wave, -1, 1) * 32767, dtype=np.int16)


def _room(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    decay_s = rng.uniform(0.02, 0.25)
    length = int(SAMPLE_RATE * decay_s * 1.5)
    tail = rng.normal(size=length) * np.exp(-6.9 * np.arange(length) / (SAMPLE_RATE * decay_s))
    tail *= rng.uniform(0.05, 0.4) / np.sqrt((tail**2).sum() + 1e-9)
    tail[0] = 1.0
    size = len(wave) + length
    wet = np.fft.irfft(np.fft.rfft(wave, size) * np.fft.rfft(tail, size), size)
    return np.asarray(wet[: len(wave)])


def _equaliser(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    """Return it through a smooth random curve of a few dB, sometimes without its lowest or top."""
    khz = np.linspace(0, SAMPLE_RATE / 2000, len(wave) // 2 + 1)
    knots = np.array([0.0, 0.3, 0.8, 1.6, 3.0, 5.0, 8.0])
    gain_db = np.interp(khz, knots, rng.normal(0, 2.5, len(knots)))
    if rng.random() < 0.3:
        gain_db -= 24 * np.clip((rng.uniform(0.05, 0.25) - khz) / 0.1, 0, 1)
    if rng.random() < 0.2:
        gain_db -= 40 * np.clip((khz - rng.uniform(3.4, 7.0)) / 0.4, 0, 1)
    return np.asarray(np.fft.irfft(np.fft.rfft(wave) * 10 ** (gain_db / 20), len(wave)))


def _noise(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    colour = rng.uniform(0.0, 1.2)  # of the power spectrum's fall: white to brown-like
    spectrum = np.fft.rfft(rng.normal(size=len(wave)))
    spectrum /= np.maximum(np.arange(len(spectrum)), 20.0) ** (colour / 2)
    noise = np.fft.irfft(spectrum, len(wave))
    snr_db = rng.uniform(12, 45)
    level = np.sqrt((wave**2).mean() / ((noise**2).mean() + 1e-12)) * 10 ** (-snr_db / 20)
    return np.asarray(noise * level)


def _codec(wave: NDArray[np.float64], rng: np.random.Generator) -> NDArray[np.float64]:
    container, subtype = CODECS[int(rng.integers(len(CODECS)))]
    buffer = io.BytesIO()
    soundfile.write(
        buffer,
        wave.astype(np.float32),
        SAMPLE_RATE,
        format=container,
        subtype=subtype,
        compression_level=float(rng.uniform(0.3, 0.95)),
    )
    buffer.seek(0)
    decoded, _ = soundfile.read(buffer, dtype="float64")
    return np.asarray(
        np.resize(decoded, len(wave)) if len(decoded) < len(wave) else decoded[: len(wave)]
    )
