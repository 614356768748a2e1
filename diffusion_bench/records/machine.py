"""Looks at the machine: one, and a run of them."""

from __future__ import annotations

from typing import Literal

from diffusion_bench.records.base import Record


class GpuProcess(Record):
    """A program on a GPU. `memory_mib` is `None` where the driver does not tell it."""

    pid: int
    memory_mib: float | None = None


class GpuReading(Record):
    """One look at one GPU. `missing` maps each field that is `None` to its reason.

    An instance of a card that is split by MIG is a GPU of its own, and `parent_index` is its
    card's. `utilization_percent` is the share of the time in which any kernel ran,
    `memory_utilization_percent` that in which its memory was read or written. `performance_state`
    is 0 at the fastest. `energy_update_s` is how often the counter of `energy_j` moves;
    `power_scope` says what power and energy are of: a Grace Hopper counts its whole module.
    """

    index: int
    parent_index: int | None = None
    name: str | None = None
    uuid: str | None = None
    utilization_percent: float | None = None
    memory_utilization_percent: float | None = None
    memory_used_mib: float | None = None
    memory_total_mib: float | None = None
    power_w: float | None = None
    power_limit_w: float | None = None
    power_scope: Literal["gpu", "module"] | None = None
    energy_j: float | None = None
    energy_update_s: float | None = None
    temperature_c: float | None = None
    sm_clock_mhz: float | None = None
    memory_clock_mhz: float | None = None
    performance_state: int | None = None
    throttle_reasons: tuple[str, ...] | None = None
    pcie_generation_now: int | None = None
    pcie_width_now: int | None = None
    fan_percent: float | None = None
    processes: tuple[GpuProcess, ...] | None = None
    missing: dict[str, str] = {}


class HostReading(Record):
    """One look at the host. `rss_mib` is of the process that was asked about.

    `package_energy_j` is the processor's own energy counter (RAPL), a running total, and so are
    `disk_read_mib` and `disk_written_mib`. `disk_free_mib` is of the working folder's disk.
    """

    cpu_percent: float | None = None
    core_percents: tuple[float, ...] | None = None
    package_energy_j: float | None = None
    cpu_clock_mhz: float | None = None
    ram_used_mib: float | None = None
    ram_total_mib: float | None = None
    swap_used_mib: float | None = None
    swap_total_mib: float | None = None
    rss_mib: float | None = None
    disk_free_mib: float | None = None
    disk_read_mib: float | None = None
    disk_written_mib: float | None = None
    battery_percent: float | None = None
    on_battery: bool | None = None
    missing: dict[str, str] = {}


class Reading(Record):
    """One look at the machine. `at_s`: `time.perf_counter()`; `no_gpu`: why `gpus` is empty.

    `gap_s` is how long there was no look before this one, where the sampler missed some of its
    pace; `None` where it missed none.
    """

    at_s: float
    host: HostReading
    gpus: tuple[GpuReading, ...] = ()
    no_gpu: str | None = None
    gap_s: float | None = None


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


class MachineState(Record):
    """What the machine did just before a cell, when it should have done nothing.

    `gpu_*` are of the GPU that the cell runs on; `other_gpu_processes` are those on it that are not
    this program's. `cpu_percent`, `gpu_utilization_percent` and `gpu_power_w` are means, the other
    figures the last ones; this program's own share of `cpu_percent` is taken off it, where the
    system told it. `missing` maps each field that is `None` to its reason.
    """

    cpu_percent: float | None = None
    on_battery: bool | None = None
    other_gpu_processes: int | None = None
    gpu_utilization_percent: float | None = None
    gpu_temperature_c: float | None = None
    gpu_power_w: float | None = None
    gpu_power_limit_w: float | None = None
    gpu_sm_clock_mhz: float | None = None
    gpu_throttle_reasons: tuple[str, ...] | None = None
    missing: dict[str, str] = {}


class CpuSpent(Record):
    """The processor seconds of processes, their threads together, from a moment to a later one.

    Moments are of `time.perf_counter`.
    """

    start_s: float
    end_s: float
    cpu_s: float


class OtherLoad(Record):
    """What other programs did while a cell's calls ran.

    `cpu_percent` is the load of the whole processor less that of the cell's own process: of the
    visit, or of the calls after the timed ones, in which it was largest. `gpu_processes` are the
    most others that computed on the cell's GPU from just before it to its end. `missing` maps each
    field that is `None` to its reason.
    """

    cpu_percent: float | None = None
    gpu_processes: int | None = None
    missing: dict[str, str] = {}
