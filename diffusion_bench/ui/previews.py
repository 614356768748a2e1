"""Previews of a picture that forms: seldom enough to cost little of the time."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from diffusion_bench.records import Step

PREVIEW_EVERY_S = 0.4  # at most
PREVIEW_SHARE = 0.1  # of the time, at most


class Previews:
    """Decodes what there is so far after some of the steps, into files of a folder.

    How long decoding takes differs a hundredfold between models and machines, so the pause after a
    preview grows with the time it took.
    """

    def __init__(self, folder: Path, *, live: bool) -> None:
        self._folder = folder
        self._live = live
        self._next_s = 0.0

    def after(self, step: Step) -> tuple[str, ...]:
        """Return files of what there is after a step; none if it is too soon or nearly done."""
        now_s = time.monotonic()
        last = step.index + 1 >= step.num_steps
        if not self._live or last or now_s < self._next_s:
            return ()
        # Without the recipe: it is not what the recipe makes.
        paths = [self._save(number, step, each) for number, each in enumerate(step.preview())]
        took_s = time.monotonic() - now_s
        self._next_s = now_s + took_s + max(PREVIEW_EVERY_S, took_s * (1 / PREVIEW_SHARE - 1))
        return tuple(paths)

    def _save(self, number: int, step: Step, picture: Any) -> str:
        path = self._folder / f"step-{step.index + 1}-picture-{number}.png"
        picture.save(path, compress_level=1)
        return str(path)
