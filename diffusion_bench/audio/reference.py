"""The recording of the voice to clone."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reference:
    """A recording of one voice: mono float32 `samples` in -1 to 1, and what was said, if known."""

    samples: NDArray[np.float32]
    sample_rate: int
    transcript: str | None = None

    @property
    def duration_s(self) -> float:
        """Return its length in seconds."""
        return len(self.samples) / self.sample_rate

    def with_words(self, words: str | None) -> Reference:
        """Return it with what is said in it, unless that is known already."""
        return self if self.transcript else replace(self, transcript=words)

    def name(self) -> str:
        """Return the name a request gives it: `reference:` and a digest of its samples."""
        digest = hashlib.sha256(self.samples.tobytes()).hexdigest()[:16]
        return f"reference:{digest}"
