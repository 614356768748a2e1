"""Who waits for the device: first come, first served, and each is told how many are before."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

WAIT_S = 24 * 3600.0  # that a click waits for the device: as long as somebody may look at it
LOOK_S = 0.1


class Waiting(NamedTuple):
    """The device is taken; `before` jobs of this app are first, `None` if another program is."""

    before: int | None


class WaitingLine:
    """The jobs of one app that want the device. The device's own lock keeps no order."""

    def __init__(self) -> None:
        self._tickets: list[object] = []
        self._moved = threading.Condition()

    @contextmanager
    def turn(self, on_wait: Callable[[int], None]) -> Iterator[None]:
        """Wait for one's turn, which lasts as long as the `with` block.

        `on_wait` is called now and then with how many are before; it may raise to give up.
        """
        ticket = object()
        with self._moved:
            self._tickets.append(ticket)
        try:
            while before := self._before(ticket):
                on_wait(before)
            yield
        finally:
            with self._moved:
                self._tickets.remove(ticket)
                self._moved.notify_all()

    def _before(self, ticket: object) -> int:
        with self._moved:
            self._moved.wait_for(lambda: self._tickets[0] is ticket, timeout=LOOK_S)
            return self._tickets.index(ticket)


def waiting_words(before: int | None) -> str:
    """Return who is first: `before` jobs of this app, or another program if `None`."""
    if before is None:
        return "Waiting for the device: another job is on it."
    jobs = "1 job is" if before == 1 else f"{before} jobs are"
    return f"Waiting for the device: {jobs} before this one."
