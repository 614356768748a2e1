"""The spectrograms of the tab *Voice cloning*: of the reference, and of what was said."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from diffusion_bench.audio.joining import Samples
from diffusion_bench.audio.mel import MelSettings, log_mel
from diffusion_bench.audio.reference import Reference
from diffusion_bench.audio.resampling import resample
from diffusion_bench.backends.voice.ranking import Candidate
from diffusion_bench.charts.spectrogram import (
    LONGEST_S,
    spectrogram_figure,
    spectrogram_numbers,
    spectrogram_table,
)
from diffusion_bench.records import Speech
from diffusion_bench.ui.figures import Chart, to_table

RATE = 16_000  # whatever the recording's own: half of it is the highest that is drawn
FRAMES_A_SECOND = 62


def draw_spectrograms(speech: Speech, best: Candidate, reference: Reference | None) -> Chart:
    """Return the mel spectrograms of the reference, where there is one, and the candidate.

    Both are taken from the sound, in the same way, so that they can be compared.
    """
    shown = [("What was said", best.audio, speech.sample_rate)]
    if reference is not None:
        shown.insert(0, ("The reference", reference.samples, reference.sample_rate))
    return spectrogram_chart([(name, *mel_of(samples, rate)) for name, samples, rate in shown])


def spectrogram_chart(mels: Sequence[tuple[str, Any, float]]) -> Chart:
    """Return a chart of (name, log mel, seconds of a frame) with its table."""
    panels = spectrogram_numbers(mels)
    return Chart(spectrogram_figure(panels), to_table(*spectrogram_table(panels)))


def mel_of(samples: Samples, sample_rate: int) -> tuple[Any, float]:
    """Return the log mel (bins, frames) of the first seconds of a sound, and those of a frame."""
    settings = MelSettings(sample_rate=RATE, hop_length=RATE // FRAMES_A_SECOND)
    shown = samples[: round(LONGEST_S * sample_rate)]
    wave = torch.from_numpy(np.ascontiguousarray(shown, dtype=np.float32))
    wave = resample(wave, sample_rate, RATE)
    if len(wave) <= settings.n_fft:
        wave = torch.nn.functional.pad(wave, (0, settings.n_fft))
    return log_mel(wave, settings)[0].numpy(), settings.hop_s
