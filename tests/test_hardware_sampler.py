"""Readings in the background: their pace, their bounds, and what a failing sensor does to them."""

from __future__ import annotations

import os
import random
import threading
import time

import pytest
from processes import wait_until

from diffusion_bench.hardware.sampler import HOST_FIELDS, Sampler, next_tick
from diffusion_bench.hardware.sensors import GpuInfo, NoGpu
from diffusion_bench.records import GpuReading, HostReading


class Flaky:
    """A sensor of one GPU that fails on the looks in `failing`; `had_enough` is set at `enough`."""

    reason = None

    def __init__(self, failing: tuple[int, ...] = (), enough: int = 1) -> None:
        self.looks = 0
        self.failing = failing
        self.enough = enough
        self.had_enough = threading.Event()

    def read(self) -> tuple[GpuReading, ...]:
        self.looks += 1
        if self.looks >= self.enough:
            self.had_enough.set()
        if self.looks in self.failing:
            raise RuntimeError("the driver went away")
        return (GpuReading(index=0, power_w=float(self.looks)),)

    def cards(self) -> tuple[GpuInfo, ...]:
        return ()

    def close(self) -> None:
        pass


def test_it_looks_until_its_end_and_not_longer() -> None:
    sensor = Flaky(enough=5)
    with Sampler(sensor, interval_s=0.01) as sampler:
        assert sensor.had_enough.wait(timeout=30)
    assert "hardware-sampler" not in [thread.name for thread in threading.enumerate()]
    history = sampler.history()
    assert sampler.latest() == history[-1]
    assert len(history) == sensor.looks >= 5
    assert [reading.gpus[0].power_w for reading in history] == list(range(1, sensor.looks + 1))
    assert sorted(history, key=lambda reading: reading.at_s) == list(history)


def test_a_look_after_its_end_has_missed_no_pace() -> None:
    now_s = [0.0]
    sampler = Sampler(NoGpu("none"), 0.1, clock=lambda: now_s[0], wait=lambda stop, _: stop.wait())
    with sampler:
        assert wait_until(sampler.latest, limit_s=30)
    now_s[0] = 60.0
    assert sampler.look().gap_s is None


def test_it_does_not_look_faster_than_asked() -> None:
    sensor = Flaky(enough=4)
    start_s = time.perf_counter()
    with Sampler(sensor, interval_s=0.05):
        assert sensor.had_enough.wait(timeout=30)
    assert time.perf_counter() - start_s >= 0.15


def test_a_late_look_neither_shifts_the_grid_nor_is_caught_up() -> None:
    assert next_tick(3, 10.0, 1.0, now_s=13.2) == 4  # in time
    assert next_tick(3, 10.0, 1.0, now_s=15.7) == 6  # two dropped, still on the grid
    assert next_tick(3, 10.0, 1.0, now_s=12.99) == 4  # a rest that ended early is no second look


class Simulated:
    """A clock that only rests and looks move, unevenly; `stop` is set after `hours`."""

    def __init__(self, hours: float) -> None:
        self.now_s = 1000.0
        self.rests = 0
        self._random = random.Random(7)
        self._end_s = self.now_s + hours * 3600

    def read(self, process: object = None) -> HostReading:
        """Take up to 40 ms, and now and then a second and a half, as a swapping machine does."""
        hangs = self.rests % 5000 == 4999
        self.now_s += 1.5 if hangs else self._random.uniform(0.001, 0.04)
        return STILL

    def wait(self, stop: threading.Event, seconds: float) -> None:
        """Rest a millisecond more than asked at most, as timers do."""
        self.now_s += seconds + self._random.uniform(0, 0.001)
        self.rests += 1
        if self.now_s >= self._end_s:
            stop.set()


STILL = HostReading(missing=dict.fromkeys(HOST_FIELDS, "simulated"))


def test_ten_hours_at_10_hz_keep_their_pace_and_their_bounds() -> None:
    world = Simulated(hours=10)
    sampler = Sampler(
        NoGpu("none"), 0.1, clock=lambda: world.now_s, host=world, wait=world.wait, keep=36_000
    )
    with sampler:
        assert wait_until(lambda: world.now_s >= 1000 + 36_000, limit_s=120)
    history = sampler.history()
    assert len(history) == 36_000  # the newest hour
    assert history[-1].at_s - history[0].at_s == pytest.approx(3600, abs=30)
    off_s = [(reading.at_s - 1000) / 0.1 % 1 * 0.1 for reading in history]
    assert max(min(off, 0.1 - off) for off in off_s) < 0.01
    late = [reading.gap_s for reading in history if reading.gap_s is not None]
    assert len(late) == 7  # one in 5000 looks
    assert all(gap_s == pytest.approx(1.6, abs=0.05) for gap_s in late)


def test_a_gap_is_told_by_whoever_looks_first_after_it() -> None:
    """At the end of a cell that is not the sampler's own thread."""
    sensor, goes_on = Flaky(enough=3), threading.Event()
    read = sensor.read

    def hang_once() -> tuple[GpuReading, ...]:
        gpus = read()
        if sensor.looks == 3:
            assert goes_on.wait(60)
        return gpus

    sensor.read = hang_once  # type: ignore[method-assign]
    with Sampler(sensor, interval_s=0.05) as sampler:
        assert sensor.had_enough.wait(60)
        end = threading.Thread(target=sampler.look)
        end.start()
        time.sleep(0.3)
        goes_on.set()
        end.join(60)
    hung, first = sampler.history()[2:4]
    assert first.gap_s == first.at_s - hung.at_s
    assert first.gap_s >= 0.3


def test_a_rest_that_ends_a_tick_of_windows_clock_too_soon_is_no_gap() -> None:
    now_s, rests = 1000.0, iter((0.05, 0.05 - 0.0156, 0.05 + 0.0156, 0.05, 0.12, 0.03))

    def rest(stop: threading.Event, seconds: float) -> None:
        nonlocal now_s
        now_s += (slept := next(rests, 0.0))
        if not slept:
            stop.set()

    with Sampler(NoGpu(""), 0.05, clock=lambda: now_s, wait=rest) as sampler:
        while sampler._thread and sampler._thread.is_alive():
            time.sleep(0.01)
    gaps = [reading.gap_s for reading in sampler.history()]
    assert gaps == [None, None, None, None, None, pytest.approx(0.12), None]


def test_a_sensor_that_fails_is_said_in_the_reading_and_the_next_look_works() -> None:
    sensor = Flaky(failing=(2,), enough=3)
    with Sampler(sensor, interval_s=0.01) as sampler:
        assert sensor.had_enough.wait(timeout=30)
    first, second, third = sampler.history()[:3]
    assert (first.gpus[0].power_w, third.gpus[0].power_w) == (1, 3)
    assert second.gpus == ()
    assert second.no_gpu == "the GPU sensor failed: RuntimeError: the driver went away"
    assert second.host.ram_used_mib is not None


def test_without_a_gpu_every_reading_says_why() -> None:
    reading = Sampler(NoGpu("there is none")).look()
    assert (reading.gpus, reading.no_gpu) == ((), "there is none")


def test_before_the_first_look_there_is_nothing() -> None:
    sampler = Sampler(NoGpu("there is none"))
    assert (sampler.latest(), sampler.history()) == (None, ())


def test_only_the_newest_are_kept() -> None:
    clock = iter(range(10))
    sampler = Sampler(NoGpu(""), clock=lambda: float(next(clock)), keep=3)
    for _ in range(5):
        sampler.look()
    assert [reading.at_s for reading in sampler.history()] == [2, 3, 4]


def test_a_span_has_both_its_ends() -> None:
    clock = iter(range(10))
    sampler = Sampler(NoGpu(""), clock=lambda: float(next(clock)))
    for _ in range(6):
        sampler.look()
    assert [reading.at_s for reading in sampler.between(2, 4)] == [2, 3, 4]


def test_what_is_new_since_a_time_is_had_without_the_rest() -> None:
    clock = iter(range(10))
    sampler = Sampler(NoGpu(""), clock=lambda: float(next(clock)), keep=4)
    assert sampler.since(0.0) == ()
    for _ in range(6):
        sampler.look()
    assert [reading.at_s for reading in sampler.since(3)] == [4, 5]
    assert [reading.at_s for reading in sampler.since(0)] == [2, 3, 4, 5]
    assert sampler.since(5) == ()


def test_the_process_that_is_watched_can_be_changed() -> None:
    sampler = Sampler(NoGpu(""))
    assert "no process" in sampler.look().host.missing["rss_mib"]
    sampler.watch(os.getpid())
    assert sampler.look().host.rss_mib > 1
    sampler.watch(2**30)  # above any system's highest
    reading = sampler.look()
    assert reading.host.rss_mib is None
    assert reading.host.missing["rss_mib"] == f"process {2**30} has ended"


@pytest.mark.parametrize("interval_s", [0, 0.0099, 1.01, -1, float("nan")])
def test_a_pace_outside_1_to_100_hz_is_refused(interval_s: float) -> None:
    allowed = "the sampler looks 1 to 100 times a second: 0.01 to 1"
    with pytest.raises(ValueError, match=f"interval_s is {interval_s:g}; {allowed}"):
        Sampler(NoGpu(""), interval_s=interval_s)


@pytest.mark.parametrize("interval_s", [0.01, 1.0])
def test_1_and_100_hz_are_allowed(interval_s: float) -> None:
    rests: list[float] = []
    rested = threading.Event()

    def rest(stop: threading.Event, seconds: float) -> None:
        rests.append(seconds)
        stop.set()
        rested.set()

    with Sampler(NoGpu(""), interval_s=interval_s, clock=lambda: 0.0, wait=rest):
        assert rested.wait(60)
    assert rests == [interval_s]


def test_two_looks_at_once_do_not_mix() -> None:
    """The panel looks while the background thread does: history may be read at any time."""
    sensor = Flaky(enough=200)
    with Sampler(sensor, interval_s=0.01) as sampler:
        while not sensor.had_enough.is_set():
            sampler.look()
            sampler.between(0, float("inf"))
    looks = [reading.gpus[0].power_w for reading in sampler.history()]
    assert looks == list(range(1, sensor.looks + 1))
