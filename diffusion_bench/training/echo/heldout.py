"""Voices and sentences that no network was trained on, and what is measured on them.

Two dozen speakers drawn as the corpus's were, with numbers of their own, and festival's voice ked,
which is another synthesizer. Sentences are plain English, written for this file.
"""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.typing import NDArray

from diffusion_bench.audio.reference import Reference
from diffusion_bench.training.echo.aligned import SAMPLE_RATE
from diffusion_bench.training.echo.corpus import HELD_OUT, speak, speaker_of
from diffusion_bench.training.echo.recordings import record
from diffusion_bench.training.echo.speakers import put_together, take_apart

NUM_SPEAKERS = 24
SENTENCES = (
    "The train to the coast leaves at seven in the morning.",
    "She put the letters on the table and closed the door.",
    "Nobody knew why the old clock had stopped.",
    "We need more bread, some cheese, and a bag of apples.",
    "Could you tell me where the nearest station is?",
    "After the rain, the children played in the garden.",
    "He learned to play the piano when he was a boy.",
    "The doctor said that he should rest for a week.",
    "There were only three people in the room.",
    "My brother works for a small company in the city.",
    "It was the best meal that I had ever eaten.",
    "The water in the lake is cold, even in July.",
    "They walked along the river until it was dark.",
    "Please write your name at the top of the page.",
    "A strong wind blew the leaves across the road.",
    "I have read this book twice, and I still like it.",
)
REFERENCE_TEXT = (
    "A tall man in a grey coat crossed the street. "
    "He looked at his watch, and then he looked at the sky."
)


class HeldOut(NamedTuple):
    """A voice no network has heard: what names it, a clean and a recorded reference."""

    name: str
    clean: Reference
    recorded: Reference
    pitch_hz: float | None


def held_out_speakers(count: int = NUM_SPEAKERS) -> list[HeldOut]:
    """Return speakers of the corpus's kind, each with five seconds or more of reference."""
    found = []
    for number in range(HELD_OUT, HELD_OUT + count):
        speaker = speaker_of(number)
        spoken = put_together(take_apart(speak(REFERENCE_TEXT, speaker.base)), speaker)
        heard = record(spoken.samples, np.random.default_rng([9, number]))
        found.append(
            HeldOut(
                f"{number}:{speaker.base}",
                _reference(spoken.samples),
                _reference(heard),
                speaker.pitch_hz,
            )
        )
    return found


def true_speech(number: int, text: str) -> NDArray[np.float32]:
    """Return what a speaker of the corpus's kind would really say: (samples,) at 16 kHz."""
    speaker = speaker_of(number)
    spoken = put_together(take_apart(speak(text, speaker.base)), speaker)
    return spoken.samples.astype(np.float32) / np.float32(32768)


def speak_festival(text: str, voice: str = "ked_diphone") -> NDArray[np.float32]:
    """Return festival's speech, (samples,) at 16 kHz; needs `festival` and `festvox-kdlpc16k`."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        command = [
            "text2wave",
            "-eval",
            f"(voice_{voice})",
            "-F",
            str(SAMPLE_RATE),
            "-o",
            str(path),
        ]
        subprocess.run(command, input=text, text=True, check=True, capture_output=True)
        samples, _ = soundfile.read(path, dtype="float32")
    return np.asarray(samples, dtype=np.float32)


def _reference(samples: NDArray[np.int16]) -> Reference:
    wave = samples.astype(np.float32) / np.float32(32768)
    return Reference(wave, SAMPLE_RATE, REFERENCE_TEXT)
