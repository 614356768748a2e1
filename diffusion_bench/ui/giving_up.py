"""Cancel: what a page asked for ends, and the last thing said of it is that it was cancelled.

Gradio's own `cancels=` drops the stream of a running handler while words are still on their way,
and a step's that come late take the place of "Cancelled.". Here the handler itself ends, so its
last words are the last ones of its stream.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from contextlib import closing
from typing import Any, TypeVar, cast

import gradio as gr
from gradio.context import LocalContext

from diffusion_bench.records import Cancelled
from diffusion_bench.ui.events import HIDDEN

T = TypeVar("T")

# How each button begins work that can be cancelled. Gradio holds none of it back: what waits there
# cannot be told so. `Jobs` counts them, and says who is first.
WATCHED: dict[str, Any] = {
    "show_progress": "hidden",
    "concurrency_limit": None,
    "trigger_mode": "once",
}


class Cancel:
    """What one Cancel button ends: the work of the same page that is watched through it."""

    def __init__(self) -> None:
        self._wanted: dict[str, list[threading.Event]] = {}
        self._lock = threading.Lock()

    def until(self, views: Iterator[T]) -> Generator[T]:
        """Yield views until the page cancels; then close them and raise `Cancelled`.

        It is asked between two views, so they must come steadily, if only as heartbeats.
        """
        page, cancelled = _page(), threading.Event()
        with self._lock:
            self._wanted.setdefault(page, []).append(cancelled)
        try:
            with closing(cast("Generator[T]", views)):
                for view in views:
                    if cancelled.is_set():
                        raise Cancelled("cancelled")
                    yield view
        finally:
            self._forget(page, cancelled)

    def cancel(self) -> None:
        """End all that the page which asks has under way."""
        with self._lock:
            for cancelled in self._wanted.get(_page(), ()):
                cancelled.set()

    def wire(self, button: gr.Button) -> None:
        """Let a click of the button cancel."""
        button.click(self.cancel, **HIDDEN)

    def _forget(self, page: str, cancelled: threading.Event) -> None:
        with self._lock:
            left = [event for event in self._wanted.get(page, ()) if event is not cancelled]
            if left:
                self._wanted[page] = left
            else:
                self._wanted.pop(page, None)


def _page() -> str:
    """Return the session of the page that asks, empty outside of a handler."""
    asked = LocalContext.request.get(None)
    return "" if asked is None else str(asked.session_hash)
