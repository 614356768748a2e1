"""Word errors by pocketsphinx, an offline recogniser (BSD): of use against other speech only."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torchaudio.functional import edit_distance

from diffusion_bench.training.echo.aligned import SAMPLE_RATE

EDGE_S = 0.25  # of silence around the speech, as the recogniser likes it
LEVEL = 0.5  # of full scale


class Recogniser:
    """A loaded pocketsphinx; `settings` are its own. Its usual `cmn` learns from what it heard."""

    def __init__(self, **settings: Any) -> None:
        from pocketsphinx import Decoder

        self._decoder = Decoder(samprate=float(SAMPLE_RATE), loglevel="FATAL", **settings)

    def hear(self, samples: NDArray[np.float32]) -> str:
        """Return the words of (samples,) at 16 kHz, in lower case; empty for none."""
        edge = np.zeros(round(EDGE_S * SAMPLE_RATE))
        loud = samples / max(1e-4, float(np.abs(samples).max())) * LEVEL
        wave = (np.concatenate([edge, loud, edge]) * 32767).astype(np.int16)
        self._decoder.start_utt()
        self._decoder.process_raw(wave.tobytes(), full_utt=True)
        self._decoder.end_utt()
        found = self._decoder.hyp()
        return found.hypstr if found else ""


class WordErrors:
    """Counts wrong words over sentences."""

    def __init__(self) -> None:
        self.wrong = 0
        self.words = 0

    @property
    def rate(self) -> float:
        """Return wrong words over words."""
        return self.wrong / max(1, self.words)

    def add(self, samples: NDArray[np.float32], text: str) -> None:
        """Count a sentence: (samples,) at 16 kHz and what it should say."""
        wanted = "".join(c for c in text.lower() if c.isalpha() or c in " '").split()
        self.wrong += edit_distance(wanted, self._recogniser.hear(samples).split())
        self.words += len(wanted)

    @cached_property
    def _recogniser(self) -> Recogniser:
        return Recogniser()
