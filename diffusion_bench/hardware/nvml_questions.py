"""What NVML is asked about a GPU: a table of fields, each with the ways to ask for it.

FIXED   never changes, asked once         LIVE        asked at every look: what a trace keeps
CARD    what the card may do and may use  SELDOM      asked once a second
PROCESSES   who is on it                  INSTANCE    what an instance of MIG has of its own
MODULE      LIVE of a chip whose energy counter is its whole module's
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psutil
import pynvml

from diffusion_bench.records import GpuProcess

MIB = 2**20
UNIFIED = "host memory, which the GPU shares"

Handle = Any  # pynvml's device pointer
Question = Callable[[Handle], Any]
Ways = tuple[tuple[str, Question], ...]  # the first that answers wins

# What a GPU or its driver will answer to this question for ever.
REFUSALS = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)

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


def power_scope(name: str) -> str:
    """Return what power and energy of a card of that name are of: its `gpu`, or the `module`.

    A Grace Hopper counts processor, memory and GPU together (ml-energy/zeus, issues 172 and 242).
    """
    return "module" if "GH200" in name.split() else "gpu"


def _field_w(field: int, scope: int = pynvml.NVML_POWER_SCOPE_GPU) -> Question:
    """Return the question for a power field; a field value carries its own return code."""

    def ask(handle: Handle) -> float:
        value = pynvml.nvmlDeviceGetFieldValues(handle, [(field, scope)])[0]
        if value.nvmlReturn != pynvml.NVML_SUCCESS:
            raise pynvml.NVMLError(value.nvmlReturn)
        return float(value.value.uiVal) / 1000

    return ask


def _memory_mib(part: str, version: int | None) -> Question:
    def ask(handle: Handle) -> float:
        return float(getattr(pynvml.nvmlDeviceGetMemoryInfo(handle, version), part)) / MIB

    return ask


def _host_total_mib(handle: Handle) -> float:
    return float(psutil.virtual_memory().total) / MIB


def _host_used_mib(handle: Handle) -> float:
    memory = psutil.virtual_memory()
    return float(memory.total - memory.available) / MIB


def _clock_mhz(clock: int) -> Question:
    return lambda handle: float(pynvml.nvmlDeviceGetClockInfo(handle, clock))


def _power_limit_w(handle: Handle) -> float:
    return float(pynvml.nvmlDeviceGetEnforcedPowerLimit(handle)) / 1000


def _temperature_c(handle: Handle) -> float:
    return float(pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU))


def _utilization_percent(handle: Handle) -> float:
    return float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)


def _memory_utilization_percent(handle: Handle) -> float:
    return float(pynvml.nvmlDeviceGetUtilizationRates(handle).memory)


def _power_scope(handle: Handle) -> str:
    return power_scope(as_text(pynvml.nvmlDeviceGetName(handle)))


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


def _ecc_enabled(handle: Handle) -> bool:
    return bool(pynvml.nvmlDeviceGetEccMode(handle)[0] == pynvml.NVML_FEATURE_ENABLED)


def _mig_enabled(handle: Handle) -> bool:
    return bool(pynvml.nvmlDeviceGetMigMode(handle)[0] == pynvml.NVML_DEVICE_MIG_ENABLE)


def _performance_state(handle: Handle) -> int:
    state = int(pynvml.nvmlDeviceGetPerformanceState(handle))
    if state == pynvml.NVML_PSTATE_UNKNOWN:
        raise pynvml.NVMLError(pynvml.NVML_ERROR_NO_DATA)
    return state


def _pids(listed: Question) -> Question:
    return lambda handle: {process.pid for process in listed(handle)}


def _processes(computing: Question, drawing: Question) -> Question:
    """Return the question who computes or draws on the GPU; who does both is listed once."""

    def ask(handle: Handle) -> tuple[GpuProcess, ...]:
        listed = list(computing(handle))
        # A data-centre card may refuse the question who draws: then who computes is all there is.
        try:
            listed += drawing(handle)
        except pynvml.NVMLError as error:
            if error.value not in REFUSALS:
                raise
        held: dict[int, int | None] = {}
        for process in listed:
            if held.get(process.pid) is None:
                held[process.pid] = process.usedGpuMemory
        return tuple(
            GpuProcess(pid=pid, memory_mib=None if memory is None else memory / MIB)
            for pid, memory in sorted(held.items())
        )

    return ask


# By their versions: asked without one, the bindings meet a driver that lacks the third (before 510)
# with an error that is none of NVML's. The second goes first, which says the same: drivers 535.43
# to 535.86 answer the third in longer entries than nvml.h has before and after them, so that all
# but the first are misread (XuehaiPan/nvitop, pull requests 79 and 89).
COMPUTING: Ways = (
    ("nvml v2", pynvml.nvmlDeviceGetComputeRunningProcesses_v2),
    ("nvml v3", pynvml.nvmlDeviceGetComputeRunningProcesses_v3),
)
DRAWING: Ways = (
    ("nvml v2", pynvml.nvmlDeviceGetGraphicsRunningProcesses_v2),
    ("nvml v3", pynvml.nvmlDeviceGetGraphicsRunningProcesses_v3),
)


# On WSL 2, version 2 of the memory question fails and version 1 answers. Chips with one memory for
# processor and GPU (GB10, Jetson) refuse both; the last way is for them only, see `NvmlGpu`.
FIXED: dict[str, Ways] = {
    "name": (("nvml", lambda handle: as_text(pynvml.nvmlDeviceGetName(handle))),),
    "uuid": (("nvml", lambda handle: as_text(pynvml.nvmlDeviceGetUUID(handle))),),
    "memory_total_mib": (
        ("nvml v2", _memory_mib("total", pynvml.nvmlMemory_v2)),
        ("nvml v1", _memory_mib("total", None)),
        (UNIFIED, _host_total_mib),
    ),
    "power_scope": (("name", _power_scope),),
}
LIVE: dict[str, Ways] = {
    "utilization_percent": (("nvml", _utilization_percent),),
    "memory_used_mib": (
        ("nvml v2", _memory_mib("used", pynvml.nvmlMemory_v2)),
        ("nvml v1", _memory_mib("used", None)),
        (UNIFIED, _host_used_mib),
    ),
    "power_w": (
        ("instant", _field_w(pynvml.NVML_FI_DEV_POWER_INSTANT)),
        ("average", lambda handle: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
    ),
    "energy_j": (("nvml", _energy_j),),
    "temperature_c": (("nvml", _temperature_c),),
    # The same bits under an older name, for drivers before the newer one.
    "throttle_reasons": (
        ("event reasons", _event_reasons),
        ("throttle reasons", _throttle_reasons),
    ),
    "sm_clock_mhz": (("nvml", _clock_mhz(pynvml.NVML_CLOCK_SM)),),
}
# Power of the same scope as the energy counter, or none: nothing tells which one the older question
# for the average power means here.
MODULE = LIVE | {
    "power_w": (
        ("instant", _field_w(pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_POWER_SCOPE_MODULE)),
        ("average", _field_w(pynvml.NVML_FI_DEV_POWER_AVERAGE, pynvml.NVML_POWER_SCOPE_MODULE)),
    ),
}
SELDOM: dict[str, Ways] = {
    "memory_utilization_percent": (("nvml", _memory_utilization_percent),),
    "power_limit_w": (("nvml", _power_limit_w),),
    "memory_clock_mhz": (("nvml", _clock_mhz(pynvml.NVML_CLOCK_MEM)),),
    "performance_state": (("nvml", _performance_state),),
    "pcie_generation_now": (
        ("nvml", lambda h: int(pynvml.nvmlDeviceGetCurrPcieLinkGeneration(h))),
    ),
    "pcie_width_now": (("nvml", lambda h: int(pynvml.nvmlDeviceGetCurrPcieLinkWidth(h))),),
    "fan_percent": (("nvml", lambda handle: float(pynvml.nvmlDeviceGetFanSpeed(handle))),),
    "processes": tuple(
        (way, _processes(computing, drawing))
        for (way, computing), (_, drawing) in zip(COMPUTING, DRAWING, strict=True)
    ),
}
# A link idles at generation 1 to save power: here is what it can do, under SELDOM what it does.
CARD: dict[str, Ways] = {
    "pcie_generation": (("nvml", lambda h: int(pynvml.nvmlDeviceGetMaxPcieLinkGeneration(h))),),
    "pcie_width": (("nvml", lambda h: int(pynvml.nvmlDeviceGetMaxPcieLinkWidth(h))),),
    "power_limit_default_w": (("nvml", _default_limit_w),),
    "display_active": (("nvml", _display_active),),
    "ecc_enabled": (("nvml", _ecc_enabled),),
    "mig_enabled": (("nvml", _mig_enabled),),
}
PROCESSES: dict[str, Ways] = {
    "compute": tuple((way, _pids(listed)) for way, listed in COMPUTING),
    "graphics": tuple((way, _pids(listed)) for way, listed in DRAWING),
}
INSTANCE = frozenset(
    {"name", "uuid", "memory_total_mib", "memory_used_mib", "utilization_percent", "processes"}
)
