"""The energy of a stretch of time, by the counter, by power, and of the processor."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from diffusion_bench.hardware.energy import EnergyFound, measure_energy
from diffusion_bench.records import GpuReading, HostReading, Reading


def make_reading(at_s: float, rss_mib: float | None = None, **gpu: Any) -> Reading:
    gpus = (GpuReading(index=0, name="A", **gpu),) if gpu else ()
    no_gpu = None if gpu else "there is none"
    return Reading(at_s=at_s, host=HostReading(rss_mib=rss_mib), gpus=gpus, no_gpu=no_gpu)


def joules(readings: list[Reading], start_s: float, end_s: float) -> tuple[float | None, str]:
    """Return the joules that GPU 0 used in a window and how they were had, or why not."""
    energy, how = measure_energy(readings, 0, start_s, end_s, [])
    return (energy.total_j if energy else None), how


def at_10_hz(seconds: float, start_s: float = 0.0) -> Iterable[float]:
    return (start_s + i / 10 for i in range(round(seconds * 10) + 1))


def test_energy_is_the_counters_move_over_the_window_alone() -> None:
    readings = [make_reading(t, energy_j=5000 + 150 * t, power_w=1.0) for t in at_10_hz(10)]
    value, how = joules(readings, 3.0, 5.0)
    assert (value, how) == (pytest.approx(300), "counter")


def test_a_windows_edges_between_two_looks_are_interpolated() -> None:
    readings = [make_reading(t, energy_j=150 * t) for t in at_10_hz(10)]
    assert joules(readings, 3.05, 5.08)[0] == pytest.approx(150 * 2.03)


def test_a_power_that_rises_is_integrated() -> None:
    readings = [make_reading(t, power_w=100 * t) for t in at_10_hz(4)]
    value, how = joules(readings, 1.0, 3.0)
    assert (value, how) == (pytest.approx(400), "integrated power")  # 100 * (9 - 1) / 2


def reloaded(at_s: float) -> float:
    """A counter that a driver's reload sets back, and that ends above where it began."""
    return 900 + at_s if at_s < 2 else 1000 * at_s - 1999


@pytest.mark.parametrize("counter", [lambda t: 7.0, lambda t: 1000 - t, lambda t: 0.0, reloaded])
def test_a_counter_that_stands_or_falls_is_not_believed(
    counter: Callable[[float], float],
) -> None:
    readings = [make_reading(t, energy_j=counter(t), power_w=50.0) for t in at_10_hz(4)]
    assert joules(readings, 1.0, 3.0) == (pytest.approx(100), "integrated power")


def test_a_counter_that_fell_before_the_window_is_believed_in_it() -> None:
    readings = [make_reading(t, energy_j=10 * t if t > 2 else 99.0) for t in at_10_hz(10)]
    assert joules(readings, 4.0, 8.0) == (pytest.approx(40), "counter")


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
    value, why = joules([make_reading(t, power_w=50.0) for t in times], *window)
    assert value is None
    assert reason in why


def test_a_gpu_that_tells_no_power_has_no_energy() -> None:
    readings = [make_reading(t, power_w=None, temperature_c=50) for t in at_10_hz(4)]
    assert joules(readings, 0.0, 4.0)[0] is None
    assert measure_energy(readings, 1, 0.0, 4.0, [])[0] is None


def test_a_power_that_is_never_told_is_the_reason_however_short_the_window() -> None:
    missing = {"power_w": "an older card"}
    readings = [make_reading(t, temperature_c=50, missing=missing) for t in at_10_hz(4)]
    for end_s in (1.5, 4.0):
        assert joules(readings, 1.0, end_s) == (None, "an older card")


def gpu_at_rest(seconds: float, **gpu: float) -> list[Reading]:
    """Readings of a card that uses 20 watts by its counter, and tells what else is given."""
    return [make_reading(t, energy_j=20 * t, **gpu) for t in at_10_hz(seconds)]


def host_reading(at_s: float, package_energy_j: float | None) -> Reading:
    missing = {} if package_energy_j is not None else {"package_energy_j": "only root may"}
    host = HostReading(package_energy_j=package_energy_j, missing=missing)
    return Reading(at_s=at_s, host=host, no_gpu="there is none")


def found(answer: tuple[EnergyFound | None, str]) -> EnergyFound:
    energy, how = answer
    assert energy is not None, how
    assert energy.method == how
    return energy


def test_energy_by_the_counter_has_its_net_and_its_uncertainty() -> None:
    readings = [make_reading(t, energy_j=150 * t) for t in at_10_hz(12)]
    energy = found(measure_energy(readings, 0, 1.0, 11.0, gpu_at_rest(3)))
    assert (energy.method, energy.scope, energy.window_s) == ("counter", "gpu", 10)
    assert energy.total_j == pytest.approx(1500)
    assert energy.idle_power_w == pytest.approx(20)
    assert energy.net_j == pytest.approx(1300)
    # 150 W for the 0.1 s that a register may be old, at two edges, and 5 percent of 1500 J
    assert energy.uncertainty_j == pytest.approx(2 * 15 + 75)


def test_an_edge_far_from_a_reading_is_less_certain() -> None:
    readings = [make_reading(t, energy_j=150 * t) for t in at_10_hz(12)]
    energy = found(measure_energy(readings, 0, 1.05, 11.0, []))
    assert energy.uncertainty_j == pytest.approx(15 + 150 * 0.15 + 0.05 * 150 * 9.95)


@pytest.mark.parametrize(
    ("high", "edges_j"),
    [((0.0, 1.0), 30 + 10), ((10.0, 99.0), 10 + 30), ((1.0, 2.0), 30 + 10), ((2.0, 9.0), 10 + 10)],
)
def test_an_edge_costs_the_higher_power_around_it_and_not_the_mean(
    high: tuple[float, float], edges_j: float
) -> None:
    """300 watts for a while, which may be before or after the window, and else 100."""
    power = [
        make_reading(t, power_w=300.0 if high[0] - 0.01 < t < high[1] + 0.01 else 100.0)
        for t in at_10_hz(12)
    ]
    energy = found(measure_energy(power, 0, 1.0, 10.0, []))
    assert energy.method == "integrated power"
    assert energy.uncertainty_j - 0.05 * energy.total_j == pytest.approx(edges_j)


@pytest.mark.parametrize(
    ("idle", "watts"),
    [
        (gpu_at_rest(3, power_w=30.0), 20),  # long enough for the counter
        (gpu_at_rest(1, power_w=30.0), 30),  # its steps would be a fifth of the time
        ([make_reading(t, energy_j=reloaded(t), power_w=30.0) for t in at_10_hz(3)], 30),
        (gpu_at_rest(1), None),
        (gpu_at_rest(0.3, power_w=30.0), None),
        ([], None),
    ],
)
def test_idle_power_is_measured_the_way_that_can_tell_so_short(
    idle: list[Reading], watts: float | None
) -> None:
    readings = [make_reading(t, energy_j=150 * t) for t in at_10_hz(10)]
    energy = found(measure_energy(readings, 0, 0.0, 10.0, idle))
    assert energy.idle_power_w == (watts if watts is None else pytest.approx(watts))
    assert energy.net_j == (watts if watts is None else pytest.approx(1500 - 10 * watts))


def test_integrated_power_takes_its_idle_from_power_too() -> None:
    readings = [make_reading(t, power_w=150.0) for t in at_10_hz(10)]
    energy = found(measure_energy(readings, 0, 0.0, 10.0, gpu_at_rest(3, power_w=30.0)))
    assert (energy.method, energy.idle_power_w) == ("integrated power", pytest.approx(30))


def test_without_a_gpu_the_processors_counter_is_read() -> None:
    readings = [host_reading(t, 40 * t) for t in at_10_hz(5)]
    idle = [host_reading(t, 5 * t) for t in at_10_hz(0.6)]
    energy = found(measure_energy(readings, None, 1.0, 1.5, idle))
    assert (energy.method, energy.scope) == ("rapl", "cpu package")
    assert energy.total_j == pytest.approx(20)
    assert (energy.idle_power_w, energy.net_j) == (pytest.approx(5), pytest.approx(17.5))
    assert energy.uncertainty_j == pytest.approx(2 * 40 * 0.001 + 0.2)


@pytest.mark.parametrize(
    ("readings", "window", "reason"),
    [
        ([host_reading(t, None) for t in at_10_hz(5)], (1.0, 4.0), "only root may"),
        ([host_reading(t, None) for t in at_10_hz(5)], (1.0, 1.1), "only root may"),
        ([host_reading(t, 7.0) for t in at_10_hz(5)], (1.0, 4.0), "does not move"),
        ([host_reading(t, t) for t in at_10_hz(5)], (1.0, 1.1), "shorter than 0.2 s"),
        ([], (1.0, 4.0), "does not move"),
    ],
)
def test_a_processor_that_cannot_tell_its_energy_says_why(
    readings: list[Reading], window: tuple[float, float], reason: str
) -> None:
    energy, why = measure_energy(readings, None, *window, [])
    assert energy is None
    assert reason in why


def test_a_gpu_that_cannot_tell_its_energy_says_why() -> None:
    readings = [make_reading(t, temperature_c=50.0) for t in at_10_hz(4)]
    assert measure_energy(readings, 0, 0.0, 4.0, []) == (
        None,
        "0 power readings in the window; 3 are needed",
    )


def test_the_counters_own_update_period_bounds_what_its_edges_cost() -> None:
    readings = [make_reading(t, energy_j=150 * t, energy_update_s=0.02) for t in at_10_hz(12)]
    energy = found(measure_energy(readings, 0, 1.0, 11.0, []))
    assert energy.uncertainty_j == pytest.approx(2 * 150 * 0.02 + 75)


def test_a_power_that_is_the_mean_of_a_second_leaves_a_second_unsure_at_each_edge() -> None:
    """What flowed before and after the window may be in it, half a second off and more."""
    watts = [900.0] * 15 + [100.0] * 35 + [300.0] * 71  # until 1.4 s, until 4.9 s, until 12 s
    readings = [make_reading(t, power_w=w) for t, w in zip(at_10_hz(12), watts, strict=True)]
    fresh = found(measure_energy(readings, 0, 2.0, 8.0, []))
    mean = found(measure_energy(readings, 0, 2.0, 8.0, [], power_reach_s=1.0))
    assert mean.total_j == fresh.total_j
    sensor_j = 0.05 * fresh.total_j
    assert fresh.uncertainty_j == pytest.approx(0.1 * (100 + 300) + sensor_j)
    assert mean.uncertainty_j == pytest.approx(460 + 1.0 * 300 + sensor_j)
    counted = [make_reading(t, energy_j=150 * t) for t in at_10_hz(12)]
    assert measure_energy(counted, 0, 2.0, 8.0, [], power_reach_s=1.0) == measure_energy(
        counted, 0, 2.0, 8.0, []
    ), "a counter is no mean"


def test_the_energy_of_a_whole_module_is_said_to_be_that() -> None:
    readings = [make_reading(t, energy_j=150 * t, power_scope="module") for t in at_10_hz(12)]
    assert found(measure_energy(readings, 0, 1.0, 11.0, [])).scope == "module"


def test_an_instance_of_mig_has_no_energy_and_says_where_it_is_counted() -> None:
    shared = {"power_w": "instances of MIG share it; see GPU 0"}
    readings = [make_reading(t, missing=shared) for t in at_10_hz(12)]
    assert measure_energy(readings, 0, 1.0, 11.0, []) == (None, shared["power_w"])
