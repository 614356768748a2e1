"""What readings add up to: energy by two ways, peaks, and columns that keep them."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import pytest

from diffusion_bench.hardware.trace import energy_j, peak_nvml_mib, to_trace
from diffusion_bench.records import GpuReading, HostReading, Reading


def make_reading(at_s: float, rss_mib: float | None = None, **gpu: float | None) -> Reading:
    gpus = (GpuReading(index=0, name="A", **gpu),) if gpu else ()
    no_gpu = None if gpu else "there is none"
    return Reading(at_s=at_s, host=HostReading(rss_mib=rss_mib), gpus=gpus, no_gpu=no_gpu)


def at_10_hz(seconds: float, start_s: float = 0.0) -> Iterable[float]:
    return (start_s + i / 10 for i in range(round(seconds * 10) + 1))


def test_energy_is_the_counters_move_over_the_window_alone() -> None:
    readings = [make_reading(t, energy_j=5000 + 150 * t, power_w=1.0) for t in at_10_hz(10)]
    value, how = energy_j(readings, 0, 3.0, 5.0)
    assert (value, how) == (pytest.approx(300), "counter")


def test_a_windows_edges_between_two_looks_are_interpolated() -> None:
    readings = [make_reading(t, energy_j=150 * t) for t in at_10_hz(10)]
    assert energy_j(readings, 0, 3.05, 5.08)[0] == pytest.approx(150 * 2.03)


def test_a_power_that_rises_is_integrated() -> None:
    readings = [make_reading(t, power_w=100 * t) for t in at_10_hz(4)]
    value, how = energy_j(readings, 0, 1.0, 3.0)
    assert (value, how) == (pytest.approx(400), "integrated power")  # 100 * (9 - 1) / 2


def reloaded(at_s: float) -> float:
    """A counter that a driver's reload sets back, and that ends above where it began."""
    return 900 + at_s if at_s < 2 else 1000 * at_s - 1999


@pytest.mark.parametrize("counter", [lambda t: 7.0, lambda t: 1000 - t, lambda t: 0.0, reloaded])
def test_a_counter_that_stands_or_falls_is_not_believed(
    counter: Callable[[float], float],
) -> None:
    readings = [make_reading(t, energy_j=counter(t), power_w=50.0) for t in at_10_hz(4)]
    assert energy_j(readings, 0, 1.0, 3.0) == (pytest.approx(100), "integrated power")


def test_a_counter_that_fell_before_the_window_is_believed_in_it() -> None:
    readings = [make_reading(t, energy_j=10 * t if t > 2 else 99.0) for t in at_10_hz(10)]
    assert energy_j(readings, 0, 4.0, 8.0) == (pytest.approx(40), "counter")


@pytest.mark.parametrize(
    ("times", "window", "reason"),
    [
        (at_10_hz(4), (1.0, 1.5), "shorter than 1 s"),
        ([0.0, 1.0, 2.0], (0.5, 2.0), "2 power readings in the window; 3 are needed"),
        ([], (0.0, 2.0), "0 power readings"),
        (at_10_hz(3), (0.0, 5.0), "do not cover"),
        ([*at_10_hz(1), *at_10_hz(1, start_s=3)], (0.0, 4.0), "a gap of 2.0 s"),
    ],
)
def test_energy_that_cannot_be_told_is_none_with_a_reason(
    times: Iterable[float], window: tuple[float, float], reason: str
) -> None:
    value, why = energy_j([make_reading(t, power_w=50.0) for t in times], 0, *window)
    assert value is None
    assert reason in why


def test_a_gpu_that_tells_no_power_has_no_energy() -> None:
    readings = [make_reading(t, power_w=None, temperature_c=50) for t in at_10_hz(4)]
    assert energy_j(readings, 0, 0.0, 4.0)[0] is None
    assert energy_j(readings, 1, 0.0, 4.0)[0] is None


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


def test_a_short_run_is_not_thinned() -> None:
    assert len(to_trace([make_reading(t) for t in at_10_hz(59.9)], 0.0).at_s) == 600
