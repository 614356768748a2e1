"""Readings in the background: their pace, their bounds, and what a failing sensor does to them."""

from __future__ import annotations

import os
import threading
import time

import pytest

from diffusion_bench.hardware.sampler import Sampler, next_tick
from diffusion_bench.hardware.sensors import GpuInfo, NoGpu
from diffusion_bench.records import GpuReading


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
    with Sampler(sensor, interval_s=0.005) as sampler:
        assert sensor.had_enough.wait(timeout=30)
    assert "hardware-sampler" not in [thread.name for thread in threading.enumerate()]
    history = sampler.history()
    assert sampler.latest() == history[-1]
    assert len(history) == sensor.looks >= 5
    assert [reading.gpus[0].power_w for reading in history] == list(range(1, sensor.looks + 1))
    assert sorted(history, key=lambda reading: reading.at_s) == list(history)


def test_it_does_not_look_faster_than_asked() -> None:
    sensor = Flaky(enough=4)
    start_s = time.perf_counter()
    with Sampler(sensor, interval_s=0.05):
        assert sensor.had_enough.wait(timeout=30)
    assert time.perf_counter() - start_s >= 0.15


def test_a_late_look_neither_shifts_the_grid_nor_is_caught_up() -> None:
    assert next_tick(10.0, 1.0, now_s=10.2) == 11.0  # in time
    assert next_tick(10.0, 1.0, now_s=12.7) == 13.0  # two ticks dropped, still on the grid
    due_s = 0.0
    for _ in range(100):  # each look takes 0.3 s
        due_s = next_tick(due_s, 1.0, now_s=due_s + 0.3)
    assert due_s == 100.0


def test_a_sensor_that_fails_is_said_in_the_reading_and_the_next_look_works() -> None:
    sensor = Flaky(failing=(2,), enough=3)
    with Sampler(sensor, interval_s=0.005) as sampler:
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


def test_the_process_that_is_watched_can_be_changed() -> None:
    sampler = Sampler(NoGpu(""))
    assert "no process" in sampler.look().host.missing["rss_mib"]
    sampler.watch(os.getpid())
    assert sampler.look().host.rss_mib > 1
    sampler.watch(2**30)  # above any system's highest
    reading = sampler.look()
    assert reading.host.rss_mib is None
    assert reading.host.missing["rss_mib"] == f"process {2**30} has ended"


def test_an_interval_of_zero_is_refused() -> None:
    with pytest.raises(ValueError, match="interval_s is 0; it must be above 0"):
        Sampler(NoGpu(""), interval_s=0)


def test_two_looks_at_once_do_not_mix() -> None:
    """The panel looks while the background thread does: history may be read at any time."""
    sensor = Flaky(enough=200)
    with Sampler(sensor, interval_s=0.001) as sampler:
        while not sensor.had_enough.is_set():
            sampler.look()
            sampler.between(0, float("inf"))
    looks = [reading.gpus[0].power_w for reading in sampler.history()]
    assert looks == list(range(1, sensor.looks + 1))
