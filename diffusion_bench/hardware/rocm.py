"""AMD's GPUs by what a torch built for ROCm tells, where the system shows no files of them.

Some of torch's questions need the package amdsmi; without it they are errors, which are reasons.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

from diffusion_bench.hardware.sensors import GpuInfo, Uncounted
from diffusion_bench.records import GpuReading

MIB = 2**20

NOT_TOLD = "torch does not tell it of AMD's GPUs"
NO_TORCH = "torch is not loaded in this process"

Question = Callable[[Any, int], Any]

# Figures of the whole device, as torch documents them; `mem_get_info` is (free, total).
QUESTIONS: dict[str, Question] = {
    "name": lambda torch, index: str(torch.cuda.get_device_name(index)),
    "uuid": lambda torch, index: f"GPU-{torch.cuda.get_device_properties(index).uuid}",
    "memory_total_mib": lambda torch, index: torch.cuda.mem_get_info(index)[1] / MIB,
    "memory_used_mib": lambda torch, index: _used_mib(*torch.cuda.mem_get_info(index)),
    "utilization_percent": lambda torch, index: float(torch.cuda.utilization(index)),
    "memory_utilization_percent": lambda torch, index: float(torch.cuda.memory_usage(index)),
    "temperature_c": lambda torch, index: float(torch.cuda.temperature(index)),
    "power_w": lambda torch, index: _socket_power_w(torch, index),
    "sm_clock_mhz": lambda torch, index: _told(torch.cuda.clock_rate(index)),
}
FAULTS = (AttributeError, ImportError, RuntimeError, ValueError)


class RocmSensor(Uncounted):
    """The GPUs of a ROCm torch that this process has imported: a sensor imports no torch."""

    why_uncounted = NOT_TOLD

    def __init__(self, loaded: Callable[[], Any] = lambda: sys.modules.get("torch")) -> None:
        self._loaded = loaded

    def read(self) -> tuple[GpuReading, ...]:
        """Return one reading a GPU."""
        torch = self._loaded()
        return tuple(_read(torch, index) for index in range(_count(torch)))

    def cards(self) -> tuple[GpuInfo, ...]:
        """Return what does not change about each GPU."""
        return tuple(_info(reading) for reading in self.read())


def _count(torch: Any) -> int:
    try:
        usable = torch is not None and torch.version.hip and torch.cuda.is_available()
        return int(torch.cuda.device_count()) if usable else 0
    except FAULTS:  # torch is being imported
        return 0


def _read(torch: Any, index: int) -> GpuReading:
    """Ask each question on its own."""
    answers: dict[str, Any] = {}
    untold = GpuReading.model_fields.keys() - QUESTIONS.keys()
    missing = dict.fromkeys(sorted(untold - {"index", "parent_index", "missing"}), NOT_TOLD)
    for name, question in QUESTIONS.items():
        try:
            answers[name] = question(torch, index)
        except Exception as error:  # noqa: BLE001 - amdsmi's errors are plain exceptions of its own
            missing[name] = f"torch: {error}"
    return GpuReading(index=index, **answers, missing=missing)


def _info(reading: GpuReading) -> GpuInfo:
    shared = GpuInfo.model_fields.keys() & GpuReading.model_fields.keys() - {"missing"}
    known = {name: getattr(reading, name) for name in shared}
    own = {"parent_index", "vendor", "methods", "missing"}
    untold = GpuInfo.model_fields.keys() - shared - own
    return GpuInfo(
        vendor="amd",
        missing={name: why for name, why in reading.missing.items() if name in shared}
        | dict.fromkeys(sorted(untold), NOT_TOLD),
        **known,
    )


def _socket_power_w(torch: Any, index: int) -> float:
    """Return watts, from amdsmi through torch's handle of the device.

    Not `torch.cuda.power_draw`: it promises milliwatts and hands on amdsmi's watts (torch 2.11;
    pull request 197553 is to change that). Source of the unit: AMD SMI, `amdsmi_power_info_t`.
    """
    handle = torch.cuda._get_amdsmi_handler(index)
    told = torch.cuda.amdsmi.amdsmi_get_power_info(handle)
    figures = (told.get(name) for name in ("average_socket_power", "current_socket_power"))
    return _told(next((value for value in figures if value not in (None, "N/A", 0)), 0))


def _told(value: float) -> float:
    """Return a figure of a working GPU, of which 0 is what amdsmi's "N/A" becomes."""
    if not value:
        raise ValueError("amdsmi has no figure")
    return float(value)


def _used_mib(free: int, total: int) -> float:
    return (total - free) / MIB
