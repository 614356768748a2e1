"""One sampler for everybody who looks: it starts with the first and ends with the last.

A viewer that leaves says no word: a laptop is shut, a network goes away. So nobody is counted, and
each look at the page renews a lease.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from diffusion_bench.hardware.sampler import HostLook, Sampler
from diffusion_bench.hardware.sensors import Sensor
from diffusion_bench.records import Reading

LEASE_S = 8.0  # four ticks of the page: one that comes late stops nothing


class SharedSampler:
    """A `Sampler` that runs from the first `renew` until `lease_s` after the last one.

    Its readings outlive a pause. `wait(stop, seconds)` is how its thread rests.
    """

    def __init__(
        self,
        sensor: Sensor,
        interval_s: float = 1.0,
        *,
        keep: int = 300,
        lease_s: float = LEASE_S,
        clock: Callable[[], float] = time.perf_counter,
        host: HostLook | None = None,
        wait: Callable[[threading.Event, float], object] = threading.Event.wait,
    ) -> None:
        self.interval_s = interval_s
        self._lease_s = lease_s
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._ends_at_s = clock()
        self._running = False
        self._closed = False
        self._sampler = Sampler(
            sensor, interval_s, clock=clock, keep=keep, host=host, wait=self._rest
        )

    @property
    def running(self) -> bool:
        """Return whether the machine is being read."""
        with self._lock:
            return self._running

    def renew(self) -> None:
        """Say that somebody looks, and start where nobody did."""
        with self._lock:
            self._ends_at_s = self._clock() + self._lease_s
            if self._running or self._closed:
                return
            self._sampler.__exit__(None, None, None)  # wait for a thread that is about to end
            self._sampler.__enter__()
            self._running = True

    def latest(self) -> Reading | None:
        """Return the newest reading, `None` before the first."""
        return self._sampler.latest()

    def last(self, seconds: float) -> tuple[Reading, ...]:
        """Return the readings of the last `seconds` before the newest, oldest first."""
        latest = self._sampler.latest()
        return () if latest is None else self._sampler.between(latest.at_s - seconds, latest.at_s)

    def close(self) -> None:
        """End, for good. Closing twice is fine."""
        with self._lock:
            self._closed = True
            self._running = False
        self._sampler.__exit__(None, None, None)

    def _rest(self, stop: threading.Event, seconds: float) -> None:
        self._wait(stop, seconds)
        with self._lock:  # or a `renew` could come between the look at the lease and the stop
            if self._clock() > self._ends_at_s:
                stop.set()
                self._running = False
