"""What readings add up to: peaks, and columns that keep them and show where there were none."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from diffusion_bench.hardware.trace import peak_nvml_mib, to_trace
from diffusion_bench.records import GpuReading, HostReading, Reading


def make_reading(at_s: float, rss_mib: float | None = None, **gpu: float | None) -> Reading:
    gpus = (GpuReading(index=0, name="A", **gpu),) if gpu else ()
    no_gpu = None if gpu else "there is none"
    return Reading(at_s=at_s, host=HostReading(rss_mib=rss_mib), gpus=gpus, no_gpu=no_gpu)


def at_10_hz(seconds: float, start_s: float = 0.0) -> Iterable[float]:
    return (start_s + i / 10 for i in range(round(seconds * 10) + 1))


def test_the_peak_skips_what_could_not_be_told() -> None:
    used = [None, 300.0, 900.0, None, 500.0]
    readings = [make_reading(float(i), memory_used_mib=mib) for i, mib in enumerate(used)]
    assert peak_nvml_mib(readings, 0) == 900
    assert peak_nvml_mib(readings, 1) is None
    assert peak_nvml_mib(readings[:1], 0) is None


def test_a_trace_counts_from_its_start_and_keeps_gaps() -> None:
    readings = [
        make_reading(10.0, rss_mib=7, power_w=50.0),
        make_reading(10.5),
        make_reading(11.0, power_w=70.0, temperature_c=40.0),
    ]
    trace = to_trace(readings, start_s=10.0)
    assert trace.at_s == (0, 0.5, 1)
    assert trace.rss_mib == (7, None, None)
    (gpu,) = trace.gpus
    assert (gpu.index, gpu.name, gpu.power_w) == (0, "A", (50, None, 70))
    assert (gpu.temperature_c, gpu.sm_clock_mhz) == ((None, None, 40), (None, None, None))
    assert trace.no_gpu is None


def test_a_trace_has_a_thousandth_and_none_of_the_digits_that_no_sensor_tells() -> None:
    reading = make_reading(10 + 1 / 7, rss_mib=2000 / 3, power_w=100 / 3)
    trace = to_trace([reading], start_s=10.0)
    assert (trace.at_s, trace.rss_mib, trace.gpus[0].power_w) == ((0.143,), (666.667,), (33.333,))
    assert trace.cpu_percent == trace.gpus[0].temperature_c == (None,)


def test_a_trace_without_a_gpu_says_why() -> None:
    trace = to_trace([make_reading(1.0)], start_s=0.0)
    assert (trace.gpus, trace.no_gpu) == ((), "there is none")
    assert to_trace([], start_s=0.0).at_s == ()


def test_a_long_run_is_thinned_evenly_and_keeps_its_peaks() -> None:
    readings = [
        make_reading(float(i), rss_mib=1, power_w=50, memory_used_mib=5) for i in range(9999)
    ]
    readings[1234] = make_reading(1234.0, rss_mib=1, power_w=444, memory_used_mib=5)
    readings[4321] = make_reading(4321.0, rss_mib=99, power_w=50, memory_used_mib=777)
    trace = to_trace(readings, start_s=0.0, max_points=100)
    assert 97 <= len(trace.at_s) <= 100
    assert (trace.at_s[0], trace.at_s[-1]) == (0, 9998)
    assert max(b - a for a, b in zip(trace.at_s, trace.at_s[1:], strict=False)) < 110
    assert {1234, 4321} <= set(trace.at_s)
    assert max(trace.gpus[0].power_w) == 444
    assert to_trace(readings, start_s=0.0, max_points=2).at_s == (0, 9998)


def test_what_comes_after_is_thinned_apart_and_takes_no_points_from_what_is_timed() -> None:
    timed = [make_reading(t, power_w=50.0) for t in at_10_hz(20)]
    after = [make_reading(t, power_w=60.0) for t in at_10_hz(2000, start_s=20.1)]
    trace = to_trace([*timed, *after], 0.0, apart_s=20.0, max_points=300)
    assert [at_s for at_s in trace.at_s if at_s <= 20] == [reading.at_s for reading in timed]
    assert 297 <= len(trace.at_s) - len(timed) <= 300
    assert len(to_trace([*timed, *after], 0.0, max_points=300).at_s) <= 300


def test_a_short_run_is_not_thinned() -> None:
    assert len(to_trace([make_reading(t) for t in at_10_hz(59.9)], 0.0).at_s) == 600


def test_a_gap_is_a_point_that_tells_nothing_so_that_no_line_crosses_it() -> None:
    readings = [make_reading(t, power_w=50.0) for t in (0.0, 0.1, 0.2)]
    readings += [make_reading(t, power_w=50.0) for t in (2.2, 2.3)]
    readings[0] = readings[0].model_copy(update={"gap_s": 9.0})  # before what is told
    readings[3] = readings[3].model_copy(update={"gap_s": 2.0})
    trace = to_trace(readings, 0.0)
    assert trace.at_s == pytest.approx((0.0, 0.1, 0.2, 1.2, 2.2, 2.3))
    assert trace.gpus[0].power_w == (50, 50, 50, None, 50, 50)
    assert trace.gpus[0].memory_used_mib[3] is trace.ram_used_mib[3] is None


def test_a_look_that_is_a_little_late_is_no_gap() -> None:
    readings = [make_reading(t, power_w=50.0) for t in (0.0, 0.1, 0.3)]
    readings[2] = readings[2].model_copy(update={"gap_s": 0.2})
    assert None not in to_trace(readings, 0.0).gpus[0].power_w
