"""Readings in the background, at a fixed pace, for as long as something is measured.

The sampler is a thread of the process that runs a sweep; the model is in another, and shares no
lock with it. A process of its own for the readings was measured: it costs more processor time and
keeps no better pace (docs/lab-notes.md, benchmarks/self/sampling_cost.py).
"""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from itertools import takewhile
from types import TracebackType
from typing import Protocol, Self

import psutil

from diffusion_bench.hardware.host import HostSensor
from diffusion_bench.hardware.sensors import FAULTS, Sensor
from diffusion_bench.records import GpuReading, HostReading, Reading, trusted

SHORTEST_S, LONGEST_S = 0.01, 1.0  # between two looks: 100 and 1 Hz
STOP_S = 5.0
EARLY = 0.4  # of an interval, by which a rest may end too soon: on Windows by a tick, 16 ms
HOST_FAULTS = (*FAULTS, psutil.Error)
HOST_FIELDS = tuple(name for name in HostReading.model_fields if name != "missing")


class HostLook(Protocol):
    """What reads the host, and the process that is asked about."""

    def read(self, process: psutil.Process | None = None) -> HostReading:
        """Return one look."""


class Sampler:
    """Looks at the machine every `interval_s` between `with` and its end.

    `pid` is the process whose memory is read (`None`: no process). The newest `keep` readings are
    kept, 3 KB each where there are two GPUs. A reading that fails carries the reason, and one that
    comes late how long there was none: neither stops the pace or moves it. `wait(stop, seconds)` is
    how the thread rests.
    """

    def __init__(
        self,
        sensor: Sensor,
        interval_s: float = 0.1,
        pid: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
        *,
        keep: int = 36_000,
        host: HostLook | None = None,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        if not SHORTEST_S <= interval_s <= LONGEST_S:
            raise ValueError(
                f"interval_s is {interval_s:g}; the sampler looks 1 to 100 times a second: "
                f"{SHORTEST_S:g} to {LONGEST_S:g}"
            )
        self._sensor = sensor
        self._interval_s = interval_s
        self._clock = clock
        self._host = host or HostSensor()
        self._wait = wait
        self._readings: deque[Reading] = deque(maxlen=keep)
        self._keeping = threading.Lock()  # of the readings: never held while a driver is asked
        self._looking = threading.Lock()  # one look at a time
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self._paced_from_s = math.inf  # since when there is a pace
        self.watch(pid)

    def __enter__(self) -> Self:
        self._stop.clear()
        self._paced_from_s = self._clock()
        self._thread = threading.Thread(target=self._run, name="hardware-sampler", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stop.set()
        self._paced_from_s = math.inf
        if self._thread is not None:
            self._thread.join(STOP_S)  # a hung driver keeps its thread, not the program

    def watch(self, pid: int | None) -> None:
        """Read the memory of another process from the next look on."""
        self._watched = _find(pid)

    def look(self) -> Reading:
        """Take one reading now and keep it: for the exact start and end of what is measured."""
        with self._looking:
            at_s = self._clock()
            gpus, no_gpu = self._read_gpus()
            reading = trusted(
                Reading,
                at_s=at_s,
                host=self._read_host(),
                gpus=gpus,
                no_gpu=no_gpu,
                gap_s=self._gap_s(at_s),
            )
            with self._keeping:
                self._readings.append(reading)
        return reading

    def latest(self) -> Reading | None:
        """Return the newest reading, `None` before the first. Does not wait for a look."""
        with self._keeping:
            return self._readings[-1] if self._readings else None

    def history(self) -> tuple[Reading, ...]:
        """Return every reading kept, oldest first."""
        with self._keeping:
            return tuple(self._readings)

    def between(self, start_s: float, end_s: float) -> tuple[Reading, ...]:
        """Return the readings of a time span on the sampler's clock, both ends included."""
        return tuple(reading for reading in self.history() if start_s <= reading.at_s <= end_s)

    def since(self, at_s: float) -> tuple[Reading, ...]:
        """Return the readings that are kept and later than a time, oldest first."""
        with self._keeping:
            newer = list(takewhile(lambda reading: reading.at_s > at_s, reversed(self._readings)))
        return tuple(reversed(newer))

    def _run(self) -> None:
        start_s, tick = self._paced_from_s, 0
        while not self._stop.is_set():
            self.look()
            tick = next_tick(tick, start_s, self._interval_s, self._clock())
            self._wait(self._stop, max(0.0, start_s + tick * self._interval_s - self._clock()))

    def _gap_s(self, at_s: float) -> float | None:
        """Return how long there was no look, where a look of the pace was missed meanwhile.

        Whoever looks first after it tells it: the thread itself may be the second.
        """
        before, start_s = self.latest(), self._paced_from_s
        if before is None or before.at_s < start_s:
            return None
        first, now = (
            math.floor((look_s - start_s) / self._interval_s + EARLY)
            for look_s in (before.at_s, at_s)
        )
        return at_s - before.at_s if now - first > 1 else None

    def _read_gpus(self) -> tuple[tuple[GpuReading, ...], str | None]:
        try:
            return self._sensor.read(), self._sensor.reason
        except FAULTS as error:
            return (), f"the GPU sensor failed: {_words(error)}"

    def _read_host(self) -> HostReading:
        process, no_process = self._watched
        try:
            host = self._host.read(process)
        except HOST_FAULTS as error:
            why = f"the host's sensor failed: {_words(error)}"
            return HostReading(missing=dict.fromkeys(HOST_FIELDS, why))
        if no_process is None:
            return host
        return host.model_copy(update={"missing": host.missing | {"rss_mib": no_process}})


def next_tick(tick: int, start_s: float, interval_s: float, now_s: float) -> int:
    """Return the number of the next look on the grid from `start_s`: late ones are not caught up.

    Counted from the start and never summed up, so that no error adds up either.
    """
    return max(tick + 1, math.ceil((now_s - start_s) / interval_s))


def _find(pid: int | None) -> tuple[psutil.Process | None, str | None]:
    """Return the process, or `None` and the reason."""
    if pid is None:
        return None, None
    try:
        return psutil.Process(pid), None
    except psutil.NoSuchProcess:
        return None, f"process {pid} has ended"
    except psutil.AccessDenied:
        return None, f"this user may not look at process {pid}"


def _words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}" if str(error) else type(error).__name__
