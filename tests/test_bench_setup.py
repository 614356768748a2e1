"""What a sweep watches the machine with."""

from __future__ import annotations

import os

import pytest

from diffusion_bench.bench.setup import make_sampler
from diffusion_bench.hardware.sensors import NoGpu
from diffusion_bench.hardware.slow_host import SlowHost
from diffusion_bench.records import Trace


def test_a_sweep_asks_the_host_for_what_a_trace_keeps_and_for_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[SlowHost] = []
    monkeypatch.setattr(SlowHost, "look", asked.append)
    sampler = make_sampler(NoGpu("none here"), pid=os.getpid())
    sampler.look()
    host = sampler.look().host
    assert asked == []
    kept = Trace.model_fields.keys() & type(host).model_fields.keys()
    assert kept == {"cpu_percent", "ram_used_mib", "rss_mib"}
    assert all(getattr(host, name) is not None for name in kept - {"cpu_percent"})
    assert "a sweep keeps none of it" in host.missing["battery_percent"]
