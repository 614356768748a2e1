"""One sampler for everybody: on a clock and a rest of the test's own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing

import pytest
from processes import wait_until

from diffusion_bench.hardware.sensors import NoGpu
from diffusion_bench.hardware.shared_sampler import SharedSampler
from diffusion_bench.records import GpuReading

LIMIT_S = 30.0
LEASE_S = 8.0


class CountingSensor(NoGpu):
    reads = 0

    def read(self) -> tuple[GpuReading, ...]:
        self.reads += 1
        return ()


class Steps:
    """Time that moves a second a reading, each let through by the test."""

    def __init__(self) -> None:
        self.now_s = 0.0
        self.resting = threading.Semaphore(0)
        self._passes = threading.Semaphore(0)

    def clock(self) -> float:
        return self.now_s

    def rest(self, stop: threading.Event, seconds: float) -> None:
        self.resting.release()
        while not stop.is_set() and not self._passes.acquire(timeout=0.01):
            pass

    def let_pass(self, seconds: float = 1.0) -> None:
        """Wait until the sampler rests, and end its rest `seconds` later."""
        assert self.resting.acquire(timeout=LIMIT_S)
        self.now_s += seconds
        self._passes.release()


@pytest.fixture
def steps() -> Steps:
    return Steps()


@pytest.fixture
def sensor() -> CountingSensor:
    return CountingSensor("none")


@pytest.fixture
def shared(steps: Steps, sensor: CountingSensor) -> Iterator[SharedSampler]:
    with closing(
        SharedSampler(sensor, 1.0, lease_s=LEASE_S, clock=steps.clock, wait=steps.rest)
    ) as sampler:
        yield sampler


def test_nothing_is_read_until_somebody_looks(
    shared: SharedSampler, steps: Steps, sensor: CountingSensor
) -> None:
    assert not shared.running
    assert shared.latest() is None
    assert shared.last(100.0) == ()
    shared.renew()
    assert shared.running
    steps.let_pass()
    assert sensor.reads >= 1


def test_it_ends_after_the_last_look_and_starts_again_with_its_history(
    shared: SharedSampler, steps: Steps, sensor: CountingSensor
) -> None:
    shared.renew()
    for _ in range(3):
        steps.let_pass()
    shared.renew()  # the last word of anybody, at 3 s
    for _ in range(8):
        steps.let_pass()
    assert shared.running  # at 11 s, the lease is just not over
    steps.let_pass()
    assert wait_until(lambda: not shared.running, LIMIT_S)
    assert wait_until(lambda: not sampling(), LIMIT_S)
    reads = sensor.reads
    assert reads == 12

    steps.now_s = 100.0
    shared.renew()
    assert wait_until(lambda: sensor.reads == reads + 1, LIMIT_S)
    assert wait_until(lambda: len(shared.last(1000.0)) == reads + 1, LIMIT_S)
    assert [reading.at_s for reading in shared.last(1000.0)][-2:] == [11.0, 100.0]
    assert [reading.at_s for reading in shared.last(50.0)] == [100.0]


def test_twenty_who_look_at_once_start_one_thread(shared: SharedSampler) -> None:
    before = sampling()
    together = threading.Barrier(20)

    def look() -> None:
        together.wait(LIMIT_S)
        shared.renew()

    viewers = [threading.Thread(target=look) for _ in range(20)]
    for viewer in viewers:
        viewer.start()
    for viewer in viewers:
        viewer.join(LIMIT_S)
    assert sampling() - before == 1


def test_a_closed_one_stays_closed(shared: SharedSampler, sensor: CountingSensor) -> None:
    shared.close()
    shared.renew()
    assert not shared.running
    assert sensor.reads == 0


def sampling() -> int:
    return sum(thread.name == "hardware-sampler" for thread in threading.enumerate())
