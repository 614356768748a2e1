"""What of a reading is shown to people: each quantity with its unit, its field and its bound.

The page, the terminal and the charts read these tables, so that a figure has one name everywhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from diffusion_bench.hardware.trace import find_look
from diffusion_bench.records import GpuReading, HostReading, Reading

CANNOT_TELL = "cannot tell"
MIB_PER_GIB = 1024
WHOLE_FROM = 1000  # from here on, figures are shown without decimals


class Quantity(NamedTuple):
    """One figure. `per_unit` is how much of the field makes one of `unit`.

    `limit_field` names the field with the most it can be, `top` is that most where it is known.
    """

    title: str
    unit: str
    field: str
    per_unit: float = 1.0
    limit_field: str | None = None
    top: float | None = None


HOST: tuple[Quantity, ...] = (
    Quantity("CPU", "%", "cpu_percent", top=100),
    Quantity("CPU clock", "MHz", "cpu_clock_mhz"),
    Quantity("memory in use", "GiB", "ram_used_mib", MIB_PER_GIB, "ram_total_mib"),
    Quantity("swap in use", "GiB", "swap_used_mib", MIB_PER_GIB, "swap_total_mib"),
    Quantity("disk free", "GiB", "disk_free_mib", MIB_PER_GIB),
    Quantity("battery", "%", "battery_percent", top=100),
)
GPU: tuple[Quantity, ...] = (
    Quantity("use", "%", "utilization_percent", top=100),
    Quantity("memory in use", "GiB", "memory_used_mib", MIB_PER_GIB, "memory_total_mib"),
    Quantity("power", "W", "power_w", 1.0, "power_limit_w"),
    Quantity("temperature", "°C", "temperature_c"),
    Quantity("SM clock", "MHz", "sm_clock_mhz"),
    Quantity("memory clock", "MHz", "memory_clock_mhz"),
    Quantity("fan", "%", "fan_percent", top=100),
)


class Shown(NamedTuple):
    """A row for people. `values` is the history that `now` ends, `None` where there was none."""

    title: str
    now: str
    unit: str = ""
    values: tuple[float | None, ...] = ()
    top: float | None = None


def value_of(record: HostReading | GpuReading | None, quantity: Quantity) -> float | None:
    """Return the figure in the quantity's unit, `None` where it was not told."""
    value = getattr(record, quantity.field, None)
    return None if value is None else value / quantity.per_unit


def limit_of(record: HostReading | GpuReading | None, quantity: Quantity) -> float | None:
    """Return the most that the figure can be, `None` where that is not known."""
    if quantity.limit_field is None:
        return quantity.top
    limit = getattr(record, quantity.limit_field, None)
    return None if limit is None else limit / quantity.per_unit


def gpu_title(gpu: GpuReading) -> str:
    """Return what a GPU is called; an instance of MIG is named with its card."""
    part = "" if gpu.parent_index is None else f" of GPU {gpu.parent_index}"
    return f"GPU {gpu.index}{part} {gpu.name or ''}".strip()


def host_rows(readings: Sequence[Reading]) -> list[Shown]:
    """Return every quantity of the host at the newest reading, with its history."""
    hosts = [reading.host for reading in readings]
    rows = [_row(quantity, hosts) for quantity in HOST]
    cores = hosts[-1].core_percents
    if cores is None:
        now = _reason(hosts[-1], "core_percents")
    else:
        now = (
            f"busiest {max(cores):.1f} %, {sum(core >= 50 for core in cores)} of {len(cores)} busy"
        )
    busiest = tuple(max(host.core_percents) if host.core_percents else None for host in hosts)
    return [rows[0], Shown("CPU cores", now, "%", busiest, 100.0), *rows[1:]]


def gpu_rows(readings: Sequence[Reading], index: int) -> list[Shown]:
    """Return every quantity of one GPU at the newest reading, which must have it."""
    gpus = [find_look(reading, index) for reading in readings]
    newest = gpus[-1]
    if newest is None:
        return []
    rows = [_row(quantity, gpus) for quantity in GPU]
    state, why = newest.performance_state, _reason(newest, "performance_state")
    rows.append(Shown("performance state", why if state is None else f"P{state}"))
    rows.append(Shown("PCIe link", _link(newest)))
    rows.append(Shown("clocks lowered by", _slowing(newest)))
    programs = newest.processes
    count = _reason(newest, "processes") if programs is None else str(len(programs))
    return [*rows, Shown("programs", count)]


def spread(row: Shown) -> str:
    """Return the least and the most of a row's history, empty where nothing was told."""
    known = [value for value in row.values if value is not None]
    if not known:
        return ""
    least, most = _digits(min(known)), _digits(max(known))
    return f"{least} {row.unit}" if least == most else f"{least} to {most} {row.unit}"


def _row(quantity: Quantity, records: Sequence[HostReading | GpuReading | None]) -> Shown:
    newest = records[-1]
    value, limit = value_of(newest, quantity), limit_of(newest, quantity)
    if value is None:
        now = _reason(newest, quantity.field)
    elif quantity.limit_field and limit is not None:
        now = f"{_digits(value)} of {_digits(limit)} {quantity.unit}"
    else:
        now = f"{_digits(value)} {quantity.unit}"
    values = tuple(value_of(record, quantity) for record in records)
    return Shown(quantity.title, now, quantity.unit, values, limit)


def _reason(record: HostReading | GpuReading | None, field: str) -> str:
    reason = None if record is None else record.missing.get(field)
    return f"{CANNOT_TELL}: {reason or 'no reason given'}"


def _digits(value: float) -> str:
    return f"{value:.0f}" if abs(value) >= WHOLE_FROM else f"{value:.1f}"


def _link(gpu: GpuReading) -> str:
    generation, width = gpu.pcie_generation_now, gpu.pcie_width_now
    if generation is None:
        return _reason(gpu, "pcie_generation_now")
    lanes = "unknown" if width is None else str(width)
    return f"generation {generation}, {lanes} lanes now"


def _slowing(gpu: GpuReading) -> str:
    reasons = gpu.throttle_reasons
    if reasons is None:
        return _reason(gpu, "throttle_reasons")
    return ", ".join(reasons) or "nothing"
