"""Apple's GPU: macOS tells little without root, and torch only what this process holds."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from typing import Any

import psutil

from diffusion_bench.hardware.sensors import GpuInfo, Uncounted
from diffusion_bench.records import GpuProcess, GpuReading

MIB = 2**20

ROOT_ONLY = "macOS tells it only to root, through powermetrics"
IOREG = "macOS tells it through ioreg, which this program does not read"
NO_SUCH = "Apple's GPU has no such thing"
NOT_TOLD = "macOS does not tell it"
NO_TORCH = "torch is not loaded in this process, or does not use the GPU"

NO_FIGURES = {
    **dict.fromkeys(("power_w", "sm_clock_mhz", "throttle_reasons"), ROOT_ONLY),
    "utilization_percent": IOREG,
    **dict.fromkeys(("energy_j", "energy_update_s", "power_scope", "temperature_c"), ROOT_ONLY),
    **dict.fromkeys(("pcie_generation_now", "pcie_width_now", "uuid"), NO_SUCH),
    **dict.fromkeys(
        (
            *("memory_utilization_percent", "memory_clock_mhz", "performance_state"),
            *("power_limit_w", "fan_percent"),
        ),
        NOT_TOLD,
    ),
}
NO_CARD_FIGURES = {
    **dict.fromkeys(("pcie_generation", "pcie_width", "ecc_enabled", "mig_enabled"), NO_SUCH),
    **dict.fromkeys(("power_limit_default_w", "display_active", "driver"), NOT_TOLD),
}


class AppleSensor(Uncounted):
    """The one GPU of an Apple chip. Its memory is the host's.

    `loaded` returns torch where this process has imported it: a sensor imports no torch.
    """

    why_uncounted = NOT_TOLD

    def __init__(
        self, name: str, loaded: Callable[[], Any] = lambda: sys.modules.get("torch")
    ) -> None:
        self._name = name
        self._loaded = loaded

    def read(self) -> tuple[GpuReading, ...]:
        """Return the reading of the GPU."""
        memory = psutil.virtual_memory()
        held_mib = self._held_mib()
        missing = dict(NO_FIGURES)
        if held_mib is None:
            missing["processes"] = NO_TORCH
        reading = GpuReading(
            index=0,
            name=self._name,
            memory_used_mib=(memory.total - memory.available) / MIB,
            memory_total_mib=memory.total / MIB,
            processes=None if held_mib is None else (_own(held_mib),),
            missing=missing,
        )
        return (reading,)

    def cards(self) -> tuple[GpuInfo, ...]:
        """Return what does not change about the GPU."""
        (reading,) = self.read()
        card = GpuInfo(
            index=0,
            vendor="apple",
            name=reading.name,
            memory_total_mib=reading.memory_total_mib,
            unified_memory=True,
            methods={"memory_used_mib": "host memory, which the GPU shares"},
            missing={name: why for name, why in NO_FIGURES.items() if name in GpuInfo.model_fields}
            | NO_CARD_FIGURES,
        )
        return (card,)

    def _held_mib(self) -> float | None:
        """Return what Metal holds for this process, by torch's word."""
        torch = self._loaded()
        try:
            if torch is None or not torch.backends.mps.is_available():
                return None
            return float(torch.mps.driver_allocated_memory()) / MIB
        except (AttributeError, RuntimeError):  # torch is being imported, or was built without MPS
            return None


def _own(held_mib: float) -> GpuProcess:
    return GpuProcess(pid=os.getpid(), memory_mib=held_mib)
