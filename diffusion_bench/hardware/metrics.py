"""The newest reading in Prometheus' text format, served to this machine only.

Names and units follow prometheus.io/docs/practices/naming: base units (bytes, joules, celsius,
hertz, ratios of 1), counters end in `_total`. What cannot be told is an absent sample, never 0.
"""

from __future__ import annotations

import errno
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from diffusion_bench.hardware.sensors import uuid_hash
from diffusion_bench.records import GpuReading, HostReading, Reading

PREFIX = "diffusion_bench"
ADDRESS = "127.0.0.1"
GPU_LABELS = ("gpu", "name", "uuid")

MIB = 2.0**20
MHZ = 1e6
PERCENT = 0.01


class Series(NamedTuple):
    """A field and its metric: `factor` base units are one of the field's. Totals are counters."""

    field: str
    name: str
    factor: float
    words: str
    total: bool = False


HOST: tuple[Series, ...] = (
    Series("cpu_percent", "cpu_busy_ratio", PERCENT, "Busy share of all cores"),
    Series("cpu_clock_mhz", "cpu_clock_hertz", MHZ, "Mean clock of the cores"),
    Series("package_energy_j", "cpu_energy_joules", 1, "Energy of the processors (RAPL)", True),
    Series("ram_used_mib", "memory_used_bytes", MIB, "Memory in use"),
    Series("ram_total_mib", "memory_size_bytes", MIB, "Memory there is"),
    Series("swap_used_mib", "swap_used_bytes", MIB, "Swap in use"),
    Series("swap_total_mib", "swap_size_bytes", MIB, "Swap there is"),
    Series("disk_free_mib", "disk_free_bytes", MIB, "Free on the working folder's disk"),
    Series("disk_read_mib", "disk_read_bytes", MIB, "Read from all disks", True),
    Series("disk_written_mib", "disk_written_bytes", MIB, "Written to all disks", True),
    Series("battery_percent", "battery_charge_ratio", PERCENT, "Charge of the battery"),
)
GPU: tuple[Series, ...] = (
    Series("utilization_percent", "gpu_utilization_ratio", PERCENT, "Share of time any kernel ran"),
    Series(
        "memory_utilization_percent",
        "gpu_memory_utilization_ratio",
        PERCENT,
        "Share of time in which the GPU's memory was read or written",
    ),
    Series("memory_used_mib", "gpu_memory_used_bytes", MIB, "Memory of the GPU in use"),
    Series("memory_total_mib", "gpu_memory_size_bytes", MIB, "Memory of the GPU"),
    Series("power_w", "gpu_power_watts", 1, "Power now"),
    Series("power_limit_w", "gpu_power_limit_watts", 1, "Power limit in force"),
    Series("energy_j", "gpu_energy_joules", 1, "Energy since the driver was loaded", True),
    Series("temperature_c", "gpu_temperature_celsius", 1, "Temperature of the GPU"),
    Series("sm_clock_mhz", "gpu_sm_clock_hertz", MHZ, "Clock of the multiprocessors"),
    Series("memory_clock_mhz", "gpu_memory_clock_hertz", MHZ, "Clock of the GPU's memory"),
    Series("fan_percent", "gpu_fan_speed_ratio", PERCENT, "Fan speed that is asked for"),
    Series("performance_state", "gpu_performance_state", 1, "P-state, 0 is the fastest"),
    Series("pcie_generation_now", "gpu_pcie_generation", 1, "Generation of the PCIe link now"),
    Series("pcie_width_now", "gpu_pcie_lanes", 1, "Lanes of the PCIe link now"),
)


class MachineCollector(Collector):
    """Turns the newest reading into metrics at each scrape; a scrape reads no sensor.

    `latest` returns the newest reading, `None` before the first; `clock` is that of its `at_s`.
    """

    def __init__(
        self, latest: Callable[[], Reading | None], clock: Callable[[], float] = time.perf_counter
    ) -> None:
        self._latest = latest
        self._clock = clock

    def collect(self) -> Iterator[Metric]:
        """Yield every metric that has a sample."""
        reading = self._latest()
        if reading is None:
            return
        age = GaugeMetricFamily(f"{PREFIX}_reading_age_seconds", "How old the readings are")
        age.add_metric([], self._clock() - reading.at_s)
        yield age
        families = [
            *(_family(series, (), [((), reading.host)]) for series in HOST),
            _cores(reading.host),
            *(_family(s, GPU_LABELS, [(_labels(gpu), gpu) for gpu in reading.gpus]) for s in GPU),
            _slowing(reading.gpus),
        ]
        yield from (family for family in families if family.samples)


@contextmanager
def serving_metrics(latest: Callable[[], Reading | None], port: int) -> Iterator[str]:
    """Serve the newest reading while the block runs; yields the address. Port 0 takes a free one.

    Raises ValueError where nothing can listen there.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(MachineCollector(latest))
    try:
        server, thread = start_http_server(port, ADDRESS, registry)
    except OverflowError:
        raise ValueError(f"port {port} does not exist; ports are 0 to 65535") from None
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise ValueError(f"port {port} is in use; --prometheus 0 takes a free one") from None
        raise ValueError(f"cannot listen on port {port}: {error.strerror}") from None
    try:
        yield f"http://{ADDRESS}:{server.server_port}/metrics"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _family(
    series: Series,
    labels: tuple[str, ...],
    records: Iterable[tuple[tuple[str, ...], HostReading | GpuReading]],
) -> Metric:
    kind = CounterMetricFamily if series.total else GaugeMetricFamily
    family = kind(f"{PREFIX}_{series.name}", series.words, labels=labels)
    for values, record in records:
        value = getattr(record, series.field)
        if value is not None:
            family.add_metric(values, value * series.factor)
    return family


def _cores(host: HostReading) -> Metric:
    words = "Busy share of one logical core"
    family = GaugeMetricFamily(f"{PREFIX}_cpu_core_busy_ratio", words, labels=["core"])
    for core, percent in enumerate(host.core_percents or ()):
        family.add_metric([str(core)], percent * PERCENT)
    return family


def _slowing(gpus: Iterable[GpuReading]) -> Metric:
    """Return 1 for each reason that lowers a GPU's clocks now."""
    name, words = f"{PREFIX}_gpu_clocks_lowered", "1 for each reason that lowers the clocks now"
    family = GaugeMetricFamily(name, words, labels=[*GPU_LABELS, "reason"])
    for gpu in gpus:
        for reason in gpu.throttle_reasons or ():
            family.add_metric([*_labels(gpu), reason], 1)
    return family


def _labels(gpu: GpuReading) -> tuple[str, ...]:
    return str(gpu.index), gpu.name or "", uuid_hash(gpu.uuid) if gpu.uuid else ""
