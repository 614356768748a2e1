"""Files of the tab *Voice cloning*: what can be heard already, what was said, what came back."""

from __future__ import annotations

import contextlib
import io
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import soundfile

from diffusion_bench.audio.files import read_sound, write_sound
from diffusion_bench.audio.joining import Samples
from diffusion_bench.audio.watermark import Marker, detect, embed
from diffusion_bench.backends.voice.ranking import Candidate
from diffusion_bench.backends.voice.recipes import Recipe, read_recipe, save_speech
from diffusion_bench.records import Speech
from diffusion_bench.ui.asked import MAX_PAGE_SEED
from diffusion_bench.ui.complaints import in_one_line
from diffusion_bench.ui.voice_limits import check_voice_model
from diffusion_bench.ui.voice_words import candidate_label, verdict_lines

GROWTH = 1.5  # of what can be heard already: a player begins anew with each file
LONGEST_SUSPECT_S = 600.0

Audible = Callable[[str, float], None]  # a file, and the seconds in it
Piece = Callable[[bytes, float], None]  # the next piece as a wav, and the seconds so far


class Spoken(NamedTuple):
    """A finished candidate: the file to hear and keep, what it is called, and its settings."""

    path: str
    label: str
    recipe_path: str


def can_stream() -> bool:
    """Return whether Gradio's player can be fed piece by piece: it encodes through ffmpeg."""
    return shutil.which("ffmpeg") is not None


class Live:
    """Gives what can be heard to a player as it comes, marked throughout, as small wav files.

    The mark goes on from one piece to the next, so that two seconds of what was played tell it; a
    piece is too short to be told alone. `end` gives the last milliseconds.
    """

    def __init__(self, recipe: Recipe, sample_rate: int, tell: Piece) -> None:
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
        self._tell(buffer.getvalue(), self._given / self._sample_rate)


class Pieces:
    """Gathers what can be heard already, and writes it down, marked, each time it has grown.

    For a machine without ffmpeg, where no player can be fed.
    """

    def __init__(self, folder: Path, recipe: Recipe, sample_rate: int, tell: Audible) -> None:
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
        self._tell(str(path), count / self._sample_rate)

    def end(self) -> None:
        """Do nothing: the finished file comes next."""


def save_candidates(
    speech: Speech, candidates: Sequence[Candidate], recipe: Recipe, folder: Path
) -> tuple[Spoken, ...]:
    """Write each candidate, marked, and its recipe beside it; the most alike comes first."""
    spoken = []
    for candidate in candidates:
        own = recipe.of_candidate(candidate.index)
        seed = recipe.request.seed + candidate.index
        path = folder / f"ai-speech-seed-{seed}.wav"
        save_speech(path, speech, own)
        told = folder / f"ai-speech-seed-{seed}.json"
        told.write_text(json.dumps(own.model_dump(mode="json"), indent=2), encoding="utf-8")
        spoken.append(Spoken(str(path), candidate_label(candidate, seed), str(told)))
    return tuple(spoken)


def read_settings(path: str | None, *, shared: bool) -> Recipe:
    """Return the recipe a file of ours carries; ValueError, in one line, if there is none."""
    if not path:
        raise ValueError("choose a sound file that Diffusion Bench has made")
    recipe = read_recipe(Path(path))
    if recipe is None:
        raise ValueError("this file carries no settings of Diffusion Bench")
    check_voice_model(recipe.request.model, shared=shared)
    if recipe.request.seed > MAX_PAGE_SEED:
        raise ValueError("its seed is larger than a browser can hold; use the command line")
    return recipe


def examine(path: str | None) -> str:
    """Return what the mark in a file and its own words say of its origin; the file goes then.

    Raises ValueError, in one line, for what is no sound or longer than ten minutes.
    """
    if not path:
        raise ValueError("choose a sound file")
    file = Path(path)
    try:
        sound = read_sound(file, max_s=LONGEST_SUSPECT_S)
        found = detect(sound.samples, sound.sample_rate)
        try:
            return verdict_lines(found, read_recipe(file))
        except ValueError as error:
            return verdict_lines(found, None, in_one_line(error))
    finally:
        forget_file(file)


def forget_file(path: Path) -> None:
    """Delete an uploaded file, if it is there still."""
    with contextlib.suppress(OSError):
        path.unlink()
