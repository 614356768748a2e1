"""Speech-like sound by a source and a filter, so that no recording lies in the repository.

Phones of 50 to 180 ms with gliding formants: voiced ones are harmonics of a moving pitch with
jitter and breath, unvoiced ones shaped noise, with pauses as between words and sentences. It is
not intelligible; its spectrum, its level and their changes are those of speech.
"""

from __future__ import annotations

from functools import cache

import numpy as np

VOWELS = np.array(
    [[270, 2290, 3010], [530, 1840, 2480], [730, 1090, 2440], [570, 840, 2410], [300, 870, 2240]]
)
CONTROL_S = 0.005
HIGHEST_HZ = 8000  # of the voice; hiss goes on above


def speech_like(seconds: float, *, sample_rate: int = 16000, seed: int = 0) -> np.ndarray:
    """Return float32 samples with a peak of 0.5; equal arguments give equal samples."""
    return _speech(seconds, sample_rate, seed).copy()


@cache
def _speech(seconds, sample_rate, seed):
    draw = np.random.default_rng(seed)
    count = round(seconds * sample_rate)
    steps = int(seconds / CONTROL_S) + 2
    formants, voiced, noise = _score(draw, steps)
    at = np.arange(count) / sample_rate / CONTROL_S
    pitch = draw.uniform(90, 220) * 2 ** (_wander(draw, steps, 0.02) / 4)
    sound = _voice(draw, pitch, formants, voiced, at)
    sound += _hiss(draw, noise, at, sample_rate)
    sound += 1e-4 * draw.standard_normal(count) * np.abs(sound).max()
    return (0.5 * sound / np.abs(sound).max()).astype(np.float32)


def _score(draw, steps):
    """Return formants in Hz, loudness of the voice and of the noise, for each control step."""
    size = draw.uniform(0.9, 1.2)
    formants, voiced, noise = np.empty((steps, 3)), np.zeros(steps), np.zeros((steps, 2))
    start = 0
    while start < steps:
        kind = draw.choice(["vowel", "hiss", "pause"], p=[0.62, 0.26, 0.12])
        end = start + int(draw.uniform(0.05, 0.18 if kind != "pause" else 0.35) / CONTROL_S)
        formants[start:end] = VOWELS[draw.integers(len(VOWELS))] * size
        voiced[start:end] = draw.uniform(0.3, 1.0) if kind == "vowel" else 0.0
        noise[start:end] = draw.uniform(0.01, 0.06), draw.uniform(1500, 5000)
        noise[start:end, 0] *= kind == "hiss"
        start = end
    smooth = np.hanning(11) / np.hanning(11).sum()
    for track in (*formants.T, voiced, noise[:, 0]):
        track[:] = np.convolve(np.pad(track, 5, mode="edge"), smooth, "valid")
    return formants, voiced, noise


def _wander(draw, steps, rate):
    walk = np.cumsum(draw.standard_normal(steps) * rate * 5)
    return np.clip(walk - walk.mean(), -1.0, 1.0) + rate * draw.standard_normal(steps)


def _voice(draw, pitch, formants, voiced, at):
    """Add harmonics, each as loud as the formants make it at its frequency."""
    control = np.arange(len(pitch))
    sample_s = at[1] * CONTROL_S
    phase = np.cumsum(np.interp(at, control, pitch)) * sample_s
    sound = np.zeros(len(at))
    for number in range(1, int(min(0.45 / sample_s, HIGHEST_HZ) / pitch.max()) + 1):
        hertz = number * pitch
        loudness = voiced * _resonance(hertz, formants) * (1 + 0.1 * draw.standard_normal())
        loudness = loudness / number * np.exp(0.08 * draw.standard_normal(len(pitch)))
        sound += np.interp(at, control, loudness) * np.sin(2 * np.pi * (number * phase))
    return sound


def _resonance(hertz, formants):
    loudness = np.zeros_like(hertz)
    for formant, width, height in zip(formants.T, (80, 110, 170), (1.0, 0.6, 0.35), strict=True):
        loudness += height / (1 + ((hertz - formant) / width) ** 2)
    return loudness + 0.02


def _hiss(draw, noise, at, sample_rate):
    """Return noise above a frequency that the phones choose, at their loudness."""
    sound = np.zeros(len(at))
    white = draw.standard_normal(len(at))
    spectrum = np.fft.rfft(white)
    hertz = np.fft.rfftfreq(len(at), 1 / sample_rate)
    control = np.arange(len(noise))
    for lowest in (1500, 2700, 3900):
        chosen = np.abs(noise[:, 1] - lowest) <= 600
        shaped = np.fft.irfft(spectrum / (1 + (lowest / (hertz + 1)) ** 6), len(at))
        sound += np.interp(at, control, noise[:, 0] * chosen) * shaped
    return sound
