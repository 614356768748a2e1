"""Uploaded files, each deleted when nobody holds it any more."""

from __future__ import annotations

import contextlib
import threading
import weakref
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path


class Uploads:
    """Knows who holds an uploaded file; the last one to let it go deletes it.

    Gradio names an upload by its content: two visitors, or two fields, have one file between them.
    """

    def __init__(self) -> None:
        self._holds: dict[Path, set[object]] = {}
        self._counting = threading.RLock()  # garbage may be collected while it is held

    def hold(self, path: Path) -> Callable[[], None]:
        """Keep a file; return what lets it go, once, however often it is called.

        So does dropping it: Gradio forgets the oldest pages and calls nobody.
        """
        hold = object()
        with self._counting:
            self._holds.setdefault(path, set()).add(hold)
        let_go = partial(self._let_go, path, hold)
        weakref.finalize(let_go, self._let_go, path, hold)
        return let_go

    @contextlib.contextmanager
    def held(self, path: Path) -> Iterator[None]:
        """Keep a file while the `with` block reads it."""
        let_go = self.hold(path)
        try:
            yield
        finally:
            let_go()

    def _let_go(self, path: Path, hold: object) -> None:
        with self._counting:
            holds = self._holds.get(path, set())
            if hold not in holds:
                return
            holds.remove(hold)
            if not holds:
                del self._holds[path]
                with contextlib.suppress(OSError):  # it may be gone
                    path.unlink()
