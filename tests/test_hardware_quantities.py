"""The rows that people are shown."""

from __future__ import annotations

from typing import Any

from diffusion_bench.hardware.quantities import Shown, gpu_rows, gpu_title, host_rows, spread
from diffusion_bench.records import GpuProcess, GpuReading, HostReading, Reading


def make_reading(at_s: float, host: dict[str, Any], *gpus: GpuReading) -> Reading:
    return Reading(at_s=at_s, host=HostReading(**host), gpus=gpus)


def by_title(rows: list[Shown]) -> dict[str, Shown]:
    return {row.title: row for row in rows}


def test_a_figure_has_its_unit_its_bound_and_its_history() -> None:
    rows = by_title(
        host_rows(
            [
                make_reading(1.0, {"cpu_percent": 5.0, "ram_used_mib": 512.0}),
                make_reading(
                    2.0,
                    {
                        "cpu_percent": 50.0,
                        "ram_used_mib": 2048.0,
                        "ram_total_mib": 8192.0,
                        "core_percents": (10.0, 90.0),
                        "cpu_clock_mhz": 2600.4,
                    },
                ),
            ]
        )
    )
    assert (rows["CPU"].now, spread(rows["CPU"])) == ("50.0 %", "5.0 to 50.0 %")
    assert rows["CPU"].values == (5.0, 50.0)
    assert rows["memory in use"].now == "2.0 of 8.0 GiB"
    assert rows["memory in use"].top == 8.0
    assert spread(rows["memory in use"]) == "0.5 to 2.0 GiB"
    assert rows["CPU cores"].now == "busiest 90.0 %, 1 of 2 busy"
    assert rows["CPU clock"].now == "2600 MHz"
    assert spread(rows["CPU clock"]) == "2600 MHz"


def test_what_cannot_be_told_has_its_reason_and_no_spread() -> None:
    missing = {"cpu_percent": "the first look", "core_percents": "the first look"}
    rows = by_title(host_rows([make_reading(1.0, {"missing": missing})]))
    assert rows["CPU"].now == rows["CPU cores"].now == "cannot tell: the first look"
    assert spread(rows["CPU"]) == ""
    assert rows["battery"].now == "cannot tell: no reason given"


def test_a_gpu_has_every_quantity_and_a_look_without_it_is_a_hole() -> None:
    gpu = GpuReading(
        index=1,
        name="RTX",
        power_w=100.0,
        power_limit_w=200.0,
        performance_state=2,
        pcie_generation_now=4,
        pcie_width_now=16,
        throttle_reasons=("hw_thermal",),
        processes=(GpuProcess(pid=1),),
        missing={"fan_percent": "no fan"},
    )
    rows = by_title(gpu_rows([make_reading(1.0, {}), make_reading(2.0, {}, gpu)], 1))
    assert rows["power"].now == "100.0 of 200.0 W"
    assert rows["power"].values == (None, 100.0)
    assert rows["performance state"].now == "P2"
    assert rows["PCIe link"].now == "generation 4, 16 lanes now"
    assert rows["clocks lowered by"].now == "hw_thermal"
    assert rows["programs"].now == "1"
    assert rows["fan"].now == "cannot tell: no fan"


def test_an_instance_of_mig_is_named_with_its_card() -> None:
    instance = GpuReading(index=2, parent_index=0, name="A100 MIG 1g.5gb")
    assert gpu_title(instance) == "GPU 2 of GPU 0 A100 MIG 1g.5gb"
