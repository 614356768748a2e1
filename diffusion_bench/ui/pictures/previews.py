"""Previews of a picture that forms: seldom enough to cost little of the time."""

from __future__ import annotations

import contextlib
import time
from collections import deque
from pathlib import Path
from typing import Any

from diffusion_bench.records import Step

PREVIEW_EVERY_S = 0.4  # at most
PREVIEW_SHARE = 0.1  # of the time, at most
PREVIEW_SIDE = 256  # pixels at most: it is a sketch, sent again and again
PREVIEW_KEEP_S = 60.0  # time for a slow link to fetch it


class Previews:
    """Decodes what there is so far after some of the steps, into small files of a folder.

    A file goes after a minute, when the next one comes, so that a long drawing leaves but a few.
    How long decoding takes differs a hundredfold between models and machines, so the pause after a
    preview grows with the time it took.
    """

    def __init__(self, folder: Path, *, live: bool) -> None:
        self._folder = folder
        self._live = live
        self._next_s = 0.0
        self._count = 0
        self._made: deque[tuple[float, Path]] = deque()  # when, and where

    def after(self, step: Step) -> tuple[str, ...]:
        """Return files of what there is after a step; none if it is too soon or nearly done."""
        now_s = time.monotonic()
        last = step.index + 1 >= step.num_steps
        if not self._live or last or now_s < self._next_s:
            return ()
        while self._made and self._made[0][0] < now_s - PREVIEW_KEEP_S:
            with contextlib.suppress(OSError):
                self._made.popleft()[1].unlink()
        paths = [self._save(each, now_s) for each in step.preview()]
        took_s = time.monotonic() - now_s
        self._next_s = now_s + took_s + max(PREVIEW_EVERY_S, took_s * (1 / PREVIEW_SHARE - 1))
        return tuple(paths)

    def _save(self, picture: Any, now_s: float) -> str:
        """Write a picture without its recipe: it is not what the recipe makes."""
        small = picture.convert("RGB")
        small.thumbnail((PREVIEW_SIDE, PREVIEW_SIDE))
        # A name of its own: a browser shows what it has of a name.
        self._count += 1
        path = self._folder / f"preview-{self._count}.jpg"
        small.save(path, quality=90)
        self._made.append((now_s, path))
        return str(path)
