"""Candidates of one text, the most similar to the reference first."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from diffusion_bench.audio.reference import Reference
from diffusion_bench.records import Speech

Samples = NDArray[np.float32]
# From two recordings, each with its sample rate, to how alike their voices are; `None` cannot tell.
Similarity = Callable[[Samples, int, Samples, int], float | None]


@dataclass(frozen=True)
class Candidate:
    """One candidate: its place in the batch, its speech (samples,), and how like the reference.

    `similarity` is `None` where there was nothing to compare with.
    """

    index: int
    audio: Samples
    similarity: float | None


def rank_candidates(
    speech: Speech, reference: Reference | None, similarity: Similarity
) -> list[Candidate]:
    """Return the candidates, the most similar first, those that cannot be compared last.

    One that said nothing is left out: there is nothing to compare, to hear or to write. Without a
    reference, as with a voice that was saved encoded, they stay as they were spoken.
    """
    ranked = []
    for index in range(speech.request.batch):
        audio = speech.candidate(index)
        if not len(audio):
            continue
        score = None
        if reference is not None:
            score = similarity(audio, speech.sample_rate, reference.samples, reference.sample_rate)
        ranked.append(Candidate(index=index, audio=audio, similarity=score))
    return sorted(ranked, key=_worst_last)


def _worst_last(candidate: Candidate) -> tuple[bool, float]:
    score = candidate.similarity
    return score is None, -(score or 0.0)
