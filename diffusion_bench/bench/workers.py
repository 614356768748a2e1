"""One worker at a time, and a new one where the old one's memory cannot be trusted."""

from __future__ import annotations

import time
from collections.abc import Iterator

from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.worker_messages import (
    Command,
    Event,
    Failed,
    Judged,
    Loaded,
    Measured,
    Ready,
)
from diffusion_bench.bench.worker_process import HEARTBEAT_S, WorkerProcess
from diffusion_bench.records import AnyQualityPlan, Request
from diffusion_bench.reports.labels import size

# Between two looks for an event; what is longer is a pause of all (Ctrl-Z, a machine that slept).
LONGEST_TURN_S = 10.0


class Workers:
    """The worker of a sweep. Use as a context manager: leaving it ends the worker.

    `last` is the cell that the worker ran last, `attention` what its model's denoiser uses.
    """

    def __init__(self, device: str | None, memory_cap_mib: float | None = None) -> None:
        self._device = device
        self._memory_cap_mib = memory_cap_mib
        self._process: WorkerProcess | None = None
        self._shapes_seen: set[tuple[object, ...]] = set()
        self._ready: Ready | None = None
        self.attention: str | None = None
        self.last: Request | None = None

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    @property
    def ready(self) -> Ready:
        """Return what the worker told that was up last; there must have been one."""
        assert self._ready is not None
        return self._ready

    def start(self) -> Iterator[None]:
        """End the worker there is and start another, yielding until it is up.

        Who gives up meanwhile drops it.
        """
        self.drop()
        self._process = WorkerProcess(self._device, self._memory_cap_mib)
        self._ready = yield from self._process.come_up()

    def cap(self, memory_cap_mib: float) -> Iterator[None]:
        """Start anew, as `start` does, with a cap of memory, which every later worker has too."""
        self._memory_cap_mib = memory_cap_mib
        return self.start()

    def bring_up(self) -> Iterator[None]:
        """Start a worker where there is none, yielding until it is up.

        One that ended with nothing to do, as by a kill for want of memory, is no cell's result.
        """
        if self._process is None or self._process.has_ended:
            yield from self.start()

    def drop(self) -> None:
        """End the worker, if there is one."""
        self._shapes_seen.clear()
        self.attention = self.last = None
        if self._process is not None:
            self._process.end()
            self._process = None

    @property
    def pid(self) -> int:
        """Return the worker's process id; starts one where there is none."""
        return self._up().pid

    def measure(
        self,
        request: Request,
        effort: Effort,
        time_limit_s: float,
        revision: str | None = None,
        quality: AnyQualityPlan | None = None,
        *,
        speed: str | None = None,
    ) -> Iterator[Event | None]:
        """Measure a cell, yielding the worker's events, and `None` where there was none for long.

        The last one is `Measured`, where `quality` asks for it `Judged` after that, or `Failed`. A
        worker that says nothing for `time_limit_s` hangs and is ended; so is one whose cell failed,
        or could not be judged. `revision` is the commit of a hub model, and `speed` what "auto"
        came to before.
        """
        self.begin(
            Command(request=request, effort=effort, revision=revision, quality=quality, speed=speed)
        )
        yield from self.events(time_limit_s)

    def begin(self, command: Command) -> None:
        """Have a cell measured; `events` are to be heard to their end before another is begun."""
        process = self._up()
        self.last = command.request
        process.tell(command)

    def events(self, time_limit_s: float) -> Iterator[Event | None]:
        """Yield what the worker says of the cell that was begun, as `measure` does."""
        process = self._up()
        silent_s, looked_s = 0.0, time.monotonic()
        while True:
            event = process.hear(HEARTBEAT_S)
            before_s, looked_s = looked_s, time.monotonic()
            silent_s += min(looked_s - before_s, LONGEST_TURN_S)
            if event is not None:
                silent_s = 0.0
            elif silent_s > time_limit_s:
                event = Failed(
                    status="timeout",
                    message=f"no call or loading ended within {time_limit_s:g} s (time_limit_s)",
                )
            if isinstance(event, Loaded):
                self.attention = event.attention
            if isinstance(event, Failed) or (isinstance(event, Judged) and event.quality is None):
                self.drop()
            yield event
            if is_last(event):
                return

    def is_new_shape(self, request: Request) -> bool:
        """Return whether this worker has not run a request's shape yet, and remember it."""
        shape = (request.model, size(request), request.batch, request.guidance_scale > 1)
        new = shape not in self._shapes_seen
        self._shapes_seen.add(shape)
        return new

    def _up(self) -> WorkerProcess:
        if self._process is None:  # the end of one that was told something is for `events`
            for _ in self.start():
                pass
        assert self._process is not None
        return self._process


def is_last(event: Event | None) -> bool:
    """Return whether nothing more is said of a cell after an event."""
    if isinstance(event, Measured):
        return not event.judging
    return isinstance(event, Failed | Judged)
