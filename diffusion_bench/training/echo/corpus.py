"""The training corpus: thousands of sentences by hundreds of speakers, a file a speaker.

Everything follows from the speaker's number, so a corpus can be made by several processes, be gone
on with after a kill, and be made again. Nothing of it is kept in the repository.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import numpy as np
import typer

from diffusion_bench.pronunciation.lexicon import words
from diffusion_bench.training.echo.aligned import (
    FLITE_VOICES,
    Aligned,
    speak_espeak,
    speak_flite,
)
from diffusion_bench.training.echo.recordings import record
from diffusion_bench.training.echo.sentences import Sentences
from diffusion_bench.training.echo.speakers import (
    Speaker,
    Utterance,
    as_it_is,
    draw_speaker,
    plain_speaker,
    put_together,
    take_apart,
)

PLAIN = 5_000_000  # from here on, flite's voices as they are
PLAIN_UTTERANCES = 100  # of each: with 10 of each altered one, a sixteenth of what is heard
SPEAKERS = 620
HELD_OUT = 10_000_000  # speakers from here on are never trained on
LONGEST_S = 9.0


def speak(text: str, base: str) -> Aligned:
    """Return a base voice's speech, by flite or espeak-ng as its name tells."""
    return speak_espeak(text, base) if "+" in base else speak_flite(text, base)


def speaker_of(number: int) -> Speaker:
    """Return the speaker of a number, the same one every time."""
    if is_plain(number):
        return plain_speaker(FLITE_VOICES[number - PLAIN])
    return draw_speaker(f"s{number}", np.random.default_rng([7, number]))


def is_plain(number: int) -> bool:
    """Return whether a number is that of one of flite's voices, left as it is."""
    return PLAIN <= number < PLAIN + len(FLITE_VOICES)


def numbers_of(speakers: int) -> tuple[int, ...]:
    """Return the numbers of a corpus of so many speakers, flite's own voices after them."""
    return (*range(speakers), *range(PLAIN, PLAIN + len(FLITE_VOICES)))


def make_speaker(number: int, folder: Path, *, lexicon: Sequence[str], utterances: int) -> Path:
    """Write `s<number>.npz`, unless it is there: its utterances, and each as a microphone hears it.

    Samples of all are one array, cut by `lengths`; so are phones (joined by spaces) and their ends.
    """
    path = folder / f"s{number}.npz"
    if path.exists():
        return path
    speaker = speaker_of(number)
    rng = np.random.default_rng([8, number])
    sentences = Sentences(lexicon, seed=number)
    made: list[Utterance] = []
    tries = 0
    while len(made) < utterances:
        tries += 1
        try:
            aligned = speak(sentences.draw(), speaker.base)
        except ValueError:  # a phone without a name: another sentence, unless it is the voice
            if tries > 3 * utterances:
                raise
            continue
        if len(aligned.phones) >= 4 and len(aligned.samples) < LONGEST_S * 16_000:
            parts = take_apart(aligned)
            made.append(as_it_is(parts) if is_plain(number) else put_together(parts, speaker))
    part = path.with_suffix(".part.npz")
    np.savez(
        part,
        samples=np.concatenate([u.samples for u in made]),
        recorded=np.concatenate([record(u.samples, rng) for u in made]),
        lengths=np.array([len(u.samples) for u in made]),
        texts=np.array([u.text for u in made]),
        phones=np.array([" ".join(u.phones) for u in made]),
        ends_s=np.concatenate([u.ends_s for u in made]),
        f0_hz=np.concatenate([u.f0_hz for u in made]).astype(np.float32),
        f0_lengths=np.array([len(u.f0_hz) for u in made]),
        targets=np.array(speaker.targets(), dtype=np.float32),
        base=np.array(speaker.base),
    )
    os.replace(part, path)
    return path


def spoken_words() -> tuple[str, ...]:
    """Return the words of the lexicon that sentences draw from: letters only, of 3 to 11."""
    return tuple(word for word in words() if word.isalpha() and 3 <= len(word) <= 11)


def main(
    work: Annotated[Path, typer.Option(help="The folder of the corpus.")],
    first: Annotated[int, typer.Option(help="The first speaker's number.")] = 0,
    stop: Annotated[int, typer.Option(help="One past the last speaker's.")] = SPEAKERS,
    every: Annotated[int, typer.Option(help="Take every so many, to share work out.")] = 1,
    utterances: Annotated[int, typer.Option(help="Sentences a speaker.")] = 10,
) -> None:
    """Make the speakers that are not there yet: 1.6 s of one core for 25 s of speech."""
    work.mkdir(parents=True, exist_ok=True)
    lexicon = spoken_words()
    for number in range(first, stop, every):
        make_speaker(number, work, lexicon=lexicon, utterances=utterances)
    if first == 0:
        for number in range(PLAIN, PLAIN + len(FLITE_VOICES)):
            make_speaker(number, work, lexicon=lexicon, utterances=PLAIN_UTTERANCES)


if __name__ == "__main__":
    typer.run(main)
