"""Files on their way to a browser. Gradio copies what a handler returns, so none is kept long."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

KEEP_S = 600.0
KEEP_LONG_S = 24 * 3600.0


class Outbox:
    """A folder under the system's temporary one, the only place files are handed out from.

    Gradio copies what it hands out, and the copy is kept for a day (`upkeep.py`), but for what lies
    where the copies do: `served` is a folder there.
    """

    def __init__(
        self,
        folder: Path,
        served: Path | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._folder = folder
        self._served = served or folder
        self._clock = clock
        self._until_s: dict[Path, float] = {}  # of folders that no job holds

    @contextlib.contextmanager
    def lease(self, *, long: bool = False, passing: bool = False) -> Iterator[Path]:
        """Hold a new empty folder while a job waits and works: its time begins when it ends.

        With `long` it is kept for a day then, for what a visitor may come back to. With `passing`
        Gradio makes no copies, for what is seen for a moment.
        """
        folder = self._new_folder(self._served if passing else self._folder)
        try:
            yield folder
        finally:
            self._until_s[folder] = self._clock() + (KEEP_LONG_S if long else KEEP_S)

    def place(self, name: str, content: str | bytes) -> str:
        """Write a file that is to be downloaded under that name; return its path."""
        with self.lease() as folder:
            path = folder / Path(name).name
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def _new_folder(self, parent: Path) -> Path:
        self._remove_old()
        return Path(tempfile.mkdtemp(dir=parent))

    def _remove_old(self) -> None:
        now_s = self._clock()
        for folder, until_s in list(self._until_s.items()):
            if until_s < now_s:
                shutil.rmtree(folder, ignore_errors=True)
                if not folder.exists():  # Windows keeps what is being read
                    self._until_s.pop(folder, None)
