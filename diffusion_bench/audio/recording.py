"""A recording of a person made ready to be cloned, and a report on how good it is.

    mono > no offset > silence off both ends > cut at a pause > -23 LUFS > peak at most 0.95

Models clone what surrounds a voice as well: silence at the edges shifts their estimate of its
pace, a word that is cut in half is said again, and noise is spoken along.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from diffusion_bench.audio.files import mix
from diffusion_bench.audio.reference import Reference
from diffusion_bench.records import Record

LEAST_S = 0.5  # of speech: below it there is no voice to take
SHORT_S, LONG_S = 3.0, 15.0
NOISY_DB = 20.0
CLIPPED = 0.001
LOUDNESS_LUFS = -23.0  # EBU R 128
PEAK = 0.95

FRAME_S = 0.02
KEPT_S = 0.08  # of silence, at each end
QUIET_DB = -40.0  # under the loudest frame: not speech
ABOVE_NOISE_DB = 6.0  # what is no louder than this over the noise is not speech either
LEAST_SPREAD_DB = -15.0  # but what is this near to the loudest frame always is
CLICK_FRAMES = 3  # what is loud for shorter is a click, not where speech begins
PAUSE_FRAMES = 8  # a pause is looked for in means over 0.16 s
EARLIEST_CUT = 0.6  # of the length allowed
FADE_S = 0.01  # where it is cut
SILENCE = 1e-4  # of full scale, root mean square of the loudest frame: nobody speaks
DIGITAL_SILENCE = 1e-9  # of the loudest frame's energy: nothing was recorded there
MOST_SNR_DB = 80.0
FULL_SCALE = 0.999
OVERSHOOT = 1.5  # of full scale: so far past it a codec may take what was clipped before
FLAT_SAMPLES = 3  # two may be equal by chance, on both sides of a crest
STEP = 5 / 2**15  # of full scale: a round top that is equal in 16 bits falls by 4 at most after it

PITCH_RATE = 16_000  # Hz, whatever the recording's own: it has all pitches of a voice
NO_PITCH = (
    "no voice is heard in it, as nothing has a pitch: it may be noise or a whisper, and Echo "
    "cannot clone it"
)

Samples = NDArray[np.float32]
Levels = NDArray[np.float64]


class ReferenceReport(Record):
    """What a recording is like and what was done to it.

    `clipped_share`, `peak` (1 is full scale), `snr_db` (an estimate) and `loudness_lufs` are of the
    recording as it came; `duration_s` is what remains of `recorded_s`.
    """

    recorded_s: float
    duration_s: float
    silence_trimmed_s: float
    cut_s: float
    sample_rate: int
    snr_db: float
    clipped_share: float
    loudness_lufs: float
    peak: float
    warnings: tuple[str, ...] = ()


def prepare_reference(
    samples: Samples,
    sample_rate: int,
    *,
    transcript: str | None = None,
    max_s: float = LONG_S,
) -> tuple[Reference, ReferenceReport]:
    """Return a recording ready to be cloned, and what there is to say of it.

    `samples`: (samples,) or (samples, channels), any level. Longer than `max_s` seconds, it is cut
    at a pause, and a transcript, which then says more than is heard, is left out: a model would
    speak the rest. Raises ValueError, in one line, for silence, less than 0.5 s of speech, and
    samples that are no floats or not numbers.
    """
    if not np.issubdtype(samples.dtype, np.floating):  # whose loudness and peak would be nonsense
        raise ValueError(
            f"the recording's samples are {samples.dtype}; floats of -1 to 1 are taken"
        )
    if not np.isfinite(samples).all():
        raise ValueError("the recording has samples that are not numbers (NaN or infinite)")
    mono = mix(samples) if samples.ndim == 2 and len(samples) else samples
    _refuse_short(len(mono) / sample_rate)
    mono = mono.astype(np.float64) - mono.mean(dtype=np.float64)
    levels = _frame_energy(mono, sample_rate)
    if math.sqrt(levels.max()) < SILENCE:
        raise ValueError("the recording is silent; check that the right microphone was on")
    first, stop = _speech(levels, sample_rate, len(mono))
    speech = mono[first:stop]
    _refuse_short(len(speech) / sample_rate)
    kept = _cut_at_pause(speech, sample_rate, max_s)
    _refuse_short(len(kept) / sample_rate)
    cut = len(kept) < len(speech)
    report = ReferenceReport(
        recorded_s=len(mono) / sample_rate,
        duration_s=len(kept) / sample_rate,
        silence_trimmed_s=(len(mono) - len(speech)) / sample_rate,
        cut_s=(len(speech) - len(kept)) / sample_rate,
        sample_rate=sample_rate,
        snr_db=_snr_db(levels),
        clipped_share=_clipped_share(samples),
        loudness_lufs=_loudness_lufs(mono, sample_rate),
        peak=float(np.abs(samples).max()),
    )
    spoken = _warnings(report, max_s, loses_words=cut and transcript is not None)
    ready = _at_loudness(kept, sample_rate)
    if not _has_pitch(ready, sample_rate):
        spoken = (NO_PITCH, *spoken)
    reference = Reference(ready, sample_rate, None if cut else transcript)
    return reference, report.model_copy(update={"warnings": spoken})


def _refuse_short(duration_s: float) -> None:
    if duration_s < LEAST_S:
        raise ValueError(
            f"{duration_s:.2g} s of speech in the recording; at least {LEAST_S:g} s are needed, "
            f"and {SHORT_S:g} to {LONG_S:g} s are good"
        )


def _warnings(report: ReferenceReport, max_s: float, *, loses_words: bool) -> tuple[str, ...]:
    told = []
    if report.duration_s < SHORT_S:
        told.append(
            f"only {report.duration_s:.1f} s of speech: with {SHORT_S:g} to {LONG_S:g} s the voice "
            "is closer"
        )
    if report.cut_s:
        told.append(
            f"{report.duration_s + report.cut_s:.1f} s of speech: only the first "
            f"{report.duration_s:.1f} s, up to a pause, are used (at most {max_s:g} s)"
        )
    if loses_words:
        told.append(
            "the transcript says more than the part that is used, so it is left out: cut the "
            "recording yourself and give its words"
        )
    if report.snr_db < NOISY_DB:
        told.append(
            f"noisy (about {report.snr_db:.0f} dB; {NOISY_DB:g} dB or more is good): the noise is "
            "cloned as well"
        )
    if report.clipped_share > CLIPPED:
        told.append(
            f"{report.clipped_share:.1%} of the samples are clipped: record it again more softly"
        )
    if report.sample_rate < 16000:
        told.append(f"recorded at {report.sample_rate} Hz: the voice will sound as by telephone")
    return tuple(told)


def _has_pitch(ready: Samples, sample_rate: int) -> bool:
    """Return whether anything in it is periodic as a voice is; noise and a whisper are not."""
    import torch

    from diffusion_bench.audio.pitch import voice_pitch
    from diffusion_bench.audio.resampling import resample

    wave = resample(torch.from_numpy(ready), sample_rate, PITCH_RATE)
    return voice_pitch(wave, PITCH_RATE)[0] is not None


def _frame_energy(mono: Levels, sample_rate: int) -> Levels:
    """Return the variance of each frame of 20 ms, so that an offset is not taken for sound."""
    size = max(1, round(FRAME_S * sample_rate))
    frames = np.pad(mono, (0, -len(mono) % size)).reshape(-1, size)
    return np.asarray(np.var(frames, axis=1), np.float64)


def _noise_and_loudest(levels: Levels) -> tuple[float, float]:
    """Return the energy of frames without speech, and of the loudest but for a click or two."""
    recorded = levels[levels > DIGITAL_SILENCE * levels.max()]
    noise, loudest = np.percentile(recorded, [5, 98])
    return float(noise), float(loudest)


def _threshold(levels: Levels) -> float:
    """Return the energy from which on a frame counts as speech."""
    noise, loudest = _noise_and_loudest(levels)
    over_noise = noise * 10 ** (ABOVE_NOISE_DB / 10)
    over_noise = min(over_noise, loudest * 10 ** (LEAST_SPREAD_DB / 10))
    return max(over_noise, loudest * 10 ** (QUIET_DB / 10))


def _speech(levels: Levels, sample_rate: int, num_samples: int) -> tuple[int, int]:
    """Return the first sample of speech and the one after the last, silence to keep included."""
    loud = np.flatnonzero(
        np.convolve(levels >= _threshold(levels), np.ones(CLICK_FRAMES), "valid") == CLICK_FRAMES
    )
    if len(loud) == 0:
        return 0, 0
    size, kept = max(1, round(FRAME_S * sample_rate)), round(KEPT_S * sample_rate)
    last = loud[-1] + CLICK_FRAMES
    return max(0, int(loud[0]) * size - kept), min(num_samples, int(last) * size + kept)


def _cut_at_pause(speech: Levels, sample_rate: int, max_s: float) -> Levels:
    """Return the speech up to its last clear pause before `max_s`, or its softest place there."""
    if len(speech) <= max_s * sample_rate:
        return speech
    levels = _frame_energy(speech, sample_rate)
    smooth = np.convolve(levels, np.ones(PAUSE_FRAMES) / PAUSE_FRAMES, "same")
    earliest, latest = (round(share * max_s / FRAME_S) for share in (EARLIEST_CUT, 1.0))
    within = smooth[earliest : latest - 1]
    pauses = np.flatnonzero(within <= max(_threshold(levels), within.min()))
    middle = earliest + int(pauses[-1])
    kept = speech[: round((middle + 0.5) * FRAME_S * sample_rate)].copy()
    fade = round(FADE_S * sample_rate)
    kept[-fade:] *= np.linspace(1, 0, fade)
    _, stop = _speech(_frame_energy(kept, sample_rate), sample_rate, len(kept))
    return kept[:stop]


def _snr_db(levels: Levels) -> float:
    """Return how far speech lies over the noise between its words; the noise is taken as steady."""
    noise, _ = _noise_and_loudest(levels)
    speech = levels[levels >= _threshold(levels)].mean() - noise
    if speech <= 0:
        return 0.0
    return float(min(10 * math.log10(speech / noise), MOST_SNR_DB))


def _clipped_share(samples: Samples) -> float:
    """Return the share of samples at full scale, or in flat tops of a clipped, softened signal.

    A flat top is three samples or more of one value, the highest there is, with a step down at an
    end: the round top of a tone has equal samples too where it is rounded to 16 bits, and no step.
    """
    size = np.abs(samples).reshape(len(samples), -1)
    peak = float(size.max())
    if peak > OVERSHOOT:  # floats on a scale of their own, which did not end at 1
        size, peak = size / (2 * peak), 0.5  # whose tops are clipped where they are flat
    flat = sum(_flat_tops(channel, peak) for channel in size.T)
    return float((np.count_nonzero(size >= FULL_SCALE) + flat) / size.size)


def _flat_tops(size: Samples, peak: float) -> int:
    """Return how many of (samples,) without signs are in flat tops under full scale."""
    firsts = np.flatnonzero(np.diff(size, prepend=-1) != 0)  # of each run of one value
    lengths = np.diff(firsts, append=len(size))
    runs = np.pad(size[firsts], 1, mode="edge")
    step = runs[1:-1] - np.minimum(runs[:-2], runs[2:])
    high = (runs[1:-1] >= FULL_SCALE * peak) & (runs[1:-1] < FULL_SCALE)
    flat = high & (lengths >= FLAT_SAMPLES) & (step > STEP)
    return int(lengths[flat].sum())


def _loudness_lufs(mono: Levels, sample_rate: int) -> float:
    """Return the loudness (ITU-R BS.1770-4), or that of the mean square where it is too short."""
    import torch
    from torchaudio.functional import loudness

    measured = math.nan
    if len(mono) >= 0.4 * sample_rate:  # the measure's own blocks
        measured = float(loudness(torch.from_numpy(mono)[None], sample_rate))
    if math.isfinite(measured):
        return measured
    return 10 * math.log10(max(float(np.mean(mono**2)), 1e-12)) - 0.691


def _at_loudness(mono: Levels, sample_rate: int) -> Samples:
    # Measured at a full level: the measure passes over what is below -70 LUFS.
    full = mono / np.abs(mono).max()
    gain = 10 ** ((LOUDNESS_LUFS - _loudness_lufs(full, sample_rate)) / 20)
    return np.asarray(full * min(gain, PEAK), np.float32)
