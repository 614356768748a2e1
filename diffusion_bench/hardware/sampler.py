"""Readings in the background, at a fixed pace, for as long as something is measured."""

from __future__ import annotations

import math
import threading
import time
from collections import deque
from collections.abc import Callable
from types import TracebackType
from typing import Self

import psutil

from diffusion_bench.hardware.host import HostSensor
from diffusion_bench.hardware.sensors import Sensor
from diffusion_bench.records import GpuReading, HostReading, Reading

# What a broken driver or a vanishing file raises. Anything else is a bug, and ends the thread with
# its traceback on the standard error.
FAULTS = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError, psutil.Error)
STOP_S = 5.0
HOST_FIELDS = tuple(name for name in HostReading.model_fields if name != "missing")


class Sampler:
    """Looks at the machine every `interval_s` between `with` and its end.

    `pid` is the process whose memory is read (`None`: no process). The newest `keep` readings are
    kept, about 3 KB each. A reading that fails carries the reason; it does not stop the pace.
    """

    def __init__(
        self,
        sensor: Sensor,
        interval_s: float = 0.1,
        pid: int | None = None,
        clock: Callable[[], float] = time.perf_counter,
        *,
        keep: int = 36_000,
    ) -> None:
        if interval_s <= 0:
            raise ValueError(f"interval_s is {interval_s}; it must be above 0")
        self._sensor = sensor
        self._interval_s = interval_s
        self._clock = clock
        self._host = HostSensor()
        self._readings: deque[Reading] = deque(maxlen=keep)
        self._keeping = threading.Lock()  # of the readings: never held while a driver is asked
        self._looking = threading.Lock()  # one look at a time
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None
        self.watch(pid)

    def __enter__(self) -> Self:
        self._stop.clear()
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
            reading = Reading(at_s=at_s, host=self._read_host(), gpus=gpus, no_gpu=no_gpu)
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

    def _run(self) -> None:
        due_s = self._clock()
        while not self._stop.is_set():
            self.look()
            due_s = next_tick(due_s, self._interval_s, self._clock())
            self._stop.wait(max(0.0, due_s - self._clock()))

    def _read_gpus(self) -> tuple[tuple[GpuReading, ...], str | None]:
        try:
            return self._sensor.read(), self._sensor.reason
        except FAULTS as error:
            return (), f"the GPU sensor failed: {_words(error)}"

    def _read_host(self) -> HostReading:
        process, no_process = self._watched
        try:
            host = self._host.read(process)
        except FAULTS as error:
            why = f"the host's sensor failed: {_words(error)}"
            return HostReading(missing=dict.fromkeys(HOST_FIELDS, why))
        if no_process is None:
            return host
        return host.model_copy(update={"missing": host.missing | {"rss_mib": no_process}})


def next_tick(due_s: float, interval_s: float, now_s: float) -> float:
    """Return the next time of the grid that `due_s` is on: late looks are not caught up."""
    missed = max(0, math.ceil((now_s - due_s) / interval_s) - 1)
    return due_s + interval_s * (missed + 1)


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
