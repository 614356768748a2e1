"""What is wrong with this machine for measuring diffusion, and what to do about it.

    gather_facts > Facts > examine > Finding, Finding, ...

The checks are pure, one function a question; `facts.py` looks at the machine for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Literal

from diffusion_bench.hardware.facts import Facts
from diffusion_bench.hardware.matching import match_torch
from diffusion_bench.hardware.sensors import INSTALL_NVML
from diffusion_bench.hardware.state import SLOWING
from diffusion_bench.records import GpuReading, Record

OLDEST_PYTHON = (3, 11)
LOW_RAM_MIB = 2_048
LOW_DISK_MIB = 2_048
BUSY_PERCENT = 10
FULL_SHARE = 0.2
LOW_LIMIT_W = 1  # limits are whole watts in practice, and NVML tells milliwatts
CLOSE_OTHERS = "close what else uses the GPU before measuring"
WHEELS = "https://pytorch.org/get-started/locally"

Level = Literal["problem", "warning", "note", "ok"]
LEVELS: tuple[Level, ...] = ("problem", "warning", "note", "ok")


class Finding(Record):
    """One thing seen. `advice` is what to do, empty where nothing is to be done."""

    level: Level
    title: str
    detail: str = ""
    advice: str = ""


def examine(facts: Facts) -> list[Finding]:
    """Return the findings, the worst first."""
    findings = [finding for check in CHECKS for finding in check(facts)]
    return sorted(findings, key=lambda finding: LEVELS.index(finding.level))


def check_python(facts: Facts) -> Iterator[Finding]:
    """Say whether this Python is one the project is tested on."""
    version = ".".join(map(str, facts.python))
    if facts.python >= OLDEST_PYTHON:
        yield Finding(level="ok", title=f"Python {version}")
        return
    oldest = ".".join(map(str, OLDEST_PYTHON))
    yield Finding(
        level="problem",
        title=f"Python {version} is too old",
        advice=f"install Python {oldest} or newer and make a new virtual environment",
    )


def check_torch(facts: Facts) -> Iterator[Finding]:
    """Say whether torch is there and can be imported."""
    if facts.torch is None:
        advice = "run: pip install -r requirements.txt"
        yield Finding(level="problem", title="torch is not installed", advice=advice)
    elif facts.torch_says.error:
        cure = "run: pip install --force-reinstall -r requirements.txt"
        if facts.system == "Windows":
            cure += "; and install the Microsoft Visual C++ redistributable"
        title = f"torch {facts.torch} cannot be imported"
        yield Finding(level="problem", title=title, detail=facts.torch_says.error, advice=cure)
    else:
        build = f"built for CUDA {facts.cuda_build}" if facts.cuda_build else "built for CPU only"
        yield Finding(level="ok", title=f"torch {facts.torch}", detail=build)


def check_cuda(facts: Facts) -> Iterator[Finding]:
    """Compare what torch can use with what the driver shows; NVML alone proves nothing."""
    usable = facts.torch_says.cuda_usable
    cards = [gpu for gpu in facts.gpus if gpu.vendor == "nvidia" and gpu.parent_index is None]
    if not cards or usable is None:
        return
    names = ", ".join(gpu.name or f"GPU {gpu.index}" for gpu in cards)
    if usable:
        yield Finding(level="ok", title=f"torch can use CUDA on {names}")
    elif facts.cuda_build is None:
        yield Finding(
            level="problem",
            title="torch is built for CPU only, and there is a GPU",
            detail=names,
            advice=f"install a CUDA build of torch; {WHEELS} gives the command",
        )
    else:
        yield Finding(
            level="problem",
            title=f"torch cannot use the GPU ({names})",
            detail=facts.torch_says.warning,
            advice=(
                f"install a driver that supports CUDA {facts.cuda_build}, and see that "
                "CUDA_VISIBLE_DEVICES is not set to hide the GPU"
            ),
        )


def check_devices(facts: Facts) -> Iterator[Finding]:
    """Say which GPU each of torch's devices is: the two may be numbered in different orders."""
    found, reasons = match_torch(facts.torch_says.devices, facts.gpus)
    names = {gpu.index: gpu.name or "unknown" for gpu in facts.gpus}
    for device, index in found.items():
        yield Finding(level="ok", title=f"cuda:{device} is GPU {index} ({names[index]})")
    for device, reason in reasons.items():
        yield Finding(
            level="warning",
            title=f"cuda:{device} is none of the GPUs that can be read",
            detail=reason,
            advice="its power, energy and use will be empty in reports",
        )


def check_gpus(facts: Facts) -> Iterator[Finding]:
    """Name the GPUs with what they cannot tell, or say why there are none."""
    if facts.no_gpu:
        yield Finding(
            level="note",
            title="no NVIDIA GPU can be read",
            detail=facts.no_gpu,
            advice="everything works on the processor; GPU figures are left empty",
        )
    for gpu in facts.gpu_readings:
        name = f"GPU {gpu.index} {gpu.name or ''}".rstrip()
        if gpu.missing:
            silent = "; ".join(f"{field}: {why}" for field, why in sorted(gpu.missing.items()))
            title = f"{name} does not tell everything"
            advice = "these figures will be empty in reports"
            yield Finding(level="note", title=title, detail=silent, advice=advice)
        yield from _check_idle(name, gpu)


def _check_idle(name: str, gpu: GpuReading) -> Iterator[Finding]:
    """Warn of a GPU that already works, or is already full, before anything is measured."""
    busy = gpu.utilization_percent
    if busy is not None and busy > BUSY_PERCENT:
        title = f"{name} is {busy:.0f} % busy already"
        yield Finding(level="warning", title=title, advice=CLOSE_OTHERS)
    used, total = gpu.memory_used_mib, gpu.memory_total_mib
    if used is not None and total and used / total > FULL_SHARE:
        title = f"{used:.0f} of {total:.0f} MiB of {name} are taken already"
        yield Finding(level="warning", title=title, advice=CLOSE_OTHERS)


def check_gpu_processes(facts: Facts) -> Iterator[Finding]:
    """Warn of other programs that compute on a GPU; they need not be busy at this moment."""
    for index, count in sorted(facts.other_gpu_processes.items()):
        if count:
            programs = "program computes" if count == 1 else "programs compute"
            title = f"{count} other {programs} on GPU {index}"
            yield Finding(level="warning", title=title, advice=CLOSE_OTHERS)


def check_gpu_speed(facts: Facts) -> Iterator[Finding]:
    """Warn of a GPU that is slowed by heat or a brake now, or whose power limit was lowered."""
    for gpu in facts.gpu_readings:
        slowing = [reason for reason in gpu.throttle_reasons or () if reason in SLOWING]
        if slowing:
            yield Finding(
                level="warning",
                title=f"GPU {gpu.index} is slowed down now ({', '.join(slowing)})",
                advice="let it cool down; look at its fans, the case's air and its power cables",
            )
    for card in facts.gpus:
        limit_w, default_w = card.power_limit_w, card.power_limit_default_w
        if limit_w is not None and default_w is not None and limit_w < default_w - LOW_LIMIT_W:
            yield Finding(
                level="warning",
                title=f"GPU {card.index} may use {limit_w:.0f} W of its usual {default_w:.0f} W",
                detail="figures measured so are not those of an untouched card",
                advice=f"as administrator: nvidia-smi -i {card.index} -pl {default_w:.0f}",
            )


def check_nvml_package(facts: Facts) -> Iterator[Finding]:
    """Find the outdated `pynvml` distribution, which hides the module of nvidia-ml-py."""
    if facts.nvml_package is None:
        title = "nvidia-ml-py is not installed"
        yield Finding(level="warning", title=title, advice=INSTALL_NVML)
    if facts.wrong_nvml_package:
        yield Finding(
            level="warning",
            title=f"the outdated package pynvml {facts.wrong_nvml_package} is installed",
            detail="it may hide nvidia-ml-py, which brings the module of the same name",
            advice=INSTALL_NVML,
        )


def check_processor(facts: Facts) -> Iterator[Finding]:
    """Compare torch's threads with the cores: more threads than cores measure the scheduler."""
    threads, cores = facts.torch_says.threads, facts.cores
    if threads is None or cores is None:
        return
    title = f"torch uses {threads} threads on {cores} cores"
    if threads > cores:
        advice = f"set OMP_NUM_THREADS={cores} for steadier times on the processor"
        yield Finding(level="note", title=title, advice=advice)
    else:
        yield Finding(level="ok", title=title)


def check_room(facts: Facts) -> Iterator[Finding]:
    """Say whether memory and disk have room for a model and a report."""
    room = (
        ("memory", facts.ram_free_mib, LOW_RAM_MIB, "close other programs"),
        (f"disk at {facts.folder}", facts.disk_free_mib, LOW_DISK_MIB, "free some space"),
    )
    for what, free_mib, low_mib, advice in room:
        if free_mib is None:
            yield Finding(level="note", title=f"cannot tell how much {what} is free")
        elif free_mib < low_mib:
            detail = f"models from the hub need {low_mib} MiB and more"
            title = f"only {free_mib:.0f} MiB of {what} free"
            yield Finding(level="warning", title=title, detail=detail, advice=advice)
        else:
            yield Finding(level="ok", title=f"{free_mib / 1024:.1f} GiB of {what} free")


def check_folder(facts: Facts) -> Iterator[Finding]:
    """Say whether a report can be written."""
    if facts.folder_fault:
        yield Finding(
            level="problem",
            title=f"nothing can be written in {facts.folder}",
            detail=facts.folder_fault,
            advice="start from a folder of your own, or give --out a path that can be written",
        )


def check_battery(facts: Facts) -> Iterator[Finding]:
    """Warn of a machine on battery, which is slower than the same on mains."""
    if facts.on_battery:
        advice = "plug it in before measuring"
        yield Finding(level="warning", title="running on battery", advice=advice)


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    check_python,
    check_torch,
    check_cuda,
    check_devices,
    check_gpus,
    check_gpu_processes,
    check_gpu_speed,
    check_nvml_package,
    check_processor,
    check_room,
    check_folder,
    check_battery,
)
