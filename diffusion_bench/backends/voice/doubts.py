"""What makes speech doubtful, told beside it: short texts, chunks much too short or too long."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from diffusion_bench.audio.joining import speech_span
from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.voice.base import Utterance, VoiceEntry, VoiceState
from diffusion_bench.pronunciation.characters import left_out
from diffusion_bench.pronunciation.front_end import is_speakable
from diffusion_bench.pronunciation.marks import spoken_chars
from diffusion_bench.pronunciation.normalise import normalise
from diffusion_bench.records import VoiceRequest

# Outside, a model has stopped early, or has not stopped: of speech without a third of its words
# 0.67 is left. Echo's own is 0.83 to 1.29 of what is expected.
DOUBTFUL_RATIO = (0.7, 1.8)
FEW_WORDS = 3
# What is said by more letters than it is written with, "7", "%", "GPU", or by none.
UNSPOKEN = re.compile(r"""\d|[A-Z]{2}|[^\w\s.,;:!?'"()-]|[^\x00-\x7f]""")
TOO_SHORT_TO_TELL = 20  # characters
MOST_NAMED = 80  # characters of what is not said


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
        self._found = dict.fromkeys([*_of_text(request.text, entry), *_of_voice(voice, entry)])

    def add(self, utterance: Utterance) -> None:
        """Look at the next chunk."""
        self._found |= dict.fromkeys(utterance.warnings)
        chunk = self._chunks[self._done]
        expected_s = expected_duration_s(chunk, self._request.speed, self._entry)
        is_pause = self._entry.english_only and not is_speakable(chunk)
        self._done += 1
        for index, length in enumerate(utterance.lengths):
            self._said[index] += length
            if is_pause:
                continue
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


def expected_duration_s(text: str, speed: float, entry: VoiceEntry) -> float | None:
    """Return how long a model takes to say a text, `None` where it is too short to tell."""
    characters = _letters(text, entry)
    return characters * entry.letter_s / speed if characters >= TOO_SHORT_TO_TELL else None


def about_s(text: str, entry: VoiceEntry) -> float:
    """Return about how long a model takes to say a text at its own pace, however short it is."""
    return _letters(text, entry) * entry.letter_s


def as_said(text: str, entry: VoiceEntry) -> str:
    """Return the words of an English text as they are said, another text as it is."""
    in_english = entry.english_only or not left_out(text)
    return normalise(text) if in_english and UNSPOKEN.search(text) else text


def _letters(text: str, entry: VoiceEntry) -> float:
    """Return how many letters of English, spaces between words too, take as long to say."""
    said = as_said(text, entry)
    return spoken_chars(re.sub(r"[^\w\s]|_", "", " ".join(said.split())))


def _of_text(text: str, entry: VoiceEntry) -> list[str]:
    return [*_not_said(text, entry), *_short(text)]


def _not_said(text: str, entry: VoiceEntry) -> list[str]:
    dropped = ", ".join(left_out(text)) if entry.english_only else ""
    if len(dropped) > MOST_NAMED:
        dropped = f"{dropped[:MOST_NAMED]}..."
    return [f"not said: {dropped} ({entry.name} speaks English only)"] if dropped else []


def _short(text: str) -> list[str]:
    words = len(re.findall(r"[^\W_]+", text))
    if words >= FEW_WORDS:
        return []
    return [f"a text of {words} word{'s' * (words > 1)}: short ones are often said badly"]


def _of_voice(voice: Reference | VoiceState, entry: VoiceEntry) -> list[str]:
    most_s = entry.reference_s[1]
    if isinstance(voice, VoiceState) or voice.duration_s <= most_s:
        return []
    return [f"the reference is {voice.duration_s:.0f} s long; {entry.name} uses {most_s:g} s of it"]
