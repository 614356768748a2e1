"""What can be measured of speech without any weights, on its own and against the reference.

None of it hears what is said or how natural it sounds: it finds speech that is silent, clipped, in
another pitch, pace or timbre, or that says something twice, and how long it is against its text.
"""

from __future__ import annotations

import re
from itertools import pairwise
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from diffusion_bench.audio.pitch import pitch_hz, pitch_summary
from diffusion_bench.audio.reference import Reference
from diffusion_bench.audio.resampling import resample
from diffusion_bench.audio.rhythm import ALIKE, find_repetition, syllables
from diffusion_bench.audio.timbre import timbre_similarity
from diffusion_bench.records import Record

RATE = 16_000
LEAST_S = 0.1
FRAME_S = 0.02
SILENCE_UNDER_LOUD_DB = 40.0
SILENCE_DB = -65.0  # of full scale
FULL_SCALE = 0.999

MOST_EDGE_SILENCE_S = 1.0
MOST_CLIPPED_SHARE = 0.001
PITCH_APART_SEMITONES = 3.0
RATE_APART = 1.5
LEAST_RATE = 1.0  # syllables a second: what has fewer is a tone or a noise, not speech

Samples = NDArray[np.float32]


class SpeechMeasures(Record):
    """What was measured of speech; `missing` says why a field is `None`.

    `duration_s` is from the first to the last sound, `expected_s` what the text should take, where
    the caller can tell. `syllables_per_s` counts pauses in. Silence is 40 dB below the loud frames.
    `pitch_semitones` and `rate_ratio` are of the result against the reference: 0 and 1 are equal.
    `repeated_s`: where two stretches start that are nearly the same, and `repetition` how alike the
    most alike are.
    """

    duration_s: float
    expected_s: float | None
    duration_ratio: float | None
    leading_silence_s: float
    trailing_silence_s: float
    silence_share: float
    clipped_share: float
    voiced_share: float
    pitch_hz: float | None
    pitch_spread_semitones: float | None
    pitch_semitones: float | None
    syllables_per_s: float | None
    rate_ratio: float | None
    timbre_similarity: float | None
    repetition: float | None
    repeated_s: tuple[float, float] | None
    warnings: tuple[str, ...] = ()
    missing: dict[str, str] = {}


class _Voice(NamedTuple):
    """What is measured alike of the result and of the reference."""

    duration_s: float
    leading_s: float
    trailing_s: float
    silence_share: float
    voiced_share: float
    pitch_hz: float | None
    spread: float | None
    rate: float | None


def judge_speech(
    samples: Samples,
    sample_rate: int,
    text: str | None = None,
    *,
    expected_s: float | None = None,
    reference: Reference | None = None,
    speed: float = 1.0,
) -> SpeechMeasures:
    """Measure speech (samples,) that should say `text` in `expected_s`, as `reference` does.

    `speed` is how many times as fast as the reference it was asked to be: that alone is no warning.
    Raises ValueError for less than 0.1 s, and for samples that are not finite.
    """
    wave = _at_rate(samples, sample_rate)
    voice = _voice(wave)
    other = _voice(_at_rate(reference.samples, reference.sample_rate)) if reference else None
    similarity = None
    if reference:
        similarity = timbre_similarity(
            samples, sample_rate, reference.samples, reference.sample_rate
        )
    repetition = find_repetition(wave)
    repeated = repetition is not None and repetition.similarity > ALIKE
    measures = SpeechMeasures(
        duration_s=voice.duration_s,
        expected_s=expected_s,
        duration_ratio=voice.duration_s / expected_s if expected_s else None,
        leading_silence_s=voice.leading_s,
        trailing_silence_s=voice.trailing_s,
        silence_share=voice.silence_share,
        clipped_share=float(np.mean(np.abs(samples) >= FULL_SCALE)),
        voiced_share=voice.voiced_share,
        pitch_hz=voice.pitch_hz,
        pitch_spread_semitones=voice.spread,
        pitch_semitones=_semitones(voice, other),
        syllables_per_s=voice.rate,
        rate_ratio=_rate_ratio(voice, other),
        timbre_similarity=similarity,
        repetition=repetition.similarity if repetition else None,
        repeated_s=(repetition.first_s, repetition.second_s) if repetition and repeated else None,
    )
    said = {"warnings": _warnings(measures, text, speed), "missing": _missing(measures, reference)}
    return measures.model_copy(update=said)


def _at_rate(samples: Samples, sample_rate: int) -> Tensor:
    if samples.ndim != 1 or len(samples) < LEAST_S * sample_rate:
        raise ValueError(f"speech of one channel and {LEAST_S:g} s or more can be measured")
    if not np.isfinite(samples).all():
        raise ValueError("the speech is damaged: some of its samples are not finite")
    wave = torch.as_tensor(samples, dtype=torch.float32)
    if sample_rate != RATE:
        wave = resample(wave, sample_rate, RATE)
    return wave


def _voice(wave: Tensor) -> _Voice:
    size = round(FRAME_S * RATE)
    power = torch.nn.functional.pad(wave, (0, -len(wave) % size)).reshape(-1, size).var(dim=1)
    level_db = 10 * power.clamp(min=1e-12).log10()
    threshold = max(float(level_db.quantile(0.95)) - SILENCE_UNDER_LOUD_DB, SILENCE_DB)
    loud = (level_db > threshold).nonzero()[:, 0]
    whole_s = len(wave) / RATE
    track = pitch_hz(wave, RATE)
    median_hz, spread, voiced_share = pitch_summary(track)
    if not len(loud):
        return _Voice(0.0, whole_s, 0.0, 1.0, voiced_share, median_hz, spread, None)
    start_s = int(loud[0]) * FRAME_S
    end_s = min(whole_s, (int(loud[-1]) + 1) * FRAME_S)
    count = syllables(wave, track)
    return _Voice(
        duration_s=end_s - start_s,
        leading_s=start_s,
        trailing_s=whole_s - end_s,
        silence_share=1 - len(loud) / len(level_db),
        voiced_share=voiced_share,
        pitch_hz=median_hz,
        spread=spread,
        rate=count / (end_s - start_s) if count else None,
    )


def _semitones(voice: _Voice, other: _Voice | None) -> float | None:
    if other is None or not voice.pitch_hz or not other.pitch_hz:
        return None
    return 12 * float(np.log2(voice.pitch_hz / other.pitch_hz))


def _rate_ratio(voice: _Voice, other: _Voice | None) -> float | None:
    if other is None or not voice.rate or not other.rate or other.rate < LEAST_RATE:
        return None
    return voice.rate / other.rate


def _warnings(found: SpeechMeasures, text: str | None, speed: float) -> tuple[str, ...]:
    """Return what a listener should know, a line each."""
    if not found.duration_s:
        return ("it is silent",)
    told = []
    if found.repeated_s and not _says_twice(text):
        first, second = found.repeated_s
        told.append(f"what is said at {first:.1f} s is said again at {second:.1f} s")
    if max(found.leading_silence_s, found.trailing_silence_s) > MOST_EDGE_SILENCE_S:
        told.append(
            f"{found.leading_silence_s:.1f} s of silence before and "
            f"{found.trailing_silence_s:.1f} s after it"
        )
    if found.clipped_share > MOST_CLIPPED_SHARE:
        told.append(f"{found.clipped_share:.1%} of the samples are clipped")
    return (*told, *_differences(found, speed))


def _differences(found: SpeechMeasures, speed: float) -> list[str]:
    told = []
    if found.pitch_semitones is not None and abs(found.pitch_semitones) > PITCH_APART_SEMITONES:
        where = "above" if found.pitch_semitones > 0 else "below"
        told.append(
            f"its pitch is {abs(found.pitch_semitones):.1f} semitones {where} the reference"
        )
    ratio = found.rate_ratio
    if ratio is not None and not 1 / RATE_APART <= ratio / speed <= RATE_APART:
        asked = "" if speed == 1 else f", asked for {speed:g} times"
        told.append(f"it speaks {ratio:.1f} times as fast as the reference{asked}")
    return told


def _says_twice(text: str | None) -> bool:
    """Return whether a text has the same two words in a row at two places, whatever its marks."""
    words = re.findall(r"\w+(?:'\w+)*", (text or "").lower())
    pairs = list(pairwise(words))
    return len(set(pairs)) < len(pairs)


def _missing(found: SpeechMeasures, reference: Reference | None) -> dict[str, str]:
    why: dict[str, str] = {}
    if found.expected_s is None:
        why["expected_s"] = why["duration_ratio"] = "no text, too short a one, or only a part of it"
    if found.pitch_hz is None:
        why["pitch_hz"] = why["pitch_spread_semitones"] = "nothing in it is voiced"
    if found.syllables_per_s is None:
        why["syllables_per_s"] = "no syllable was found"
    if found.repetition is None:
        why["repetition"] = "too short"
    against = "no reference to compare with" if reference is None else "too little speech"
    for name in ("pitch_semitones", "rate_ratio", "timbre_similarity"):
        if getattr(found, name) is None:
            why[name] = against
    return why
