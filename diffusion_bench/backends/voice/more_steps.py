"""How far speech is from what more steps of the same sampler make of the same seed.

Both say the same text with the same durations, so that each frame has its counterpart. Nearer than
two seeds are to each other, steps change less than chance does. A sampler that draws fresh noise at
each step, as DDPM, is about that far from any other number of steps.
"""

from __future__ import annotations

from typing import NamedTuple

import torch

from diffusion_bench.audio.joining import Samples
from diffusion_bench.audio.mel import MelSettings
from diffusion_bench.audio.resampling import resample
from diffusion_bench.audio.spectral_distance import mel_distance_db
from diffusion_bench.backends.voice.ranking import Candidate
from diffusion_bench.records import Speech


class MoreSteps(NamedTuple):
    """Mel distances in dB: from `steps` steps, and of two seeds with so many from each other."""

    steps: int
    distance_db: float
    seeds_apart_db: float


def compare_steps(candidate: Candidate, more: Speech) -> MoreSteps:
    """Return how far a candidate is from its like in `more`, the speech of `with_more_steps`.

    Raises ValueError where they are of other lengths, as of models that decide on those by chance.
    """
    other = (candidate.index + 1) % more.request.batch
    end, chance = (more.candidate(index) for index in (candidate.index, other))
    rate = more.sample_rate
    return MoreSteps(
        more.request.steps, apart_db(candidate.audio, end, rate), apart_db(chance, end, rate)
    )


def apart_db(one: Samples, two: Samples, sample_rate: int) -> float:
    """Return the mel distance of two (samples,) that say the same, in dB.

    Raises ValueError where they are of other lengths.
    """
    if len(one) != len(two):
        raise ValueError(
            "other steps, or another seed, speak for another time: no frame has its counterpart"
        )
    rate = MelSettings().sample_rate
    first, second = (resample(torch.from_numpy(each), sample_rate, rate) for each in (one, two))
    return mel_distance_db(first, second)


def distance_words(candidate: Candidate, more: Speech) -> str:
    """Return how far a candidate is from its like in `more`, or why that cannot be told."""
    steps = more.request.steps
    try:
        found = compare_steps(candidate, more)
    except ValueError as error:
        return f"the mel distance from {steps} steps cannot be told: {error}"
    return (
        f"mel distance {found.distance_db:.2f} dB from {steps} steps of the same seed; "
        f"two seeds are {found.seeds_apart_db:.2f} dB apart"
    )
