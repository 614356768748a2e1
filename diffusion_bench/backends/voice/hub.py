"""What voice models of the hub share: what they take of a recording, whose voices, their noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.voice.base import VoiceEntry, VoiceState
from diffusion_bench.backends.voice.candidates import at_rate
from diffusion_bench.backends.voice.catalog import encodes_alike
from diffusion_bench.records import VoiceRequest

SILENCE = 1e-4  # a peak under -80 dB of full scale


def waveform_of(reference: Reference, entry: VoiceEntry) -> Tensor:
    """Return a recording as (samples,) float32 at the model's rate, cut to what the model uses.

    Raises ValueError for one that is too short, damaged or silent.
    """
    check_recording(reference, entry)
    samples = reference.samples[: int(entry.reference_s[1] * reference.sample_rate)]
    cut = Reference(samples, reference.sample_rate)
    return at_rate(cut, entry.sample_rate)


def check_recording(reference: Reference, entry: VoiceEntry) -> None:
    """Raise ValueError for a recording that is too short for a model, damaged or silent."""
    least_s, most_s = entry.reference_s
    if reference.duration_s < least_s:
        raise ValueError(
            f"the reference is {reference.duration_s:.3g} s long; "
            f"{entry.name} needs {least_s:g} s or more of one voice"
        )
    samples = reference.samples[: int(most_s * reference.sample_rate)]
    if not np.isfinite(samples).all() or np.abs(samples).max() < SILENCE:
        raise ValueError("the reference is silent or damaged: there is no voice in it to clone")


def refuse_foreign(entry: VoiceEntry, state: VoiceState) -> None:
    """Raise ValueError for a voice that another model has encoded, with other weights."""
    if not encodes_alike(state.model, entry.name):
        raise ValueError(
            f"the voice was encoded by {state.model} and means nothing to {entry.name}; "
            "encode it again from its recording"
        )


def noise_of(request: VoiceRequest) -> Callable[..., Tensor]:
    """Return `draw(*shape)`, which gives (candidates, *shape) standard normal float32 on the CPU.

    Each candidate has a generator of its own, so that it sounds as it would alone, and the noise
    is drawn on the CPU, so that every device gets the same. torch's global ones stay untouched.
    """
    generators = [
        torch.Generator().manual_seed(request.of_candidate(index).seed)
        for index in range(request.batch)
    ]

    def draw(*shape: int) -> Tensor:
        return torch.stack([torch.randn(shape, generator=one) for one in generators])

    return draw
