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
    """Removes the files of a folder that it has seen there for a day.

    Their own dates are not asked: the clock of the machine may be set while the app runs.
    """

    def __init__(self, folder: Path, clock: Callable[[], float] = time.monotonic) -> None:
        self._folder = folder
        self._clock = clock
        self._seen_s: dict[Path, float] = {}  # when each was seen first

    def look(self) -> None:
        """Remove what is old, and the folder that it leaves empty."""
        now_s = self._clock()
        walked = os.walk(self._folder)
        files = [Path(place) / name for place, _, names in walked for name in names]
        self._seen_s = {path: self._seen_s.get(path, now_s) for path in files}
        for path, seen_s in self._seen_s.items():
            if now_s - seen_s >= KEEP_S:
                with contextlib.suppress(OSError):  # gone, or in use, or not the last one
                    path.unlink()
                    path.parent.rmdir()


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
