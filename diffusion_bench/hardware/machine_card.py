"""The machine card: what a machine is made of and how it is read, as lines of text."""

from __future__ import annotations

from diffusion_bench.hardware.machine import MachineInfo, SoftwareInfo
from diffusion_bench.hardware.matching import cuda_settings, hidden_words
from diffusion_bench.hardware.sensors import GpuInfo

# What a figure means that can be had in several ways, by field and way (see `GpuInfo.methods`).
MEANINGS = {
    ("memory_used_mib", "nvml v2"): "memory in use without what the driver keeps (NVML v2)",
    ("memory_used_mib", "nvml v1"): "memory in use with what the driver keeps (NVML v1)",
    ("power_w", "instant"): "power of the moment",
    ("power_w", "average"): "power as its mean of about a second",
}


def machine_card(machine: MachineInfo, software: SoftwareInfo) -> str:
    """Return the machine and its software, a line a part, to copy into a report or an issue."""
    cores = f"{machine.cores_physical or 'unknown'} cores, {machine.cores_logical} threads"
    lines = [
        f"CPU: {machine.cpu} ({cores})",
        f"Memory: {machine.ram_mib / 1024:.1f} GiB",
        f"System: {machine.os}, {machine.architecture}",
    ]
    for gpu in machine.gpus:
        lines += [_gpu_line(gpu), *_reading_line(gpu)]
    if not machine.gpus:
        lines.append(f"no GPU: {machine.no_gpu}")
    lines += [_software_line(machine, software), *_hidden_line(machine)]
    return "\n".join(lines)


def _gpu_line(gpu: GpuInfo) -> str:
    part = "" if gpu.parent_index is None else f" (MIG, of GPU {gpu.parent_index})"
    parts = [
        gpu.name or "unknown",
        f"{gpu.memory_total_mib:.0f} MiB" if gpu.memory_total_mib else "memory unknown",
        f"driver {gpu.driver}" if gpu.driver else "driver unknown",
    ]
    if gpu.power_limit_w is not None:
        usual = gpu.power_limit_default_w
        of = "" if usual is None or usual == gpu.power_limit_w else f" (default {usual:.0f} W)"
        parts.append(f"power limit {gpu.power_limit_w:.0f} W{of}")
    if gpu.pcie_generation and gpu.pcie_width:
        parts.append(f"PCIe {gpu.pcie_generation}.0 x{gpu.pcie_width}")
    for on, name in ((gpu.ecc_enabled, "ECC on"), (gpu.mig_enabled, "MIG on")):
        if on:
            parts.append(name)
    return f"GPU {gpu.index}{part}: {', '.join(parts)}"


def _reading_line(gpu: GpuInfo) -> list[str]:
    """Return how the card's figures are had, where that changes what they mean."""
    told = [MEANINGS[way] for way in gpu.methods.items() if way in MEANINGS]
    if gpu.unified_memory:
        told.append("memory shared with the host")
    if gpu.power_scope == "module":
        told.append("power of the whole module")
    if gpu.energy_update_s is not None:
        told.append(f"energy counted every {gpu.energy_update_s:.2g} s")
    return [f"GPU {gpu.index} is read so: {', '.join(told)}"] if told else []


def _software_line(machine: MachineInfo, software: SoftwareInfo) -> str:
    built = f" for CUDA {software.cuda}" if software.cuda else " without CUDA"
    if software.rocm:
        built = f" for ROCm {software.rocm}"
    elif any(gpu.vendor == "apple" for gpu in machine.gpus):
        built = " for Apple's Metal"
    return (
        f"Python {software.python}, torch {software.torch or 'not installed'}{built}, "
        f"diffusers {software.diffusers or 'not installed'}"
    )


def _hidden_line(machine: MachineInfo) -> list[str]:
    """Return which GPUs this program cannot use, and why; nothing where it can use all."""
    cards = [gpu for gpu in machine.gpus if gpu.vendor == "nvidia"]
    visible, order = cuda_settings()
    words = hidden_words(cards, visible, order=order)
    return [words] if words else []
