"""New speakers from old voices: WORLD takes speech apart, and it is put together another way.

Pitch, its range, the size of the vocal tract, tilt, resonances, breath and rate are a speaker's.
Source: Morise, Yokomori, Ozawa (2016), "WORLD: a vocoder-based high-quality speech synthesis
system", through the package pyworld (MIT).
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from diffusion_bench.training.echo.aligned import FLITE_VOICES, SAMPLE_RATE, Aligned

FRAME_MS = 5.0
FFT_SIZE = 1024
ESPEAK_SHARE = 0.22
ESPEAK_VOICES = tuple(
    f"en-us+{variant}"
    for variant in ("f1", "f2", "f3", "f4", "f5", "m1", "m2", "m3", "m4", "m5", "m6", "m7", "m8")
)
RESONANCES = 6


@dataclass(frozen=True)
class Speaker:
    """What is changed of a base voice.

    `pitch_hz`: median of voiced frames; `range_scale` of the contour in semitones; `formant_scale`
    of the frequency axis, above 1 for a shorter vocal tract; `tilt_db`: rise from 0 to 8 kHz;
    `breath`: share of the way to aperiodic; `rate`: above 1 is faster; `resonances`: (kHz, width
    in kHz, dB) of smooth peaks and dips.
    """

    name: str
    base: str
    pitch_hz: float
    range_scale: float
    formant_scale: float
    tilt_db: float
    breath: float
    rate: float
    resonances: tuple[tuple[float, float, float], ...] = field(default=())

    def targets(self) -> tuple[float, ...]:
        """Return what the speaker encoder learns to tell: numbers of about -1 to 1."""
        return (
            math.log2(self.pitch_hz / 150.0),
            5.0 * math.log(self.formant_scale),
            self.tilt_db / 8.0,
            2.0 * self.breath - 0.5,
            4.0 * math.log(self.rate),
            self.range_scale - 1.0,
        )


def draw_speaker(name: str, rng: np.random.Generator) -> Speaker:
    """Return a random speaker; high voices have shorter vocal tracts more often than not."""
    from_espeak = rng.random() < ESPEAK_SHARE
    base = str(rng.choice(ESPEAK_VOICES if from_espeak else FLITE_VOICES))
    pitch_hz = 75.0 * (290.0 / 75.0) ** rng.random()
    usual = 0.16 * math.log2(pitch_hz / 150.0)
    formant = math.exp(np.clip(usual + rng.normal(0, 0.07), -0.22, 0.24)) * _tract_of(base)
    return Speaker(
        name=name,
        base=base,
        pitch_hz=pitch_hz,
        range_scale=float(rng.uniform(0.6, 1.6)),
        formant_scale=float(formant),
        tilt_db=float(np.clip(rng.normal(0, 4), -9, 9)),
        breath=float(max(0.0, rng.uniform(-0.2, 0.4))),
        rate=float(math.exp(rng.normal(0, 0.14))),
        resonances=tuple(
            (float(rng.uniform(0.2, 7.5)), float(rng.uniform(0.3, 1.2)), float(rng.normal(0, 3)))
            for _ in range(RESONANCES)
        ),
    )


def plain_speaker(base: str) -> Speaker:
    """Return a base voice left as it is, at about the pitch of flite's own."""
    pitch_hz = {"slt": 175.0, "awb": 120.0, "rms": 95.0, "kal16": 110.0}[base]
    return Speaker(base, base, pitch_hz, 1.0, 1.0, 0.0, 0.0, 1.0)


def _tract_of(base: str) -> float:
    """Return what brings a female base voice to the vocal tract of a male one."""
    female = base == "slt" or "+f" in base
    return 0.9 if female else 1.0


@dataclass(frozen=True)
class Parts:
    """An utterance as WORLD sees it, a row every 5 ms."""

    aligned: Aligned
    f0_hz: NDArray[np.float64]
    envelope: NDArray[np.float64]
    aperiodicity: NDArray[np.float64]


def take_apart(aligned: Aligned) -> Parts:
    """Return pitch, spectral envelope and aperiodicity of an utterance."""
    import pyworld  # built from source: who trains has it, who only reads a speaker need not

    wave = aligned.samples.astype(np.float64)
    coarse, times = pyworld.dio(wave, SAMPLE_RATE, frame_period=FRAME_MS, f0_floor=55.0)
    f0_hz = pyworld.stonemask(wave, coarse, times, SAMPLE_RATE)
    envelope = pyworld.cheaptrick(wave, f0_hz, times, SAMPLE_RATE, fft_size=FFT_SIZE)
    aperiodicity = pyworld.d4c(wave, f0_hz, times, SAMPLE_RATE, fft_size=FFT_SIZE)
    return Parts(aligned, f0_hz, envelope, aperiodicity)


@dataclass(frozen=True)
class Utterance:
    """A speaker's sentence: int16 samples at 16 kHz, phones with their ends, pitch every 5 ms."""

    text: str
    samples: NDArray[np.int16]
    phones: tuple[str, ...]
    ends_s: tuple[float, ...]
    f0_hz: NDArray[np.float64]


def as_it_is(parts: Parts) -> Utterance:
    """Return the utterance unaltered, as loud as one that was put together."""
    wave = parts.aligned.samples.astype(np.float64)
    samples = (wave / max(1e-3, np.abs(wave).max()) * 0.8 * 32767).astype(np.int16)
    spoken = parts.aligned
    return Utterance(spoken.text, samples, spoken.phones, spoken.ends_s, parts.f0_hz)


def put_together(parts: Parts, speaker: Speaker) -> Utterance:
    """Return the utterance as the speaker would say it."""
    import pyworld

    count = max(2, round(len(parts.f0_hz) / speaker.rate))
    at = np.linspace(0, len(parts.f0_hz) - 1, count)
    nearest = np.round(at).astype(int)
    f0_hz = _pitch(parts.f0_hz, speaker)[nearest]
    envelope = parts.envelope[nearest] * _shape(speaker)
    bins = np.arange(envelope.shape[1])
    source = np.clip(bins / speaker.formant_scale, 0, bins[-1])
    envelope = np.exp(_warped(np.log(envelope + 1e-12), source))
    aperiodicity = parts.aperiodicity[nearest]
    aperiodicity = aperiodicity + speaker.breath * (1 - aperiodicity) * (bins / bins[-1]) ** 0.5
    wave = pyworld.synthesize(
        f0_hz, np.ascontiguousarray(envelope), np.clip(aperiodicity, 0, 1), SAMPLE_RATE, FRAME_MS
    )
    wave = wave / max(1e-3, np.abs(wave).max()) * 0.8
    ends = tuple(end / speaker.rate for end in parts.aligned.ends_s)
    samples = (wave * 32767).astype(np.int16)
    return Utterance(parts.aligned.text, samples, parts.aligned.phones, ends, f0_hz)


def _pitch(f0_hz: NDArray[np.float64], speaker: Speaker) -> NDArray[np.float64]:
    voiced = f0_hz > 0
    if not voiced.any():
        return f0_hz
    log2 = np.log2(np.where(voiced, f0_hz, 1.0))
    middle = np.median(log2[voiced])
    moved = 2.0 ** (np.log2(speaker.pitch_hz) + speaker.range_scale * (log2 - middle))
    return np.where(voiced, np.clip(moved, 55.0, 600.0), 0.0)


def _shape(speaker: Speaker) -> NDArray[np.float64]:
    """Return the gain of each bin, as power, of tilt and resonances."""
    khz = np.linspace(0, SAMPLE_RATE / 2000, FFT_SIZE // 2 + 1)
    gain_db = speaker.tilt_db * (khz / khz[-1] - 0.3)
    for centre, width, height in speaker.resonances:
        gain_db = gain_db + height * np.exp(-0.5 * ((khz - centre) / width) ** 2)
    return np.asarray(10 ** (gain_db / 10))


def _warped(log_envelope: NDArray[np.float64], source: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.floor(source).astype(int)
    high = np.minimum(low + 1, log_envelope.shape[1] - 1)
    share = source - low
    return np.asarray(log_envelope[:, low] * (1 - share) + log_envelope[:, high] * share)
