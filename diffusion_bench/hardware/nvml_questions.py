"""What NVML is asked about a GPU: a table of fields, each with the ways to ask for it.

FIXED   never changes, asked once         LIVE        asked at every look
CARD    what the card may do and may use  PROCESSES   who is on it
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pynvml

MIB = 2**20

Handle = Any  # pynvml's device pointer
Question = Callable[[Handle], Any]
Ways = tuple[tuple[str, Question], ...]  # the first that answers wins

THROTTLE_REASONS = {
    pynvml.nvmlClocksEventReasonGpuIdle: "gpu_idle",
    pynvml.nvmlClocksEventReasonApplicationsClocksSetting: "applications_clocks",
    pynvml.nvmlClocksEventReasonSwPowerCap: "sw_power_cap",
    pynvml.nvmlClocksEventReasonHwSlowdown: "hw_slowdown",
    pynvml.nvmlClocksEventReasonSyncBoost: "sync_boost",
    pynvml.nvmlClocksEventReasonSwThermalSlowdown: "sw_thermal",
    pynvml.nvmlClocksEventReasonHwThermalSlowdown: "hw_thermal",
    pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown: "hw_power_brake",
    pynvml.nvmlClocksEventReasonDisplayClockSetting: "display_clock",
}


def throttle_names(bits: int) -> tuple[str, ...]:
    """Return the names of the reasons in NVML's bit mask; a bit without a name keeps its number."""
    masks = (1 << place for place in range(bits.bit_length()))
    return tuple(THROTTLE_REASONS.get(mask, f"reason_{mask:#x}") for mask in masks if bits & mask)


def as_text(value: str | bytes) -> str:
    """Return a name as text: older drivers and bindings hand out bytes."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _field_w(field: int) -> Question:
    """Return the question for a power field; a field value carries its own return code."""

    def ask(handle: Handle) -> float:
        value = pynvml.nvmlDeviceGetFieldValues(handle, [field])[0]
        if value.nvmlReturn != pynvml.NVML_SUCCESS:
            raise pynvml.NVMLError(value.nvmlReturn)
        return float(value.value.uiVal) / 1000

    return ask


def _memory_mib(part: str, version: int | None) -> Question:
    def ask(handle: Handle) -> float:
        return float(getattr(pynvml.nvmlDeviceGetMemoryInfo(handle, version), part)) / MIB

    return ask


def _clock_mhz(clock: int) -> Question:
    return lambda handle: float(pynvml.nvmlDeviceGetClockInfo(handle, clock))


def _power_limit_w(handle: Handle) -> float:
    return float(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)) / 1000


def _temperature_c(handle: Handle) -> float:
    return float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def _utilization_percent(handle: Handle) -> float:
    return float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)


def _energy_j(handle: Handle) -> float:
    return float(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)) / 1000


def _default_limit_w(handle: Handle) -> float:
    return float(pynvml.nvmlDeviceGetPowerManagementDefaultLimit(handle)) / 1000


def _display_active(handle: Handle) -> bool:
    return bool(pynvml.nvmlDeviceGetDisplayActive(handle) == pynvml.NVML_FEATURE_ENABLED)


def _event_reasons(handle: Handle) -> tuple[str, ...]:
    return throttle_names(pynvml.nvmlDeviceGetCurrentClocksEventReasons(handle))


def _throttle_reasons(handle: Handle) -> tuple[str, ...]:
    return throttle_names(pynvml.nvmlDeviceGetCurrentClocksThrottleReasons(handle))


def _compute_pids(handle: Handle) -> set[int]:
    return {process.pid for process in pynvml.nvmlDeviceGetComputeRunningProcesses(handle)}


def _graphics_pids(handle: Handle) -> set[int]:
    return {process.pid for process in pynvml.nvmlDeviceGetGraphicsRunningProcesses(handle)}


# On WSL 2, version 2 of the memory question fails and version 1 answers.
FIXED: dict[str, Ways] = {
    "name": (("nvml", lambda handle: as_text(pynvml.nvmlDeviceGetName(handle))),),
    "uuid": (("nvml", lambda handle: as_text(pynvml.nvmlDeviceGetUUID(handle))),),
    "memory_total_mib": (
        ("nvml v2", _memory_mib("total", pynvml.nvmlMemory_v2)),
        ("nvml v1", _memory_mib("total", None)),
    ),
}
LIVE: dict[str, Ways] = {
    "utilization_percent": (("nvml", _utilization_percent),),
    "memory_used_mib": (
        ("nvml v2", _memory_mib("used", pynvml.nvmlMemory_v2)),
        ("nvml v1", _memory_mib("used", None)),
    ),
    "power_w": (
        ("instant", _field_w(pynvml.NVML_FI_DEV_POWER_INSTANT)),
        ("average", lambda handle: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
    ),
    "power_limit_w": (("nvml", _power_limit_w),),
    "energy_j": (("nvml", _energy_j),),
    "temperature_c": (("nvml", _temperature_c),),
    # The same bits under an older name, for drivers before the newer one.
    "throttle_reasons": (
        ("event reasons", _event_reasons),
        ("throttle reasons", _throttle_reasons),
    ),
    "sm_clock_mhz": (("nvml", _clock_mhz(pynvml.NVML_CLOCK_SM)),),
    "memory_clock_mhz": (("nvml", _clock_mhz(pynvml.NVML_CLOCK_MEM)),),
}
# A link idles at generation 1 to save power, so what it can do is asked, not what it does.
CARD: dict[str, Ways] = {
    "pcie_generation": (("nvml", lambda h: int(pynvml.nvmlDeviceGetMaxPcieLinkGeneration(h))),),
    "pcie_width": (("nvml", lambda h: int(pynvml.nvmlDeviceGetMaxPcieLinkWidth(h))),),
    "power_limit_default_w": (("nvml", _default_limit_w),),
    "display_active": (("nvml", _display_active),),
}
PROCESSES: dict[str, Ways] = {
    "compute": (("nvml", _compute_pids),),
    "graphics": (("nvml", _graphics_pids),),
}
