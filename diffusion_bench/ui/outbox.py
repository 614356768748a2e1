"""Files on their way to a browser. Gradio copies what a handler returns, so none is kept long."""

from __future__ import annotations

import shutil
import tempfile
import time
from pathlib import Path

KEEP_S = 600.0


class Outbox:
    """A folder under the system's temporary one, the only place files are handed out from."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def new_folder(self) -> Path:
        """Return a new empty folder; those made long ago are removed."""
        self._remove_old()
        return Path(tempfile.mkdtemp(dir=self._folder))

    def place(self, name: str, content: str | bytes) -> str:
        """Write a file that is to be downloaded under that name; return its path."""
        path = self.new_folder() / Path(name).name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        return str(path)

    def _remove_old(self) -> None:
        oldest = time.time() - KEEP_S
        for folder in self._folder.iterdir():
            try:
                if folder.stat().st_mtime < oldest:
                    shutil.rmtree(folder, ignore_errors=True)
            except FileNotFoundError:  # another request removed it first
                continue
