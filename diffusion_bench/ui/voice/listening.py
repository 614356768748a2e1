"""Speech on its way to a player while it is made, marked from its first sound on."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from diffusion_bench.audio.files import write_sound
from diffusion_bench.audio.joining import Samples
from diffusion_bench.audio.watermark.marking import Marker, embed
from diffusion_bench.backends.voice.base import VoiceEntry
from diffusion_bench.backends.voice.recipes import Recipe
from diffusion_bench.pronunciation.sentences import split_to_hear
from diffusion_bench.records import VoiceRequest

GROWTH = 1.5  # of what can be heard already: a player begins anew with each file


class Piece(NamedTuple):
    """The next piece, a wav, and the seconds that have been given with it."""

    sound: bytes
    seconds: float


class Audible(NamedTuple):
    """A file of all that can be heard so far, and the seconds in it."""

    path: str
    seconds: float


Tell = Callable[[object], None]  # a `Piece` or an `Audible`


def can_stream() -> bool:
    """Return whether Gradio's player can be fed piece by piece: it encodes through ffmpeg."""
    return shutil.which("ffmpeg") is not None


class Live:
    """Gives what can be heard to a player as it comes, marked throughout, as small wav files.

    The mark goes on from one piece to the next, so that two seconds of what was played tell it; a
    piece is too short to be told alone. `end` gives the last milliseconds.
    """

    def __init__(self, recipe: Recipe, sample_rate: int, tell: Tell) -> None:
        self._marker = Marker(sample_rate) if recipe.watermark else None
        self._sample_rate = sample_rate
        self._tell = tell
        self._given = 0

    def __call__(self, piece: Any) -> None:
        """Take the next piece, (candidates, samples): the first candidate is heard."""
        samples = np.asarray(piece[0])
        self._give(self._marker.add(samples) if self._marker else samples)

    def end(self) -> None:
        """Give what the mark has held back."""
        if self._marker:
            self._give(self._marker.end())

    def _give(self, samples: Samples) -> None:
        if not len(samples):
            return
        self._given += len(samples)
        buffer = io.BytesIO()
        soundfile.write(buffer, samples, self._sample_rate, format="WAV", subtype="PCM_16")
        self._tell(Piece(buffer.getvalue(), self._given / self._sample_rate))


class Pieces:
    """Gathers what can be heard already, and writes it down, marked, each time it has grown.

    For a machine without ffmpeg, where no player can be fed.
    """

    def __init__(self, folder: Path, recipe: Recipe, sample_rate: int, tell: Tell) -> None:
        self._folder = folder
        self._recipe = recipe
        self._sample_rate = sample_rate
        self._tell = tell
        self._pieces: list[Samples] = []
        self._told = 0

    def __call__(self, piece: Any) -> None:
        """Take the next piece, (candidates, samples): the first candidate is heard."""
        self._pieces.append(np.asarray(piece[0]))
        count = sum(map(len, self._pieces))
        if count < max(1, GROWTH * self._told):
            return
        self._told = count
        samples = np.concatenate(self._pieces)
        if self._recipe.watermark:
            samples = embed(samples, self._sample_rate)
        path = self._folder / f"ai-speech-so-far-{len(self._pieces)}.wav"
        write_sound(path, samples, self._sample_rate, recipe=self._recipe.model_dump(mode="json"))
        self._tell(Audible(str(path), count / self._sample_rate))

    def end(self) -> None:
        """Do nothing: the finished file comes next."""


def is_played_live(request: VoiceRequest, entry: VoiceEntry) -> bool:
    """Return whether a player is fed with pieces of what a model says."""
    return _comes_in_pieces(request, entry) and can_stream()


def listener_of(
    recipe: Recipe, entry: VoiceEntry, folder: Path, tell: Tell
) -> Live | Pieces | None:
    """Return what takes the speech as it comes; `None` where it comes as a whole."""
    if not _comes_in_pieces(recipe.request, entry):
        return None
    if can_stream():
        return Live(recipe, entry.sample_rate, tell)
    return Pieces(folder, recipe, entry.sample_rate, tell)


def _comes_in_pieces(request: VoiceRequest, entry: VoiceEntry) -> bool:
    return entry.streams or len(split_to_hear(request.text, entry.max_chars)) > 1
