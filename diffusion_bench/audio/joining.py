"""Chunks of speech into one recording, as they come, without clicks.

Where two chunks meet, the quiet at their edges is trimmed. After a sentence a pause follows;
within one, the chunks overlap in a cross-fade whose power is constant, since two chunks are not
in phase. A chunk may itself come in pieces: what later ones cannot change is given out at once.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Samples = NDArray[np.float32]

FRAME_S = 0.01
QUIET_DB = -40.0  # under the loudest frame of a chunk: not speech, by energy
MARGIN_S = 0.03  # of quiet left around the speech, beside what a cross-fade needs
EDGE_S = 0.005  # of fading wherever sound meets silence
SHORTEST_FADE_S, LONGEST_FADE_S = 0.05, 0.15
BEGINNING_S = 0.5  # of a growing chunk's speech, after which where it begins is settled


@dataclass(frozen=True)
class Placement:
    """Where a chunk went: its samples from `first` to `stop` lie from `at` on in the result."""

    at: int
    first: int
    stop: int


class Joiner:
    """Takes one speaker's chunks in order and gives back what can be heard already.

    What `add` and `grow` return, end to end, is the recording; `placements` says where each chunk
    went.
    """

    def __init__(self, sample_rate: int, *, fade_s: float = 0.08, pause_s: float = 0.2) -> None:
        if not SHORTEST_FADE_S <= fade_s <= LONGEST_FADE_S:
            raise ValueError(
                f"a cross-fade of {fade_s} s; {SHORTEST_FADE_S} to {LONGEST_FADE_S} s are allowed"
            )
        self.placements: list[Placement] = []
        self._sample_rate = sample_rate
        self._fade = round(fade_s * sample_rate)
        self._pause = round(pause_s * sample_rate)
        self._edge = round(EDGE_S * sample_rate)
        self._margin = round(MARGIN_S * sample_rate)
        self._given = 0  # samples that were returned of the chunks before
        self._grown = 0  # and of the one that grows
        self._first: int | None = None  # sample it begins at, once that is settled
        # The end of the last chunk, held back to fade into the next; empty after a pause.
        self._tail: Samples = np.zeros(0, np.float32)

    def grow(self, so_far: Samples, *, ends_sentence: bool, last: bool) -> Samples:
        """Return what is new and settled of a chunk that is not whole yet: (samples,), float32.

        `so_far` is all there is of it. `add` is to be called with the whole.
        """
        frame = round(FRAME_S * self._sample_rate)
        known = so_far[: len(so_far) // frame * frame]
        if not known.any():
            return known[:0]
        first, stop = speech_span(known, self._sample_rate)
        if self._first is None and self.placements:
            if stop - first < BEGINNING_S * self._sample_rate:
                return known[:0]
            first, _ = self._span(known, ends_sentence=ends_sentence, last=last)
            self._first = first
        first = self._first or 0
        # Later sound is louder or not. If it is, speech goes on at least up to there; if not, what
        # is no quiet now will be none then. So the end of what is kept can only move on.
        kept = len(known) if last else min(len(known), stop + self._after(ends_sentence))
        settled = kept - (self._edge if last or ends_sentence else self._fade)
        if settled - first < 2 * max(self._edge, len(self._tail)):
            return known[:0]
        joined = self._onto_tail(known[first:settled].astype(np.float32), len(self._tail))
        ready = joined[self._grown :]
        self._grown += len(ready)
        return ready

    def add(self, chunk: Samples, *, ends_sentence: bool, last: bool) -> Samples:
        """Return the samples that are settled with this chunk: (samples,), float32."""
        ready = self._add(chunk, ends_sentence=ends_sentence, last=last)
        self._given += len(ready)
        new = ready[self._grown :]
        self._grown, self._first = 0, None
        return new

    def _add(self, chunk: Samples, *, ends_sentence: bool, last: bool) -> Samples:
        first, stop = self._span(chunk, ends_sentence=ends_sentence, last=last)
        kept = chunk[first:stop].astype(np.float32)
        overlap = min(len(self._tail), len(kept) // 2)
        at = self._given + len(self._tail) - overlap
        self.placements.append(Placement(at=at, first=first, stop=stop))
        if len(kept) == 0 and not (last or ends_sentence):
            return kept
        joined = self._onto_tail(kept, overlap)
        if last or ends_sentence:
            _fade_out(joined, self._edge)
            self._tail = joined[:0]
            ready = joined if last else np.pad(joined, (0, self._pause))
        else:
            # No more than half: what comes before must not be faded twice.
            held = min(self._fade, len(kept) // 2)
            self._tail = joined[len(joined) - held :]
            ready = joined[: len(joined) - held]
        return ready

    def _span(self, chunk: Samples, *, ends_sentence: bool, last: bool) -> tuple[int, int]:
        """Return what is kept of a chunk: all at the outer ends, the speech at the joints."""
        first, stop = speech_span(chunk, self._sample_rate)
        before = self._margin + (self._fade if len(self._tail) else 0)
        first = max(0, first - before) if self.placements else 0
        if self._first is not None:
            first = self._first
        return first, len(chunk) if last else min(len(chunk), stop + self._after(ends_sentence))

    def _after(self, ends_sentence: bool) -> int:
        """Return the samples of quiet that are kept after the speech of a chunk."""
        return self._margin + (0 if ends_sentence else self._fade)

    def _onto_tail(self, kept: Samples, overlap: int) -> Samples:
        if overlap == 0:
            joined = np.concatenate([self._tail, kept])
            if len(self._tail) == 0:
                _fade_in(joined, self._edge)
            return joined
        alone = len(self._tail) - overlap
        rise = equal_power_rise(overlap)
        middle = self._tail[alone:] * rise[::-1] + kept[:overlap] * rise
        return np.concatenate([self._tail[:alone], middle, kept[overlap:]])


def equal_power_rise(length: int) -> Samples:
    """Return a rise from 0 to 1 whose square and that of its mirror image add up to 1."""
    at = (np.arange(length, dtype=np.float64) + 0.5) / length
    return np.sin(np.pi / 2 * at).astype(np.float32)


def speech_span(samples: Samples, sample_rate: int) -> tuple[int, int]:
    """Return the first sample and the one after the last of the frames that are not quiet.

    A silent chunk is kept whole: how long it is may be meant.
    """
    frame = max(1, round(FRAME_S * sample_rate))
    count = -(-len(samples) // frame)
    padded = np.pad(samples.astype(np.float64), (0, count * frame - len(samples)))
    power = np.square(padded).reshape(count, frame).mean(axis=1)
    if count == 0 or power.max() == 0:
        return 0, len(samples)
    loud = np.flatnonzero(power > power.max() * 10 ** (QUIET_DB / 10))
    return int(loud[0]) * frame, min(len(samples), (int(loud[-1]) + 1) * frame)


def _fade_in(samples: Samples, length: int) -> None:
    length = min(length, len(samples) // 2)
    samples[:length] *= equal_power_rise(length)


def _fade_out(samples: Samples, length: int) -> None:
    length = min(length, len(samples) // 2)
    samples[len(samples) - length :] *= equal_power_rise(length)[::-1]
