"""What makes speech doubtful, told beside it: short texts, chunks much too short or too long."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from diffusion_bench.audio.joining import speech_span
from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.voice.base import Utterance, VoiceEntry, VoiceState
from diffusion_bench.pronunciation.normalise import normalise
from diffusion_bench.records import VoiceRequest

SECONDS_PER_CHARACTER = 0.082
DOUBTFUL_RATIO = (0.5, 1.8)  # outside, a model has stopped early, or has not stopped
FEW_WORDS = 3
# What is said by more letters than it is written with: "7", "%", "GPU".
UNSPOKEN = re.compile(r"""\d|[A-Z]{2}|[^\w\s.,;:!?'"()-]""")
TOO_SHORT_TO_TELL = 20  # characters


class Doubts:
    """Collects what is doubtful about one synthesis, chunk by chunk."""

    def __init__(
        self,
        request: VoiceRequest,
        voice: Reference | VoiceState,
        entry: VoiceEntry,
        chunks: Sequence[str],
    ) -> None:
        self._request = request
        self._entry = entry
        self._chunks = chunks
        self._done = 0
        self._said = [0] * request.batch  # samples of each candidate
        self._found = dict.fromkeys([*_of_text(request.text), *_of_voice(voice, entry)])

    def add(self, utterance: Utterance) -> None:
        """Look at the next chunk."""
        self._found |= dict.fromkeys(utterance.warnings)
        expected_s = expected_duration_s(self._chunks[self._done], self._request.speed)
        self._done += 1
        for index, length in enumerate(utterance.lengths):
            self._said[index] += length
            problem = self._problem(utterance.audio[index, :length].numpy(), expected_s)
            if problem:
                self._found[f"{self._where(index)} {problem}"] = None

    def warnings(self) -> tuple[str, ...]:
        """Return the doubts, each a line, each once."""
        batch = self._request.batch
        left_out = [
            f"candidate {index + 1} of {batch} said nothing and is left out: try another seed"
            for index, said in enumerate(self._said)
            if not said
        ]
        return tuple(self._found) + tuple(left_out)

    def _problem(self, samples: np.ndarray, expected_s: float | None) -> str:
        if not samples.any():
            return "came out silent"
        if expected_s is None:
            return ""
        first, stop = speech_span(samples, self._entry.sample_rate)
        actual_s = (stop - first) / self._entry.sample_rate
        low, high = DOUBTFUL_RATIO
        if low * expected_s <= actual_s <= high * expected_s:
            return ""
        what = "words may be missing" if actual_s < expected_s else "words may be repeated"
        return f"lasts {actual_s:.1f} s where about {expected_s:.1f} s were expected: {what}"

    def _where(self, candidate: int) -> str:
        parts = []
        if len(self._chunks) > 1:
            parts.append(f"chunk {self._done} of {len(self._chunks)}")
        if self._request.batch > 1:
            parts.append(f"candidate {candidate + 1} of {self._request.batch}")
        return ", ".join(parts) or "the speech"


def expected_duration_s(text: str, speed: float) -> float | None:
    """Return how long English takes to say, `None` where it is too short to tell."""
    said = normalise(text) if UNSPOKEN.search(text) else text
    characters = len(re.sub(r"[^\w\s]|_", "", " ".join(said.split())))
    return characters * SECONDS_PER_CHARACTER / speed if characters >= TOO_SHORT_TO_TELL else None


def _of_text(text: str) -> list[str]:
    words = len(re.findall(r"[^\W_]+", text))
    if words >= FEW_WORDS:
        return []
    return [f"a text of {words} word{'s' * (words > 1)}: short ones are often said badly"]


def _of_voice(voice: Reference | VoiceState, entry: VoiceEntry) -> list[str]:
    most_s = entry.reference_s[1]
    if isinstance(voice, VoiceState) or voice.duration_s <= most_s:
        return []
    return [f"the reference is {voice.duration_s:.0f} s long; {entry.name} uses {most_s:g} s of it"]
