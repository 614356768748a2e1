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
    "My brother works in a small office near the river.",
    "The bus was late again because of the heavy snow.",
    "Please turn off the lights before you leave the room.",
    "They sat by the window and watched the boats go by.",
    "I have never seen so many birds in one tree.",
    "The teacher wrote the answer on the board in white chalk.",
    "You should call your mother when you get home tonight.",
    "The soup is still too hot to eat with a spoon.",
    "We drove through the mountains for three days without stopping.",
    "He forgot his umbrella at the restaurant on the corner.",
    "The cat was sleeping under the warm kitchen stove.",
    "Our neighbors are planning to sell their house in the spring.",
    "There is a long line of people outside the bank.",
    "She reads the newspaper every morning with a cup of coffee.",
    "The farmer planted corn and beans in the lower field.",
    "It takes about an hour to walk to the lake.",
    "His answer surprised everyone at the meeting.",
    "The museum is closed on Mondays and holidays.",
    "Put the milk back in the refrigerator, please.",
    "We heard music coming from the open window.",
    "The ship carried sugar and cotton across the ocean.",
    "My sister wants to study medicine in another country.",
    "The road was covered with leaves and broken branches.",
    "He paid for the tickets with his last dollar.",
    "A dog was barking somewhere behind the wooden fence.",
    "I would like to rent a bicycle for the afternoon.",
    "The judge asked the witness to speak a little louder.",
    "They painted the walls blue and the ceiling yellow.",
    "Winter came early that year and stayed until April.",
    "The baker gets up at four to make fresh rolls.",
    "She found an old photograph between the pages of the book.",
    "Nothing in this shop costs more than twenty dollars.",
    "The engineers tested the bridge before it was opened.",
    "We were too tired to cook, so we ordered pizza.",
    "The answer to your question is on the next page.",
    "He has been learning to swim since last summer.",
    "The garden behind the church is full of roses.",
    "Do you remember the name of that tall actor?",
    "The plane landed safely in spite of the strong wind.",
    "Grandfather told us stories about life at sea.",
    "The library has a quiet room for students.",
    "I lost my keys somewhere between here and the market.",
    "The company will open two new stores next month.",
    "Rain is expected in the north later this evening.",
    "The child drew a picture of a green elephant.",
    "Most people in this town know each other by name.",
    "The nurse gave him a glass of water and a pill.",
    "We should leave now if we want to catch the train.",
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


def held_out_speakers(count: int = NUM_SPEAKERS) -> list[HeldOut]:
    """Return speakers of the corpus's kind, each with five seconds or more of reference."""
    found = []
    for number in range(HELD_OUT, HELD_OUT + count):
        speaker = speaker_of(number)
        spoken = put_together(take_apart(speak(REFERENCE_TEXT, speaker.base)), speaker)
        heard = record(spoken.samples, np.random.default_rng([9, number]))
        found.append(
            HeldOut(f"{number}:{speaker.base}", _reference(spoken.samples), _reference(heard))
        )
    return found


def true_speech(number: int, text: str) -> NDArray[np.float32]:
    """Return what a speaker of the corpus's kind would really say: (samples,) at 16 kHz."""
    speaker = speaker_of(number)
    spoken = put_together(take_apart(speak(text, speaker.base)), speaker)
    return spoken.samples.astype(np.float32) / np.float32(32768)


def speak_festival(text: str) -> NDArray[np.float32]:
    """Return what festival's ked says, (samples,) at 16 kHz; needs `festvox-kdlpc16k` too."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "speech.wav"
        options = ["-eval", "(voice_ked_diphone)", "-F", str(SAMPLE_RATE), "-o", str(path)]
        subprocess.run(
            ["text2wave", *options], input=text, text=True, check=True, capture_output=True
        )
        samples, _ = soundfile.read(path, dtype="float32")
    return np.asarray(samples, dtype=np.float32)


def _reference(samples: NDArray[np.int16]) -> Reference:
    wave = samples.astype(np.float32) / np.float32(32768)
    return Reference(wave, SAMPLE_RATE, REFERENCE_TEXT)
