"""The parent's handle on a worker: start it, tell it, hear it, end it."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Generator
from pathlib import Path
from subprocess import TimeoutExpired

from pydantic import ValidationError

import diffusion_bench
from diffusion_bench.bench.worker_messages import EVENTS, Command, Event, Failed, Ready

START_LIMIT_S = 300.0
HEARTBEAT_S = 0.2
LAST_LINES = 20
DRAIN_LIMIT_S = 5.0
END_LIMIT_S = 10.0
KILLED = (-9, 137)
NO_THREAD = "libgomp: Thread creation failed"


def _environment() -> dict[str, str]:
    """Return the environment with this package on the path, wherever the app was started from."""
    package_home = str(Path(diffusion_bench.__file__).parents[1])
    paths = [package_home, *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "PYTHONIOENCODING": "utf-8"}


class WorkerFailed(RuntimeError):
    """The worker could not start."""


class WorkerProcess:
    """A worker in a process of its own. Use as a context manager: leaving it ends the worker."""

    def __init__(self, device: str | None, memory_cap_mib: float | None = None) -> None:
        self._memory_cap_mib = memory_cap_mib
        cap = "" if memory_cap_mib is None else str(memory_cap_mib)
        self._process = subprocess.Popen(
            # -P: a `queue.py` or `torch.py` in the working folder is no module of the worker's.
            [sys.executable, "-P", "-m", "diffusion_bench.bench.worker", device or "", cap],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=_environment(),
        )
        self._pid = self._process.pid
        self._oom_kills_before = _oom_kills()
        self._events: queue.SimpleQueue[Event | None] = queue.SimpleQueue()
        self._last_words: deque[str] = deque(maxlen=LAST_LINES)
        # Both pipes are drained all the time: a full one would block the worker inside a timing.
        drains = (self._drain_events, self._drain_errors)
        self._drains = [threading.Thread(target=drain, daemon=True) for drain in drains]
        for thread in self._drains:
            thread.start()

    def __enter__(self) -> WorkerProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    @property
    def pid(self) -> int:
        """Return the process id of who draws; until the worker is up, of what was started."""
        return self._pid

    @property
    def has_ended(self) -> bool:
        """Return whether the process is no more."""
        return self._process.poll() is not None

    def come_up(self) -> Generator[None, None, Ready]:
        """Yield until the worker is up, and return what it is.

        Raises `WorkerFailed` with its last words if it does not come up.
        """
        give_up_at_s = time.monotonic() + START_LIMIT_S
        while time.monotonic() < give_up_at_s:
            event = self.hear(HEARTBEAT_S)
            if isinstance(event, Ready):
                self._pid = event.pid
                return event
            if isinstance(event, Failed):
                raise WorkerFailed(event.message)
            yield
        raise WorkerFailed(f"the worker was not up within {START_LIMIT_S:.0f} s")

    def tell(self, command: Command) -> None:
        """Send a command; a worker that has died is found out by `hear`."""
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.write(command.model_dump_json() + "\n")
            self._process.stdin.flush()

    def hear(self, timeout_s: float) -> Event | None:
        """Return the next event, or `None` if none came in time.

        A worker that died gives a `Failed` event with its exit and last words.
        """
        try:
            event = self._events.get(timeout=timeout_s)
        except queue.Empty:
            return None
        if event is not None:
            return event
        return self._death()

    def _death(self) -> Failed:
        """Return what the end of the worker means: only a kill points to memory."""
        code = self._process.wait()
        self._wait_for_drains()
        kills = _oom_kills()
        for_memory = code in KILLED and kills is not None and kills != self._oom_kills_before
        aborted = self._memory_cap_mib is not None and code == -signal.SIGABRT
        # Python's own, where no model was at work: an import under a cap, as a rule. OpenMP ends
        # the process where a thread finds no memory for its stack.
        last = self._last_line()
        no_stack = self._memory_cap_mib is not None and NO_THREAD in last
        raised = code > 0 and (last.startswith("MemoryError") or no_stack)
        cap = "" if self._memory_cap_mib is None else f"the cap of {self._memory_cap_mib:.0f} MiB"
        if for_memory:
            how = "was killed by the system for want of memory"
        elif aborted:
            how = f"aborted under {cap}, as native code does that finds no memory"
        elif raised:
            how = f"found no memory{f' under {cap}' if cap else ''}"
            how += " for a thread" if no_stack else " before the model was at work"
        elif code in KILLED:
            how = "was killed from outside; the system counts no kill for want of memory"
            if kills is None:
                how = "was killed, by hand or for want of memory: this system does not tell"
        else:
            how = f"crashed with signal {-code}" if code < 0 else f"ended with code {code}"
        return Failed(
            status="oom" if for_memory or aborted or raised else "crashed",
            message=f"the worker {how}. {self.last_words()}",
        )

    def end(self) -> None:
        """End the worker now. One that no signal ends, as where a driver hangs, is left alone."""
        self._process.kill()
        with contextlib.suppress(TimeoutExpired):
            self._process.wait(END_LIMIT_S)
        self._wait_for_drains()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):
            self._process.stdin.close()

    def last_words(self) -> str:
        """Return the last line the worker printed that is not blank, or that it printed none."""
        line = self._last_line()
        return f"Its last words: {line:.500}" if line else "It printed nothing."

    def _last_line(self) -> str:
        return next((line.strip() for line in reversed(self._last_words) if line.strip()), "")

    def _drain_events(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as pipe:  # closed by who reads it: anybody else would wait for it
            for line in pipe:
                self._events.put(_to_event(line))
        self._events.put(None)

    def _drain_errors(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as pipe:
            for line in pipe:
                self._last_words.append(line)

    def _wait_for_drains(self) -> None:
        for thread in self._drains:
            thread.join(DRAIN_LIMIT_S)


def _oom_kills() -> int | None:
    """Return how many processes Linux has killed for want of memory, `None` elsewhere."""
    try:
        counters = Path("/proc/vmstat").read_text(encoding="ascii")
    except OSError:
        return None
    return next(
        (int(line.split()[1]) for line in counters.splitlines() if line.startswith("oom_kill ")),
        None,
    )


def _to_event(line: str) -> Event:
    """Return the event in a line; one that is none means a worker that cannot be trusted."""
    try:
        return EVENTS.validate_json(line)
    except ValidationError:
        return Failed(status="failed", message=f"the worker wrote what is no event: {line!r:.200}")
