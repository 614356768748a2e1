"""An offline recogniser for tests: what pocketsphinx hears, and how far that is from the text.

It is an old recogniser: of flite's own speech of 24 plain sentences it gets 3 to 11 percent of the
words wrong, of sentences with rare words 30 percent. Its figures mean something only against those
of other speech of the same sentences.
"""

from __future__ import annotations

import re
from functools import cache

import numpy as np
import torch
import torchaudio
from numpy.typing import NDArray

from diffusion_bench.training.echo.aligned import SAMPLE_RATE as RATE
from diffusion_bench.training.echo.recognise import Recogniser

SILENT = 1e-3


@cache
def _recogniser() -> Recogniser:
    # cmn: the mean is that of each utterance, else what was heard before would change the result.
    # maxhmmpf: a tenth of the usual guesses a frame is half the time, and hears as many words.
    return Recogniser(cmn="batch", maxhmmpf=3_000)


def words_of(text: str) -> list[str]:
    """Return the words of a text in lower case, apostrophes kept: "Don't!" is "don't"."""
    return re.findall(r"[a-z]+(?:'[a-z]+)*", text.lower())


def heard(samples: NDArray[np.float32], sample_rate: int) -> str:
    """Return the words that pocketsphinx hears in (samples,), in lower case; empty for none."""
    wave = torch.as_tensor(samples, dtype=torch.float32)
    if sample_rate != RATE:
        wave = torchaudio.functional.resample(wave, sample_rate, RATE)
    if wave.abs().max() < SILENT:
        return ""  # where it would hear "dog"
    return _recogniser().hear(wave.numpy())


def word_errors(samples: NDArray[np.float32], sample_rate: int, text: str) -> tuple[int, int]:
    """Return the wrong, missing and added words, and the words of the text."""
    wanted = words_of(text)
    got = words_of(heard(samples, sample_rate))
    return int(torchaudio.functional.edit_distance(wanted, got)), len(wanted)


def word_error_rate(samples: NDArray[np.float32], sample_rate: int, text: str) -> float:
    """Return the word error rate of speech that should say a text: 0 is perfect, above 1 can be.

    For many sentences add up `word_errors`, so that long ones weigh more.
    """
    errors, count = word_errors(samples, sample_rate, text)
    if not count:
        raise ValueError(f"there is no word in {text!r}")
    return errors / count
