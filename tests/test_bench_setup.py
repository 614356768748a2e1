"""What a sweep watches the machine with."""

from __future__ import annotations

import os

import pytest

from diffusion_bench.bench.setup import CPU_INTERVAL_S, make_sampler, sample_interval_s
from diffusion_bench.hardware.sensors import NoGpu
from diffusion_bench.hardware.slow_host import SlowHost
from diffusion_bench.records import Trace


def test_looks_are_half_as_often_where_they_take_the_models_own_time() -> None:
    assert (
        sample_interval_s("cpu") == 2 * sample_interval_s("cuda:0") == 2 * sample_interval_s("mps")
    )


def test_a_sweep_asks_the_host_for_what_a_trace_keeps_and_for_nothing_else(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[SlowHost] = []
    monkeypatch.setattr(SlowHost, "look", asked.append)
    sampler = make_sampler(NoGpu("none here"), CPU_INTERVAL_S, os.getpid())
    sampler.look()
    host = sampler.look().host
    assert asked == []
    kept = Trace.model_fields.keys() & type(host).model_fields.keys()
    assert kept == {"cpu_percent", "ram_used_mib", "rss_mib"}
    assert all(getattr(host, name) is not None for name in kept - {"cpu_percent"})
    assert "a sweep keeps none of it" in host.missing["battery_percent"]
