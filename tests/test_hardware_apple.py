"""Apple's GPU: the host's memory, what torch holds, and a reason for all that macOS keeps."""

from __future__ import annotations

import os
import platform
from types import SimpleNamespace
from typing import Any

import psutil
import pytest

from diffusion_bench.hardware import machine
from diffusion_bench.hardware.apple import NO_TORCH, ROOT_ONLY, AppleSensor
from diffusion_bench.hardware.sensors import open_sensor


def mps_torch(*, available: bool) -> Any:
    """As much of torch as is asked."""
    mps = SimpleNamespace(is_available=lambda: available)
    held = SimpleNamespace(driver_allocated_memory=lambda: 300 * 2**20)
    return SimpleNamespace(backends=SimpleNamespace(mps=mps), mps=held)


def test_its_memory_is_the_hosts_and_torch_tells_what_this_process_holds() -> None:
    sensor = AppleSensor("Apple M4 GPU", lambda: mps_torch(available=True))
    (reading,) = sensor.read()
    assert reading.name == "Apple M4 GPU"
    assert reading.memory_total_mib == pytest.approx(psutil.virtual_memory().total / 2**20)
    assert reading.processes is not None
    assert [(p.pid, p.memory_mib) for p in reading.processes] == [(os.getpid(), 300)]
    (card,) = sensor.cards()
    assert (card.vendor, card.unified_memory) == ("apple", True)


@pytest.mark.parametrize("torch", [None, SimpleNamespace(), mps_torch(available=False)])
def test_without_torch_it_says_so(torch: Any) -> None:
    (reading,) = AppleSensor("Apple M4 GPU", lambda: torch).read()
    assert reading.processes is None
    assert reading.missing["processes"] == NO_TORCH


def test_every_figure_it_lacks_has_a_reason() -> None:
    sensor = AppleSensor("Apple M4 GPU", lambda: None)
    for record in (*sensor.read(), *sensor.cards()):
        untold = {name for name, value in record if value is None} - {"parent_index"}
        assert untold == record.missing.keys()
    missing = sensor.read()[0].missing
    assert missing["power_w"] == ROOT_ONLY
    assert "ioreg" in missing["utilization_percent"]  # which needs no root


def test_a_mac_with_an_apple_chip_opens_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(platform, "system", lambda: "Darwin")
    monkeypatch.setattr(platform, "machine", lambda: "arm64")
    monkeypatch.setattr(machine, "cpu_name", lambda: "Apple M4")
    sensor = open_sensor()
    try:
        assert [gpu.name for gpu in sensor.read()] == ["Apple M4 GPU"]
    finally:
        sensor.close()
