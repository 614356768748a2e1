"""Files on their way to a browser. Gradio copies what a handler returns, so none is kept long."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

KEEP_S = 600.0
KEEP_LONG_S = 24 * 3600.0
LONG = "long-"  # begins the names of folders that are kept longer


class Outbox:
    """A folder under the system's temporary one, the only place files are handed out from.

    Gradio copies what it hands out and keeps the copy for a day, but for what lies where its copies
    do: `served` is a folder there.
    """

    def __init__(self, folder: Path, served: Path | None = None) -> None:
        self._folder = folder
        self._served = served or folder
        self._leased: set[str] = set()  # names of folders

    @contextlib.contextmanager
    def lease(self, *, long: bool = False, passing: bool = False) -> Iterator[Path]:
        """Hold a new empty folder while a job waits and works: its time begins when it ends.

        With `long` it is kept for a day then, for what a visitor may come back to. With `passing`
        Gradio makes no copies, for what is seen for a moment.
        """
        folder = self._new_folder(self._served if passing else self._folder, long=long)
        self._leased.add(folder.name)
        try:
            yield folder
        finally:
            with contextlib.suppress(FileNotFoundError):  # the job may have removed it
                os.utime(folder)
            self._leased.discard(folder.name)

    def place(self, name: str, content: str | bytes) -> str:
        """Write a file that is to be downloaded under that name; return its path."""
        path = self._new_folder(self._folder) / Path(name).name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def _new_folder(self, parent: Path, *, long: bool = False) -> Path:
        self._remove_old()
        return Path(tempfile.mkdtemp(prefix=LONG if long else None, dir=parent))

    def _remove_old(self) -> None:
        now = time.time()
        for folder in {*self._folder.iterdir(), *self._served.iterdir()}:
            keep_s = KEEP_LONG_S if folder.name.startswith(LONG) else KEEP_S
            try:
                if folder.name not in self._leased and folder.stat().st_mtime < now - keep_s:
                    shutil.rmtree(folder, ignore_errors=True)
            except FileNotFoundError:  # another request removed it first
                continue
