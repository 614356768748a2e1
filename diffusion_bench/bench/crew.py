"""The workers of a sweep of several devices, a process a device."""

from __future__ import annotations

from collections.abc import Iterator

from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.worker_messages import Command, Event, Failed, Measured
from diffusion_bench.bench.worker_process import WorkerFailed
from diffusion_bench.bench.workers import Workers
from diffusion_bench.records import DevicesPlan, ImageRequest, ModelDevice


class Crew:
    """A worker for each device, and one more where a model lies on all of them together.

    Use as a context manager: leaving it ends them.
    """

    def __init__(self, plan: DevicesPlan, memory_cap_mib: float | None = None) -> None:
        self._plan = plan
        self.each = tuple(Workers(name, memory_cap_mib) for name in plan.names)
        self.whole = Workers(str(ModelDevice(cards=plan.names)), memory_cap_mib)

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        self.drop()

    def start(self) -> Iterator[None]:
        """Start a worker on each device, yielding until all are up.

        Raises `WorkerFailed` in one line where a device is not there.
        """
        for workers in self.each:
            try:
                yield from workers.start()
            except WorkerFailed as error:
                raise WorkerFailed(
                    f"this sweep measures on {self._plan.words} at once; {error}. "
                    'Name other devices in its table [devices], or ["cpu", "cpu"] to try it'
                ) from None

    def drop(self) -> None:
        """End all workers."""
        for workers in (*self.each, self.whole):
            workers.drop()


class Ended:
    """How a call, or some, of one worker ended: `measured` or `failed`, and the loading before."""

    def __init__(self) -> None:
        self.load_s: float | None = None
        self.measured: Measured | None = None
        self.failed: Failed | None = None

    @property
    def is_over(self) -> bool:
        """Return whether it has ended."""
        return self.measured is not None or self.failed is not None

    def hear(self, event: Event | None) -> None:
        """Take in what the worker said."""
        if isinstance(event, Measured):
            self.measured = event
        elif isinstance(event, Failed):
            self.failed = event
        self.load_s = getattr(event, "load_s", self.load_s)


def command(request: ImageRequest, revision: str | None, **effort: float) -> Command:
    """Return a command for a worker; `effort` holds fields of `Effort`."""
    return Command(request=request, revision=revision, effort=Effort.model_validate(effort))


def hear_all(
    asked: list[tuple[Workers, Command]], ended: list[Ended], time_limit_s: float
) -> Iterator[None]:
    """Have several workers begin and hear them to their ends; yield while nothing is new.

    Each is told before any is heard, so that they work at the same time.
    """
    for workers, told in asked:
        workers.begin(told)
    talks = [workers.events(time_limit_s) for workers, _ in asked]
    while not all(one.is_over for one in ended):
        for talk, end in zip(talks, ended, strict=True):
            if not end.is_over:
                end.hear(next(talk))
        yield
