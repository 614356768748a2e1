"""What the doctor looks at: facts of this machine, gathered in one place."""

from __future__ import annotations

import importlib.util
import os
import platform
import shutil
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil

from diffusion_bench.hardware.machine import describe_software, installed_version
from diffusion_bench.hardware.matching import TorchDevice
from diffusion_bench.hardware.sensors import GpuInfo, Sensor
from diffusion_bench.hardware.state import on_battery
from diffusion_bench.records import GpuReading, Record


class TorchFacts(Record):
    """What torch says once imported. `error` says why it could not be, `warning` what it warned."""

    threads: int | None = None
    devices: tuple[TorchDevice, ...] = ()
    cuda_usable: bool | None = None
    warning: str = ""
    error: str = ""


class Facts(Record):
    """Everything that `doctor.examine` looks at.

    `other_gpu_processes` counts the other programs that compute on each GPU, by its index; a GPU
    that cannot tell is not in it.
    """

    python: tuple[int, int]
    system: str
    torch: str | None = None
    cuda_build: str | None = None
    torch_says: TorchFacts = TorchFacts()
    nvml_package: str | None = None
    wrong_nvml_package: str | None = None
    gpus: tuple[GpuInfo, ...] = ()
    gpu_readings: tuple[GpuReading, ...] = ()
    other_gpu_processes: dict[int, int] = {}
    no_gpu: str | None = None
    cores: int | None = None
    ram_free_mib: float | None = None
    disk_free_mib: float | None = None
    folder: str = "."
    folder_fault: str | None = None
    on_battery: bool | None = None


def gather_facts(sensor: Sensor, folder: Path | None = None) -> Facts:
    """Look at this machine. Imports torch, which takes seconds. `folder` is where reports go."""
    folder = folder or Path.cwd()
    software = describe_software()
    cards = sensor.cards()
    others = {gpu.index: sensor.other_processes(gpu.index, ())[0] for gpu in cards}
    major, minor, _ = platform.python_version_tuple()
    return Facts(
        python=(int(major), int(minor)),
        system=platform.system(),
        torch=software.torch,
        cuda_build=software.cuda,
        torch_says=_ask_torch() if software.torch else TorchFacts(),
        nvml_package=installed_version("nvidia-ml-py"),
        wrong_nvml_package=_wrong_nvml_package(),
        gpus=cards,
        gpu_readings=sensor.read(),
        other_gpu_processes={index: n for index, n in others.items() if n is not None},
        no_gpu=sensor.reason,
        cores=psutil.cpu_count(logical=False),
        ram_free_mib=psutil.virtual_memory().available / 2**20,
        disk_free_mib=_disk_free_mib(folder),
        folder=str(folder),
        folder_fault=_folder_fault(folder),
        on_battery=on_battery(),
    )


def _ask_torch() -> TorchFacts:
    """Return torch's own word. Its device count also asks NVML; only `is_available` is CUDA's."""
    try:
        import torch
    except (ImportError, OSError) as error:
        return TorchFacts(error=f"{type(error).__name__}: {error}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        usable = torch.cuda.is_available()
    said = "; ".join(str(warning.message) for warning in caught)
    return TorchFacts(
        threads=torch.get_num_threads(),
        devices=tuple(_devices(torch.cuda)) if usable else (),
        cuda_usable=usable,
        warning=said,
    )


def _devices(cuda: Any) -> Iterator[TorchDevice]:
    """Yield the devices torch can use, in its order; an older torch tells no UUID."""
    for index in range(cuda.device_count()):
        card = cuda.get_device_properties(index)
        uuid = getattr(card, "uuid", None)
        yield TorchDevice(
            index=index,
            name=card.name,
            memory_mib=card.total_memory / 2**20,
            uuid=None if uuid is None else str(uuid),
        )


def _wrong_nvml_package() -> str | None:
    """Return the version of `pynvml` where it brings a module of that name (before 12)."""
    version = installed_version("pynvml")
    spec = importlib.util.find_spec("pynvml")
    is_folder = spec is not None and spec.submodule_search_locations is not None
    return version if version and is_folder else None


def _disk_free_mib(folder: Path) -> float | None:
    try:
        return shutil.disk_usage(folder).free / 2**20
    except OSError:
        return None


def _folder_fault(folder: Path) -> str | None:
    """Return why no file can be made in `folder`: asking permissions is not enough on Windows."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or os.strerror(error.errno or 0)
