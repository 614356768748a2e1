"""Whether the machine rested before a cell, and whether it was disturbed or slowed during it."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from diffusion_bench.hardware.state import (
    is_contended,
    is_throttled,
    look_before,
    on_battery,
    other_load,
    throttle_share,
)
from diffusion_bench.records import (
    CpuSpent,
    GpuReading,
    HostReading,
    MachineState,
    OtherLoad,
    Reading,
)

NOBODY = (0, "")


def make_reading(at_s: float, cpu_percent: float | None = None, **gpu: Any) -> Reading:
    missing = {} if cpu_percent is not None else {"cpu_percent": "this is the first look"}
    host = HostReading(cpu_percent=cpu_percent, missing=missing)
    return Reading(at_s=at_s, host=host, gpus=(GpuReading(index=1, **gpu),) if gpu else ())


def throttled(*looks: tuple[str, ...] | None) -> list[Reading]:
    return [
        make_reading(float(i), power_w=50.0, throttle_reasons=reasons)
        for i, reasons in enumerate(looks)
    ]


def test_loads_are_means_and_the_rest_is_the_last_that_was_told() -> None:
    readings = [
        make_reading(0.0, power_w=10.0, utilization_percent=0.0, temperature_c=40.0),
        make_reading(0.1, 4.0, power_w=30.0, utilization_percent=8.0, temperature_c=42.0),
        make_reading(0.2, 6.0, power_w=20.0, sm_clock_mhz=210.0, throttle_reasons=("gpu_idle",)),
    ]
    look = look_before(readings, 1, (2, ""), on_battery=False)
    assert look == MachineState(
        cpu_percent=5,
        on_battery=False,
        other_gpu_processes=2,
        gpu_utilization_percent=4,
        gpu_temperature_c=42,
        gpu_power_w=20,
        gpu_power_limit_w=None,
        gpu_sm_clock_mhz=210,
        gpu_throttle_reasons=("gpu_idle",),
        missing={"gpu_power_limit_w": "there was no reading of the machine before the cell"},
    )


def test_every_field_that_is_none_has_its_reason() -> None:
    silent = GpuReading(index=1, missing={"power_w": "too old"})
    told = Reading(at_s=0.0, host=HostReading(), gpus=(silent,))
    for readings, gpu_index in (([], 1), ([], None), ([make_reading(0.0)], None), ([told], 1)):
        look = look_before(readings, gpu_index, (None, "the numbers do not match"), None)
        fields = look.model_dump(exclude={"missing"})
        assert set(look.missing) == {name for name, value in fields.items() if value is None}
        assert all(look.missing.values())
    assert look.missing["gpu_power_w"] == "too old"
    assert look.missing["other_gpu_processes"] == "the numbers do not match"


def test_a_cell_without_a_gpu_has_no_gpu_before_it_even_if_the_machine_has_one() -> None:
    look = look_before([make_reading(0.0, 3.0, power_w=30.0)], None, (5, ""), on_battery=False)
    assert (look.cpu_percent, look.gpu_power_w, look.other_gpu_processes) == (3, None, None)
    assert look.missing["gpu_power_w"] == "the cell runs on no GPU that can be read"


def test_the_other_cards_of_the_machine_are_not_looked_at() -> None:
    look = look_before([make_reading(0.0, 3.0, power_w=30.0)], 0, NOBODY, on_battery=False)
    assert look.gpu_power_w is None


def test_the_share_of_a_reason_is_of_the_looks_that_told() -> None:
    readings = throttled((), ("sw_power_cap",), ("sw_power_cap", "hw_thermal"), ("gpu_idle",), None)
    assert throttle_share(readings, 1) == {"hw_thermal": 0.25, "sw_power_cap": 0.5}


def test_a_card_that_cannot_tell_its_reasons_has_no_shares() -> None:
    assert throttle_share(throttled(None, None), 1) == {}
    assert throttle_share(throttled(("hw_thermal",)), 0) == {}
    assert throttle_share(throttled(("hw_thermal",)), None) == {}


@pytest.mark.parametrize(
    ("shares", "answer"),
    [
        ({"sw_thermal": 0.06}, True),
        ({"hw_thermal": 0.06}, True),
        ({"hw_power_brake": 0.06}, True),
        ({"hw_slowdown": 0.06}, True),
        ({"hw_thermal": 0.05}, False),
        ({"sw_power_cap": 1.0, "applications_clocks": 1.0}, False),
        ({}, False),
    ],
)
def test_heat_and_brakes_label_a_cell_and_the_stock_power_limit_does_not(
    shares: dict[str, float], answer: bool
) -> None:
    assert is_throttled(shares) is answer


@pytest.mark.parametrize(
    ("state", "cores", "reason"),
    [
        ({"other_gpu_processes": 1}, 8, "1 other program was on the GPU before the cell"),
        ({"other_gpu_processes": 2}, 8, "2 other programs were on the GPU before the cell"),
        ({"gpu_utilization_percent": 35.0}, 8, "the GPU was 35 % busy before the cell"),
        ({"cpu_percent": 50.0}, 2, "the processor was 50 % busy before the cell"),
        ({"cpu_percent": 13.0}, 2, "the processor was 13 % busy before the cell"),
        ({"cpu_percent": 11.0}, 16, "the processor was 11 % busy before the cell"),
        ({"cpu_percent": 12.0}, 2, None),
        ({"cpu_percent": 9.0}, 16, None),
        ({"other_gpu_processes": 0, "gpu_utilization_percent": 9.0}, 8, None),
        ({}, 8, None),
    ],
)
def test_a_machine_at_work_is_named_with_the_reason_and_one_at_rest_is_not(
    state: dict[str, Any], cores: int, reason: str | None
) -> None:
    assert is_contended(MachineState(**state), cores) == reason


def loads(*percents: float | None) -> list[Reading]:
    """Return a look a tenth of a second from second 10 on; the first is of what was before."""
    return [
        Reading(at_s=10 + 0.1 * number, host=HostReading(cpu_percent=percent))
        for number, percent in enumerate(percents)
    ]


def test_what_others_took_is_the_machines_load_less_the_cells_own_share() -> None:
    own = CpuSpent(start_s=10.1, end_s=10.5, cpu_s=0.4)  # of 0.8 on two cores: half
    told = other_load(loads(0, 99, 90, 80, 90, 80, 0), [own], (0, ""), 2)
    assert told.cpu_percent == pytest.approx(35.0)
    assert (told.gpu_processes, told.missing) == (0, {})
    alone = other_load(loads(0, 99, 50, 49, 50, 49, 0), [own], (0, ""), 2)
    assert alone.cpu_percent == 0.0, "a clock that disagrees a little makes no negative load"


def test_this_programs_own_threads_are_taken_off_the_load_before_a_cell() -> None:
    # The first look is of the time before: the model still spoke in it.
    readings = loads(95, 20, 30, 20, 30, 25)
    own = CpuSpent(start_s=10.0, end_s=10.5, cpu_s=0.2)  # a fifth of two cores for half a second
    look = look_before(readings, None, NOBODY, None, own=own, cores=2)
    assert look.cpu_percent == pytest.approx(5.0)
    assert is_contended(look, 2) is None
    others = look_before(loads(95, 60, 60, 60, 60, 60), None, NOBODY, None, own=own, cores=2)
    assert is_contended(others, 2) == "the processor was 40 % busy before the cell"


@pytest.mark.parametrize(
    "own", [None, CpuSpent(start_s=10.0, end_s=10.1, cpu_s=0.1)], ids=["not told", "too short"]
)
def test_without_this_programs_own_time_the_whole_load_counts(own: CpuSpent | None) -> None:
    look = look_before(loads(10, 20, 30), None, NOBODY, None, own=own, cores=2)
    assert look.cpu_percent == pytest.approx(20.0)


def test_readings_beside_the_calls_count_by_what_they_have_of_them_and_silent_ones_do_not() -> None:
    own = CpuSpent(start_s=10.05, end_s=10.35, cpu_s=0.0)
    told = other_load(loads(0, 40, None, 10, 20), [own], (0, ""), 4)
    # 0.05 s at 40, 0.2 s at what the look after the silent one tells of both, 0.05 s at 20.
    assert told.cpu_percent == pytest.approx((0.05 * 40 + 0.2 * 10 + 0.05 * 20) / 0.3)


def test_the_stretch_in_which_others_took_most_counts() -> None:
    quiet = CpuSpent(start_s=10.0, end_s=10.3, cpu_s=0.3)
    beside = CpuSpent(start_s=10.3, end_s=10.6, cpu_s=0.3)
    told = other_load(loads(0, 50, 50, 50, 90, 90, 90), [quiet, beside], (0, ""), 2)
    assert told.cpu_percent == pytest.approx(40.0)


@pytest.mark.parametrize(
    ("readings", "spent", "why"),
    [
        (loads(*[90] * 9), (), "did not tell"),
        (loads(*[90] * 9), [CpuSpent(start_s=10.1, end_s=10.3, cpu_s=0.1)], "less than 0.25 s"),
        (loads(90, 90), [CpuSpent(start_s=10.0, end_s=10.8, cpu_s=0.1)], "nobody looked"),
        ([], [CpuSpent(start_s=10.0, end_s=10.8, cpu_s=0.1)], "nobody looked"),
    ],
)
def test_what_others_took_has_a_reason_where_it_cannot_be_told(readings, spent, why) -> None:
    told = other_load(readings, spent, (None, "a container"), 2)
    assert (told.cpu_percent, told.gpu_processes) == (None, None)
    assert why in told.missing["cpu_percent"]
    assert told.missing["gpu_processes"] == "a container"


@pytest.mark.parametrize(
    ("others", "cores", "reason"),
    [
        ({"gpu_processes": 1}, 8, "1 other program was on the GPU while it ran"),
        ({"cpu_percent": 34.0}, 2, "other programs took 34 % of the processor while it ran"),
        ({"cpu_percent": 12.0}, 2, None),
        ({"gpu_processes": 0, "cpu_percent": 9.0}, 16, None),
        ({}, 2, None),
    ],
)
def test_a_machine_that_others_use_while_a_cell_runs_is_contended_though_it_was_at_rest(
    others: dict[str, Any], cores: int, reason: str | None
) -> None:
    quiet = MachineState(cpu_percent=1.0, other_gpu_processes=0)
    assert is_contended(quiet, cores, OtherLoad(**others)) == reason


def test_the_battery_is_told_or_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    assert on_battery() in (True, False, None)
    for plugged, told in ((True, False), (False, True), (None, None)):
        battery = SimpleNamespace(percent=61, power_plugged=plugged)
        monkeypatch.setattr("psutil.sensors_battery", lambda one=battery: one, raising=False)
        assert on_battery() is told

    def broken() -> None:
        raise RuntimeError("no such file")

    monkeypatch.setattr("psutil.sensors_battery", broken, raising=False)
    assert on_battery() is None
