"""Facts of a machine that has nothing wrong with it, and what is changed to make it ill."""

from __future__ import annotations

from typing import Any

from diffusion_bench.hardware.doctor import examine
from diffusion_bench.hardware.facts import Facts
from diffusion_bench.hardware.nvml_health import CardHealth, DriverHealth
from diffusion_bench.hardware.sensors import GpuInfo
from diffusion_bench.hardware.torch_facts import TorchFacts
from diffusion_bench.records import Finding, GpuReading

CARD = GpuInfo(index=0, name="RTX 3060", memory_total_mib=12288)
IDLE = GpuReading(
    index=0, name="RTX 3060", utilization_percent=0, memory_used_mib=300, memory_total_mib=12288
)
UNUSABLE = TorchFacts(threads=4, cuda_usable=False, warning="The NVIDIA driver is too old")
BUILT = ("sm_75", "sm_80", "sm_86", "sm_90", "sm_120")
NARROW = IDLE.model_copy(update={"pcie_width_now": 4, "pcie_generation_now": 1})
SLOT = CARD.model_copy(update={"pcie_width": 16, "pcie_generation": 4, "driver": "551.23"})
NO_LIBRARY = {"gpus": (), "gpu_readings": (), "driver": DriverHealth(start_code=12)}


def make_facts(**changes: Any) -> Facts:
    """Facts of a machine that has nothing wrong with it."""
    healthy: dict[str, Any] = {
        "python": (3, 11),
        "system": "Linux",
        "torch": "2.11.0",
        "cuda_build": "13.0",
        "torch_says": TorchFacts(threads=4, cuda_usable=True),
        "nvml_package": "13.0",
        "gpus": (CARD,),
        "gpu_readings": (IDLE,),
        "cores": 4,
        "cores_logical": 8,
        "cpu_percent": 2.0,
        "ram_free_mib": 16_000,
        "disk_free_mib": 90_000,
        "on_battery": False,
    }
    return Facts(**(healthy | changes))


def bad(facts: Facts) -> list[Finding]:
    return [finding for finding in examine(facts) if finding.level != "ok"]


def with_health(**health: Any) -> dict[str, Any]:
    return {"driver": DriverHealth(start_code=0, cards=(CardHealth(index=0, **health),))}


def for_card(capability: tuple[int, int]) -> dict[str, Any]:
    says = TorchFacts(threads=4, cuda_usable=True, architectures=BUILT)
    return {"torch_says": says, **with_health(compute_capability=capability)}
