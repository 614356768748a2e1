"""Processor and memory, read from this very machine."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace

import psutil
import pytest
from processes import idle_child

from diffusion_bench.hardware import slow_host
from diffusion_bench.hardware.host import (
    FIRST_LOOK,
    HostSensor,
    read_peak_rss,
    reset_peak_rss,
)
from diffusion_bench.hardware.host_counters import HostCounters

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux resets the peak")


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until its input ends."""
    with idle_child() as process:
        yield process


def test_the_first_look_at_the_processor_is_none_and_not_zero() -> None:
    reading = HostSensor().read()
    assert reading.cpu_percent is None
    assert reading.missing["cpu_percent"] == FIRST_LOOK


def test_the_processor_is_counted_since_the_last_look() -> None:
    sensor = HostSensor()
    sensor.read()
    end_s = time.monotonic() + 0.3
    while time.monotonic() < end_s:
        pass  # keep one core busy
    busy_percent = sensor.read().cpu_percent
    assert busy_percent is not None
    assert 50 / (psutil.cpu_count() or 1) <= busy_percent <= 100


def test_processor_use_is_the_share_of_the_time_between_two_looks(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    counted = iter([(100.0, 1000.0), (130.0, 1100.0), (130.0, 1100.0), (140.0, 1200.0)])
    monkeypatch.setattr(HostCounters, "cpu_seconds", lambda counters: next(counted))
    sensor = HostSensor()
    looks = [sensor.read() for _ in range(4)]
    assert [look.cpu_percent for look in looks] == [None, 30, None, 10]
    assert looks[2].missing["cpu_percent"] == "the previous look was too short ago"


def test_memory_is_in_mib() -> None:
    reading = HostSensor().read()
    assert reading.ram_total_mib == pytest.approx(psutil.virtual_memory().total / 2**20)
    assert 0 < reading.ram_used_mib < reading.ram_total_mib


def test_the_processors_clock_is_asked_once_a_second(monkeypatch: pytest.MonkeyPatch) -> None:
    clocks = iter([(1000.0, None), (2000.0, None), (3000.0, None)])
    monkeypatch.setattr(slow_host, "ask_cpu_clock_mhz", lambda: next(clocks))
    now = [0.0]
    sensor = HostSensor(clock=lambda: now[0])
    clock_mhz = []
    for now[0] in (0.0, 0.09, 0.1, 1.09, 1.1):  # the second look comes sooner, for the cores
        clock_mhz.append(sensor.read().cpu_clock_mhz)
    assert clock_mhz == [1000, 1000, 2000, 2000, 3000]


def test_what_a_sweep_does_not_keep_is_not_asked_and_says_so(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(slow_host.SlowHost, "look", lambda self: asked.append("slow"))
    reading = HostSensor(slow=False).read()
    assert asked == []
    assert reading.ram_used_mib
    assert {name for name, value in reading if value is None} == reading.missing.keys()
    assert reading.missing["disk_free_mib"] == reading.missing["core_percents"]
    assert "a sweep keeps none of it" in reading.missing["disk_free_mib"]


@pytest.mark.usefixtures("without_proc")
def test_without_proc_what_it_would_tell_has_a_reason_and_the_rest_is_told() -> None:
    sensor = HostSensor()
    sensor.read()
    reading = sensor.read()
    assert {name for name, value in reading if value is None} == reading.missing.keys()
    told = ("cpu_percent", "core_percents", "ram_used_mib", "ram_total_mib")
    for field in told:
        assert "the system does not tell" in reading.missing[field]
        assert "No such file or directory" in reading.missing[field]
    assert reading.disk_free_mib is not None


@pytest.mark.usefixtures("without_proc")
def test_memory_that_is_told_is_told_where_the_processors_time_is_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """As on Android and in containers that are locked up."""
    memory = SimpleNamespace(total=4 * 2**20, available=2**20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    reading = HostSensor().read()
    assert (reading.ram_used_mib, reading.ram_total_mib) == (3, 4)
    assert reading.cpu_percent is None


def test_the_resident_set_is_of_the_process_asked_about(child: subprocess.Popen[bytes]) -> None:
    asked = HostSensor().read(psutil.Process(child.pid))
    assert asked.rss_mib == pytest.approx(psutil.Process(child.pid).memory_info().rss / 2**20)
    assert HostSensor().read().rss_mib is None
    assert "no process" in HostSensor().read().missing["rss_mib"]


@on_linux
def test_the_peak_is_of_what_ran_since_the_reset() -> None:
    block = b"x" * (200 * 2**20)
    del block
    before = read_peak_rss(since_reset=False)
    assert reset_peak_rss()
    assert before.mib - read_peak_rss(since_reset=True).mib > 150
    block = b"x" * (300 * 2**20)
    held = psutil.Process().memory_info().rss / 2**20
    del block
    peak = read_peak_rss(since_reset=True)
    assert peak.mib == pytest.approx(held, abs=5)
    assert (peak.since_reset, peak.missing) == (True, None)


def test_a_peak_that_was_not_reset_says_so() -> None:
    peak = read_peak_rss(since_reset=False)
    assert peak.mib > 1
    assert "since the process started" in peak.missing


@pytest.mark.skipif(sys.platform == "win32", reason="the system call is POSIX's")
@pytest.mark.parametrize(("system", "told"), [("darwin", 300 * 2**20), ("freebsd14", 300 * 2**10)])
def test_the_peak_is_counted_in_bytes_on_a_mac_and_in_kilobytes_elsewhere(
    monkeypatch: pytest.MonkeyPatch, system: str, told: int
) -> None:
    monkeypatch.setattr(sys, "platform", system)
    monkeypatch.setattr("resource.getrusage", lambda _: SimpleNamespace(ru_maxrss=told))
    assert read_peak_rss(since_reset=False).mib == 300
