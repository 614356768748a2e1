"""Cores, swap, disk and battery, from this very machine and from ones that lack them."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from diffusion_bench.hardware import slow_host
from diffusion_bench.hardware.host import HostSensor
from diffusion_bench.hardware.slow_host import FIRST_LOOK, TOO_SHORT, SlowHost
from diffusion_bench.records import HostReading

FIELDS = (
    *("core_percents", "cpu_clock_mhz", "swap_used_mib", "swap_total_mib"),
    *("disk_free_mib", "disk_read_mib", "disk_written_mib", "battery_percent", "on_battery"),
)


def test_every_field_of_the_host_is_told_or_has_its_reason() -> None:
    reading = HostSensor().read()
    untold = {name for name, value in reading if value is None}
    assert untold == reading.missing.keys()
    assert set(FIELDS) <= HostReading.model_fields.keys()
    assert reading == HostReading.model_validate(reading.model_dump())  # of the declared types


def test_each_core_is_counted_between_two_looks() -> None:
    host = SlowHost()
    assert host.look()[1]["core_percents"] == FIRST_LOOK
    end_s = time.monotonic() + 0.3
    while time.monotonic() < end_s:
        pass  # keep one core busy
    found, _ = host.look()
    assert len(found["core_percents"]) == psutil.cpu_count()
    assert max(found["core_percents"]) >= 50
    assert all(0 <= percent <= 100 for percent in found["core_percents"])


class Times(tuple):
    """A core's times: user and idle seconds."""

    def __new__(cls, user: float, idle: float) -> Times:
        return super().__new__(cls, (user, idle))

    @property
    def idle(self) -> float:
        return float(self[1])


def test_a_core_that_was_taken_off_line_starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: Iterator[list[Times]] = iter(
        [
            [Times(1, 9), Times(2, 8)],
            [Times(2, 18), Times(7, 13)],
            [Times(10, 20), Times(7, 13)],
            [Times(12, 28), Times(10, 20)],
            [Times(3, 27)],
            [Times(8, 32)],
        ]
    )
    monkeypatch.setattr(psutil, "cpu_times", lambda percpu: next(looks))
    host = SlowHost()
    told = [host.look() for _ in range(6)]
    percents = [found.get("core_percents") for found, _ in told]
    assert percents == [None, (10, 50), None, (50, 30), None, (50,)]
    assert told[2][1]["core_percents"] == TOO_SHORT
    assert told[4][1]["core_percents"] == FIRST_LOOK


def test_swap_and_disk_are_in_mib(tmp_path: Path) -> None:
    found, _ = SlowHost(tmp_path).look()
    assert found["swap_total_mib"] == pytest.approx(psutil.swap_memory().total / 2**20)
    free_mib = psutil.disk_usage(str(tmp_path)).free / 2**20
    assert found["disk_free_mib"] == pytest.approx(free_mib, rel=0.05)


def test_what_hardly_moves_is_asked_every_ten_seconds_and_counters_at_every_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = {"disk_usage": 0, "swap_memory": 0, "sensors_battery": 0, "disk_io_counters": 0}

    def counting(name: str) -> Callable[..., object]:
        def ask(*given: object) -> object:
            asked[name] += 1
            return SimpleNamespace(used=0, total=0, free=2**20 * asked[name], percent=50)

        return ask

    for name in ("disk_usage", "swap_memory"):
        monkeypatch.setattr(psutil, name, counting(name))
    for name in ("sensors_battery", "disk_io_counters"):
        monkeypatch.setattr(psutil, name, lambda name=name: asked.update({name: asked[name] + 1}))
    now = [0.0]
    host = SlowHost(clock=lambda: now[0])
    free_mib = []
    for now[0] in (0.0, 1.0, 9.9, 10.0, 11.0):
        free_mib.append(host.look()[0]["disk_free_mib"])
    assert free_mib == [1, 1, 1, 2, 2]
    assert asked == {
        "disk_usage": 2,
        "swap_memory": 2,
        "sensors_battery": 2,
        "disk_io_counters": 5,
    }


def test_disk_traffic_only_grows() -> None:
    first, missing = SlowHost().look()
    if "disk_written_mib" in missing:
        pytest.skip(missing["disk_written_mib"])
    second, _ = SlowHost().look()
    assert second["disk_written_mib"] >= first["disk_written_mib"] >= 0


def refuse(*_: object, **__: object) -> None:
    raise OSError(5, "Input/output error")


@pytest.mark.parametrize(
    ("question", "answer", "fields"),
    [
        ("swap_memory", refuse, ("swap_used_mib", "swap_total_mib")),
        ("disk_usage", refuse, ("disk_free_mib",)),
        ("disk_io_counters", refuse, ("disk_read_mib", "disk_written_mib")),
        ("disk_io_counters", lambda: None, ("disk_read_mib", "disk_written_mib")),
        ("sensors_battery", refuse, ("battery_percent", "on_battery")),
        ("sensors_battery", lambda: None, ("battery_percent", "on_battery")),
        ("cpu_freq", refuse, ("cpu_clock_mhz",)),
    ],
)
def test_what_a_system_refuses_costs_only_its_fields(
    monkeypatch: pytest.MonkeyPatch,
    question: str,
    answer: Callable[..., object],
    fields: tuple[str, ...],
) -> None:
    whole, _ = SlowHost().look()
    monkeypatch.setattr(psutil, question, answer, raising=False)
    found, missing = SlowHost().look()
    assert set(fields) <= missing.keys()
    assert found.keys() == whole.keys() - set(fields)


@pytest.mark.parametrize(
    ("plugged", "on_battery", "reason"),
    [(True, False, None), (False, True, None), (None, None, slow_host.NO_MAINS)],
)
def test_a_battery_tells_its_charge_and_whether_it_is_used(
    monkeypatch: pytest.MonkeyPatch, plugged: bool | None, on_battery: bool, reason: str | None
) -> None:
    battery = SimpleNamespace(percent=61, power_plugged=plugged)
    monkeypatch.setattr(psutil, "sensors_battery", lambda: battery, raising=False)
    found, missing = SlowHost().look()
    assert (found["battery_percent"], found.get("on_battery")) == (61, on_battery)
    assert missing.get("on_battery") == reason


def test_a_disk_that_hangs_keeps_nobody_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    answered = threading.Event()
    asked = []

    def hang(folder: str) -> Any:
        asked.append(folder)
        answered.wait(60)
        return SimpleNamespace(free=2**30)

    monkeypatch.setattr(psutil, "disk_usage", hang)
    now = [0.0]
    host = SlowHost(clock=lambda: now[0])
    for now[0] in (0.0, 10.0, 20.0):
        found, missing = host.look()
        assert missing["disk_free_mib"] == slow_host.DISK_HANGS
        assert "swap_total_mib" in found
    assert len(asked) == 1
    answered.set()
    assert host._disk_thread is not None
    host._disk_thread.join(60)
    now[0] = 30.0
    assert host.look()[0]["disk_free_mib"] == 1024
