"""Looks at the machine: one, and a run of them."""

from __future__ import annotations

from diffusion_bench.records.base import Record


class GpuReading(Record):
    """One look at one GPU. `missing` maps each field that is `None` to its reason."""

    index: int
    name: str | None = None
    uuid: str | None = None
    utilization_percent: float | None = None
    memory_used_mib: float | None = None
    memory_total_mib: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    energy_j: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    throttle_reasons: tuple[str, ...] | None = None
    missing: dict[str, str] = {}


class HostReading(Record):
    """One look at the host. `rss_mib` is of the process that was asked about.

    `package_energy_j` is the processor's own energy counter (RAPL), a running total.
    """

    cpu_percent: float | None = None
    package_energy_j: float | None = None
    cpu_clock_mhz: float | None = None
    ram_used_mib: float | None = None
    ram_total_mib: float | None = None
    rss_mib: float | None = None
    missing: dict[str, str] = {}


class Reading(Record):
    """One look at the machine. `at_s`: `time.perf_counter()`; `no_gpu`: why `gpus` is empty."""

    at_s: float
    host: HostReading
    gpus: tuple[GpuReading, ...] = ()
    no_gpu: str | None = None


class GpuTrace(Record):
    """The readings of one GPU over a run, a value a reading, `None` where it could not tell."""

    index: int
    name: str | None = None
    utilization_percent: tuple[float | None, ...] = ()
    memory_used_mib: tuple[float | None, ...] = ()
    power_w: tuple[float | None, ...] = ()
    temperature_c: tuple[float | None, ...] = ()
    sm_clock_mhz: tuple[float | None, ...] = ()


class Trace(Record):
    """The readings of a run as columns; `at_s` counts from the run's start."""

    at_s: tuple[float, ...] = ()
    cpu_percent: tuple[float | None, ...] = ()
    ram_used_mib: tuple[float | None, ...] = ()
    rss_mib: tuple[float | None, ...] = ()
    gpus: tuple[GpuTrace, ...] = ()
    no_gpu: str | None = None
