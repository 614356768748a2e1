"""Files that the page's server keeps for a day: copies of what it handed out, and uploads.

Gradio's own `delete_cache` does not know most of them: a session has components of its own. And it
ends for good, and in silence, where a handler hands out a file while it looks.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

KEEP_S = 24 * 3600.0
LOOK_EVERY_S = 3600.0


class Upkeep:
    """Removes the files of a folder that it has seen there, unchanged, for a day.

    Of their own dates it asks only whether they have changed: the clock of the machine may be set
    while the app runs. Gradio names a copy by its content and gives it a new date where it hands
    the same out again.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._seen_s: dict[tuple[Path, int], float] = {}  # when each was seen first, by its date

    def look(self) -> None:
        """Remove what is old, and the folder that it leaves empty."""
        now_s = self._clock()
        self._seen_s = {each: self._seen_s.get(each, now_s) for each in _dated(self._folder)}
        for (path, _), seen_s in self._seen_s.items():
            if now_s - seen_s >= KEEP_S:
                with contextlib.suppress(OSError):  # gone, or in use, or not the last one
                    path.unlink()
                    path.parent.rmdir()


def _dated(folder: Path) -> Iterator[tuple[Path, int]]:
    """Yield the files of a folder, each with its date."""
    for place, _, names in os.walk(folder):
        for name in names:
            with contextlib.suppress(OSError):  # gone since it was listed
                path = Path(place) / name
                yield path, path.stat().st_mtime_ns


@contextlib.contextmanager
def kept_up(folder: Path) -> Iterator[None]:
    """Look after a folder while the `with` block runs."""
    upkeep, ended = Upkeep(folder), threading.Event()

    def run() -> None:
        while not ended.wait(LOOK_EVERY_S):
            upkeep.look()

    thread = threading.Thread(target=run, name="upkeep", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
