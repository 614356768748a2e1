"""The metrics: names and units that Prometheus wants, and nothing where nothing was told."""

from __future__ import annotations

import urllib.request
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.parser import text_string_to_metric_families

from diffusion_bench.hardware.metrics import GPU, HOST, MachineCollector, serving_metrics
from diffusion_bench.records import GpuReading, HostReading, Reading

UUID = "GPU-00000000-0000-0000-0000-000000000001"
HOST_LOOK = HostReading(
    cpu_percent=25.0,
    core_percents=(10.0, 40.0),
    ram_used_mib=2.0,
    cpu_clock_mhz=2600.0,
    disk_read_mib=3.0,
)
CARD = GpuReading(
    index=1,
    name='RTX "4090"',
    uuid=UUID,
    utilization_percent=42.0,
    memory_used_mib=512.0,
    energy_j=300.0,
    power_w=0.0,
    throttle_reasons=("sw_power_cap", "hw_thermal"),
    missing={"temperature_c": "not on this card"},
)


def scrape(reading: Reading | None, now_s: float = 5.0) -> dict[str, Any]:
    """Return the samples by name and labels, through the text format and its own parser."""
    registry = CollectorRegistry()
    registry.register(MachineCollector(lambda: reading, lambda: now_s))
    text = generate_latest(registry).decode()
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_figures_come_in_base_units_with_the_card_they_are_of() -> None:
    samples = scrape(Reading(at_s=3.0, host=HOST_LOOK, gpus=(CARD,)))
    uuid = dict(next(key for key in samples if len(key) > 3)[1:])["uuid"]
    assert len(uuid) == 12
    assert uuid not in UUID

    def of_gpu(name: str) -> float:
        return next(value for key, value in samples.items() if key[0].endswith(f"gpu_{name}"))

    assert of_gpu("utilization_ratio") == pytest.approx(0.42)
    assert of_gpu("memory_used_bytes") == 512 * 2**20
    assert of_gpu("energy_joules_total") == 300.0
    assert of_gpu("power_watts") == 0.0  # told, and so there
    assert samples[("diffusion_bench_cpu_busy_ratio",)] == 0.25
    assert samples[("diffusion_bench_cpu_clock_hertz",)] == 2.6e9
    assert samples[("diffusion_bench_disk_read_bytes_total",)] == 3 * 2**20
    assert samples[("diffusion_bench_cpu_core_busy_ratio", ("core", "1"))] == 0.4
    assert samples[("diffusion_bench_reading_age_seconds",)] == 2.0


def test_what_was_not_told_has_no_sample() -> None:
    samples = scrape(Reading(at_s=3.0, host=HostReading(), gpus=(GpuReading(index=0),)))
    assert samples == {("diffusion_bench_reading_age_seconds",): 2.0}
    names = {key[0] for key in scrape(Reading(at_s=3.0, host=HOST_LOOK, gpus=(CARD,)))}
    assert not any("temperature" in name for name in names)


def test_before_the_first_reading_there_is_nothing() -> None:
    assert scrape(None) == {}


def test_each_reason_for_lower_clocks_is_a_sample() -> None:
    samples = scrape(Reading(at_s=3.0, host=HOST_LOOK, gpus=(CARD,)))
    reasons = {dict(key[1:])["reason"] for key in samples if key[0].endswith("gpu_clocks_lowered")}
    assert reasons == {"sw_power_cap", "hw_thermal"}


@pytest.mark.parametrize(("series", "record"), [(HOST, HostReading), (GPU, GpuReading)])
def test_every_metric_is_of_a_field_that_exists_and_ends_in_its_unit(
    series: Any, record: Any
) -> None:
    units = (
        "ratio",
        "bytes",
        "joules",
        "watts",
        "celsius",
        "hertz",
        "state",
        "generation",
        "lanes",
    )
    factors = {"mib": 2**20, "percent": 0.01, "mhz": 1e6}  # bytes, ratios of 1, hertz
    for each in series:
        assert each.field in record.model_fields
        assert each.name.endswith(units)
        assert each.factor == factors.get(each.field.rpartition("_")[2], 1), each.field


def test_it_is_served_on_this_machine_only_and_the_port_is_free_afterwards() -> None:
    reading = Reading(at_s=3.0, host=HOST_LOOK)
    with serving_metrics(lambda: reading, 0) as address:
        assert address.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(address) as answer:
            assert "version=" in answer.headers["Content-Type"]
            assert b"diffusion_bench_cpu_busy_ratio 0.25" in answer.read()
    port = int(address.split(":")[2].partition("/")[0])
    with serving_metrics(lambda: reading, port) as again:
        assert again == address
        with (
            pytest.raises(ValueError, match=f"port {port} is in use"),
            serving_metrics(lambda: reading, port),
        ):
            pass


def test_a_port_that_does_not_exist_is_refused_in_a_line() -> None:
    with (
        pytest.raises(ValueError, match="ports are 0 to 65535"),
        serving_metrics(lambda: None, 70_000),
    ):
        pass
