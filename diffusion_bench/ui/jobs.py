"""Work in a thread, watched by a generator: closing the generator stops the work.

Gradio closes a handler's generator on Cancel and when the browser leaves, but only while it waits
at a `yield`. So the work runs in a thread of its own, and the watcher yields a heartbeat while
there is nothing new.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import wait as wait_for
from contextlib import contextmanager
from typing import Any, NamedTuple

from diffusion_bench.records import Cancelled
from diffusion_bench.ui.waiting_line import Doing, Ticket, Waiting, WaitingLine

HEARTBEAT_S = 0.2
MAX_JOBS = 32  # threads: some end only after nobody watches any more
WATCHED_JOBS = 24  # of an app: each takes one of the 40 threads that answer the page
VISITOR_JOBS = 3  # of one visitor of a shared app: one that runs and two that wait
SOON_S = 1.0  # jobs that end within it are not told to be waited for


class Done(NamedTuple):
    """The last thing a watcher hears: what the work returned."""

    value: Any


class Turn(NamedTuple):
    """What to call while another program holds the device, and with the seconds that are left."""

    on_wait: Callable[[], None]
    expect: Callable[[float | None], None]


class Job:
    """What the work holds: it tells what happens, and asks whether it is still wanted."""

    def __init__(self) -> None:
        self._events: queue.SimpleQueue[object] = queue.SimpleQueue()
        self._unwanted = threading.Event()

    def tell(self, event: object) -> None:
        """Tell the watcher something; raise `Cancelled` if there is none any more."""
        self.check()
        self._events.put(event)

    def check(self) -> None:
        """Raise `Cancelled` if nobody wants the work any more."""
        if self._unwanted.is_set():
            raise Cancelled("cancelled")

    def stop(self) -> None:
        """Let the next `tell` or `check` raise."""
        self._unwanted.set()

    def next(self, timeout_s: float) -> object | None:
        """Return the next thing told, `None` if nothing was in time."""
        try:
            return self._events.get(timeout=timeout_s) if timeout_s else self._events.get_nowait()
        except queue.Empty:
            return None


class Jobs:
    """The jobs of one app, so many at a time and no more; `close` ends them all.

    With `visitor`, which names who asks, so has each of its visitors.
    """

    def __init__(self, visitor: Callable[[], str] | None = None) -> None:
        self._visitor = visitor
        self._visitors: dict[Job, str] = {}
        self._counting = threading.Lock()
        self._threads = ThreadPoolExecutor(MAX_JOBS, thread_name_prefix="job")
        self._running: dict[Job, Future[Any]] = {}
        self._line = WaitingLine()

    def watch(
        self, work: Callable[[Job], object], heartbeat_s: float = HEARTBEAT_S
    ) -> Generator[object | None]:
        """Run `work` and yield what it tells, `None` for a heartbeat, and `Done` at the end.

        Raises what the work raises, and ValueError where there are jobs enough.
        """
        job = Job()
        self._let_in(job)
        try:
            future = self._threads.submit(_start, work, job)
            self._running[job] = future
            # Nobody may watch any more when it ends.
            future.add_done_callback(lambda _: self._running.pop(job, None))
            while True:
                # Asked before the queue: what was told before the end is in the queue by then.
                ended = future.done()
                event = job.next(0.0 if ended else heartbeat_s)
                if ended and event is None:
                    break
                yield event
            yield Done(future.result())
        finally:
            job.stop()
            with self._counting:
                self._visitors.pop(job, None)

    @contextmanager
    def turn(self, job: Job, doing: Doing) -> Iterator[Turn]:
        """Wait until it is a job's turn on the device, which lasts as long as the `with` block.

        `doing` is what those behind it are told. The job tells `Waiting` each time that what is
        before it changes. Raises `Cancelled` if it is given up.
        """
        told: list[Waiting] = []

        def on_wait(waiting: Waiting) -> None:
            job.check()
            if told[-1:] != [waiting]:
                told.append(waiting)
                job.tell(waiting)

        ticket = Ticket(doing)
        with self._line.turn(ticket, on_wait):
            yield Turn(lambda: on_wait(Waiting(None)), ticket.expect)

    def _let_in(self, job: Job) -> None:
        """Count a job, and as its visitor's; raise ValueError for one too many."""
        visitor = self._visitor() if self._visitor else ""
        with self._counting:
            visitors = list(self._visitors.values())
            if self._visitor and visitors.count(visitor) >= VISITOR_JOBS:
                raise ValueError(
                    f"this app is shared: you have {VISITOR_JOBS} jobs on it already, running or "
                    "waiting, the most one visitor may have; let one end or cancel it first"
                )
            if len(visitors) >= WATCHED_JOBS:
                raise ValueError(
                    f"this app has {WATCHED_JOBS} jobs already, running or waiting, the most that "
                    "it takes; try again when some have ended"
                )
            self._visitors[job] = visitor

    def close(self, on_wait: Callable[[int], None] | None = None) -> None:
        """Stop every job, also those that nobody watches any more, and wait for them to end.

        `on_wait` is told of how many, where they do not end soon. A Python that ends would wait for
        their threads all the same.
        """
        self._threads.shutdown(wait=False)
        running = dict(self._running)
        for job in running:
            job.stop()
        slow = wait_for(running.values(), timeout=SOON_S).not_done
        if slow and on_wait is not None:
            on_wait(len(slow))
        wait_for(slow)


def _start(work: Callable[[Job], object], job: Job) -> object:
    job.check()  # it may have been given up while it waited for a thread
    return work(job)
