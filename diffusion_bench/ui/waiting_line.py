"""Who waits for the device: first come, first served, and each is told who is before."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, NamedTuple

from diffusion_bench.backends.downloads import Fetching
from diffusion_bench.bench.wording import in_words
from diffusion_bench.ui.model_words import download_words

WAIT_S = 24 * 3600.0  # that a click waits for the device: as long as somebody may look at it
LOOK_S = 0.1
TOLD_TO_S = 10  # the time left, so that who waits is not told anew every second

# What a job does. Others are told that and nothing else of it.
Doing = Literal["a picture", "speech", "a benchmark", "an estimate"]


class Ticket:
    """A place in the line, of a job that says what it does and may say what time it has left."""

    def __init__(self, doing: Doing, clock: Callable[[], float] = time.monotonic) -> None:
        self.doing = doing
        self._clock = clock
        self._ends_at_s: float | None = None

    def expect(self, remaining_s: float | None) -> None:
        """Take in how many seconds are left, `None` where that is not known."""
        self._ends_at_s = None if remaining_s is None else self._clock() + remaining_s

    def words(self) -> str:
        """Return what the job does, with the time left where it is known and not over."""
        left_s = 0.0 if self._ends_at_s is None else self._ends_at_s - self._clock()
        told_s = TOLD_TO_S * round(left_s / TOLD_TO_S)
        return f"{self.doing} with about {in_words(told_s)} left" if told_s > 0 else self.doing


class Waiting(NamedTuple):
    """The device is taken; `before` jobs of this app are first, `None` if another program is.

    `first` says what the first of them does.
    """

    before: int | None
    first: str = ""


class WaitingLine:
    """The jobs of one app that want the device. The device's own lock keeps no order."""

    def __init__(self) -> None:
        self._tickets: list[Ticket] = []
        self._moved = threading.Condition()

    @contextmanager
    def turn(self, ticket: Ticket, on_wait: Callable[[Waiting], None]) -> Iterator[None]:
        """Wait for a ticket's turn, which lasts as long as the `with` block.

        `on_wait` is called now and then with who is before; it may raise to give up.
        """
        with self._moved:
            self._tickets.append(ticket)
        try:
            while waiting := self._waiting(ticket):
                on_wait(waiting)
            yield
        finally:
            with self._moved:
                self._tickets.remove(ticket)
                self._moved.notify_all()

    def _waiting(self, ticket: Ticket) -> Waiting | None:
        with self._moved:
            self._moved.wait_for(lambda: self._tickets[0] is ticket, timeout=LOOK_S)
            before = self._tickets.index(ticket)
            return Waiting(before, self._tickets[0].words()) if before else None


def waiting_words(waiting: Waiting) -> str:
    """Return who is first: jobs of this app, or another program."""
    before, first = waiting
    if before is None:
        return "Waiting for the device: another job is on it."
    if before == 1:
        return f"Waiting for the device: 1 job is before this one, {first}."
    return f"Waiting for the device: {before} jobs are before this one, the first {first}."


def event_words(event: Any) -> Any:
    """Return words for an event of waiting, for the device or a download; any other as it is."""
    match event:
        case Waiting():
            return waiting_words(event)
        case Fetching():
            return download_words(event)
        case _:
            return event
