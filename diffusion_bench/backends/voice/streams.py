"""Candidates that are spoken together, each joined on its own, given out as far as all are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from diffusion_bench.audio.joining import Joiner
from diffusion_bench.backends.voice.base import Utterance

Floats = NDArray[np.float32]


class Streams:
    """The speech of a batch as it grows.

    A candidate sounds as it would alone, so candidates may differ in length; the shorter ones end
    in zeros. One of which no chunk was said, but for pauses in between, has no length.
    """

    def __init__(self, candidates: int, sample_rate: int) -> None:
        self._joiners = [Joiner(sample_rate) for _ in range(candidates)]
        self._growing = np.zeros((candidates, 0), np.float32)
        self._waiting = [np.zeros(0, np.float32) for _ in range(candidates)]
        self._lengths = [0] * candidates
        self._said = [0] * candidates  # samples that came of the model, before they were joined
        self._given: list[Floats] = []
        # Of each chunk, with its samples; `None` of one that a model passed over.
        self._mels: list[tuple[Floats | None, int]] = []

    def grow(self, piece: Floats, *, ends_sentence: bool, last: bool) -> Floats:
        """Return what is new with the next (candidates, samples) of a chunk; it may be nothing."""
        self._growing = np.concatenate([self._growing, piece], axis=1)
        for index, joiner in enumerate(self._joiners):
            # Zeros at the end may be what follows a candidate that has ended.
            so_far = np.trim_zeros(self._growing[index], "b")
            self._wait(index, joiner.grow(so_far, ends_sentence=ends_sentence, last=last))
        return self._give(min(map(len, self._waiting)))

    def add(self, utterance: Utterance, *, ends_sentence: bool, last: bool) -> Floats:
        """Return what is new: (candidates, samples), as much as every candidate has ready."""
        audio = utterance.audio.numpy()
        for index, (joiner, length) in enumerate(
            zip(self._joiners, utterance.lengths, strict=True)
        ):
            ready = joiner.add(audio[index, :length], ends_sentence=ends_sentence, last=last)
            self._wait(index, ready)
            self._said[index] += length
        self._growing = self._growing[:, :0]
        mel = None if utterance.mel is None else np.asarray(utterance.mel, np.float32)
        self._mels.append((mel, audio.shape[1]))
        lengths = [len(one) for one in self._waiting]
        return self._give(max(lengths) if last else min(lengths))

    def _wait(self, index: int, ready: Floats) -> None:
        self._lengths[index] += len(ready)
        self._waiting[index] = np.concatenate([self._waiting[index], ready])

    def _give(self, count: int) -> Floats:
        new = np.stack([_cut(one, count) for one in self._waiting])
        self._waiting = [one[count:] for one in self._waiting]
        # An overlap of two loud edges may pass full scale.
        self._given.append(np.clip(new, -1.0, 1.0))
        return self._given[-1]

    def audio(self) -> Floats:
        """Return all that was given out: (candidates, samples)."""
        return np.concatenate(self._given, axis=1)

    def lengths(self) -> tuple[int, ...]:
        """Return the samples of each candidate, 0 of one that said nothing."""
        return tuple(
            length if said else 0 for length, said in zip(self._lengths, self._said, strict=True)
        )

    def mels(self) -> tuple[Floats, ...]:
        """Return each candidate's log-mel spectrogram, (bins, frames); none where a model has none.

        The chunks' frames lie where their samples went; pauses, and chunks without frames, are as
        quiet as the quietest frame.
        """
        if all(mel is None for mel, _ in self._mels):
            return ()
        return tuple(self._mel(index) for index in range(len(self._joiners)))

    def _mel(self, index: int) -> Floats:
        known = [(mel, samples) for mel, samples in self._mels if mel is not None]
        if len(self._mels) == 1:
            only: Floats = known[0][0][index]
            return only
        # A chunk's samples for each of its frames: the hop, up to what rounding left over.
        hop = min(samples / mel.shape[2] for mel, samples in known)
        total = -(-self._lengths[index] // round(hop))
        quiet = min(float(mel[index].min()) for mel, _ in known)
        drawn = np.full((known[0][0].shape[1], total), quiet, np.float32)
        for (mel, _), place in zip(self._mels, self._joiners[index].placements, strict=True):
            if mel is None:
                continue
            first, at = round(place.first / hop), round(place.at / hop)
            frames = mel[index, :, first : first + round((place.stop - place.first) / hop)]
            frames = frames[:, : max(0, total - at)]
            drawn[:, at : at + frames.shape[1]] = frames
        return drawn


def _cut(samples: Floats, count: int) -> Floats:
    return np.pad(samples[:count], (0, max(0, count - len(samples))))
