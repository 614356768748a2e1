"""What the doctor looks at: facts of this machine, gathered in one place."""

from __future__ import annotations

import importlib.util
import os
import platform
import re
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

from diffusion_bench.hardware.host import HostSensor
from diffusion_bench.hardware.machine import (
    describe_software,
    installed_version,
    memory_mib,
    physical_cores,
)
from diffusion_bench.hardware.matching import cuda_settings
from diffusion_bench.hardware.nvml_health import DriverHealth, ask_driver
from diffusion_bench.hardware.pcie_load import read_under_load
from diffusion_bench.hardware.sampler import HostLook
from diffusion_bench.hardware.sensors import (
    HANGS,
    GpuInfo,
    HungDriver,
    Sensor,
    is_in_container,
    is_wsl,
    lost_gpus,
)
from diffusion_bench.hardware.state import IDLE_S, on_battery
from diffusion_bench.hardware.torch_facts import TorchFacts, ask_torch
from diffusion_bench.records import GpuReading, Record

MIB = 2**20
NO_LIMIT = 2**62
LOOKS, WAKE_S = 4, 2.0  # at GPUs that do not answer, so long apart
KERNEL_DRIVER = Path("/proc/driver/nvidia/version")
NVIDIA_NODES = (Path("/dev/nvidia0"), Path("/dev/nvidiactl"), Path("/proc/driver/nvidia/version"))
# Of control groups, versions 2 and 1, as a container sees its own: the limit, and what is in use.
MEMORY_GROUPS = (
    (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")),
    (
        Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"),
        Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"),
    ),
)


class Facts(Record):
    """Everything that `doctor.examine` looks at.

    `other_gpu_processes` counts the other programs that compute on each GPU, by its index; a GPU
    that cannot tell is not in it. `loaded_readings` were taken while data were copied to the GPUs.
    `driver_hangs` says so, and then neither the driver nor torch was asked about the GPUs.
    `nvidia_nodes`: whether the system shows an NVIDIA device, which a container may without the
    driver's library. `ram_limit_mib` is what a control group leaves of `ram_mib`, and
    `ram_group_used_mib` what of it is in use, files kept in memory included. `cores` are physical;
    `cpu_percent` is of the `cores_logical`, over half a second in which this program did nothing.
    """

    python: tuple[int, int]
    system: str
    torch: str | None = None
    cuda_build: str | None = None
    rocm_build: str | None = None
    torch_says: TorchFacts = TorchFacts()
    nvml_package: str | None = None
    wrong_nvml_package: str | None = None
    gpus: tuple[GpuInfo, ...] = ()
    gpu_readings: tuple[GpuReading, ...] = ()
    loaded_readings: tuple[GpuReading, ...] = ()
    driver: DriverHealth = DriverHealth()
    driver_hangs: str | None = None
    kernel_driver: str | None = None
    nvidia_nodes: bool = False
    in_container: bool = False
    driver_capabilities: str | None = None
    visible_devices: str | None = None
    device_order: str | None = None
    wsl: bool = False
    other_gpu_processes: dict[int, int] = {}
    no_gpu: str | None = None
    cores: int | None = None
    cores_logical: int | None = None
    cpu_percent: float | None = None
    ram_mib: float | None = None
    ram_limit_mib: float | None = None
    ram_group_used_mib: float | None = None
    ram_free_mib: float | None = None
    disk_free_mib: float | None = None
    folder: str = "."
    folder_fault: str | None = None
    cache_folder: str = ""
    cache_free_mib: float | None = None
    on_battery: bool | None = None

    @property
    def drivers_log(self) -> str:
        """Return where the driver's own complaints are found."""
        if self.wsl or self.system == "Windows":
            return "Windows' Event Viewer (nvlddmkm)"
        return "the kernel's log (dmesg, Xid)"

    @property
    def lost(self) -> dict[int, str]:
        """Return how each GPU was lost that is, by its index."""
        return lost_gpus(self.gpu_readings)


def gather_facts(
    sensor: Sensor,
    folder: Path | None = None,
    *,
    host: HostLook | None = None,
    rest: Callable[[float], object] = time.sleep,
) -> Facts:
    """Look at this machine. Imports torch, which takes seconds. `folder` is where reports go.

    `host` reads the processor, and `rest` waits between the two looks that its load takes.
    """
    folder = folder or Path.cwd()
    cpu_percent = _load_percent(host or HostSensor(slow=False), rest)  # before torch makes its own
    software = describe_software()
    major, minor, _ = platform.python_version_tuple()
    # Before torch too: what it takes of a GPU is no other program's.
    gpus = _gpu_facts(sensor, rest)
    of_gpus = gpus["driver_hangs"] is None
    torch_says = ask_torch(of_gpus=of_gpus) if software.torch else TorchFacts()
    nvidia = any(card.vendor == "nvidia" for card in gpus["gpus"])
    return Facts(
        python=(int(major), int(minor)),
        system=platform.system(),
        torch=software.torch,
        cuda_build=software.cuda,
        rocm_build=software.rocm,
        torch_says=torch_says,
        nvml_package=installed_version("nvidia-ml-py"),
        wrong_nvml_package=_wrong_nvml_package(),
        cores=physical_cores(),
        cores_logical=psutil.cpu_count(),
        cpu_percent=cpu_percent,
        folder=str(folder),
        folder_fault=_folder_fault(folder),
        on_battery=on_battery(),
        loaded_readings=read_under_load(sensor) if torch_says.cuda_usable and nvidia else (),
        **gpus,
        **_system_facts(),
        **_room_facts(folder),
    )


def _load_percent(host: HostLook, rest: Callable[[float], object]) -> float | None:
    """Return how busy the processor is with other programs, as a sweep looks before each cell."""
    host.read()
    rest(IDLE_S)
    return host.read().cpu_percent


def _gpu_facts(sensor: Sensor, rest: Callable[[float], object]) -> dict[str, Any]:
    hangs = sensor.reason if isinstance(sensor, HungDriver) else None
    for tried in range(LOOKS):  # a laptop's card that sleeps takes seconds to wake
        if tried:
            rest(WAKE_S)
        cards, readings = sensor.cards(), sensor.read()
        # It may have begun to hang after it was opened.
        told = (why for reading in readings for why in reading.missing.values())
        silent = next((why for why in told if why.startswith(HANGS)), None)
        if silent is None:
            break
    hangs = hangs or silent
    others = {gpu.index: sensor.other_processes(gpu.index, ())[0] for gpu in cards}
    return {
        "gpus": cards,
        "gpu_readings": readings,
        "driver": DriverHealth() if hangs else ask_driver(),
        "driver_hangs": hangs,
        "other_gpu_processes": {index: n for index, n in others.items() if n is not None},
        "no_gpu": sensor.reason,
    }


def _system_facts() -> dict[str, Any]:
    visible_devices, device_order = cuda_settings()
    return {
        "kernel_driver": kernel_driver(_text(KERNEL_DRIVER)),
        "nvidia_nodes": any(path.exists() for path in NVIDIA_NODES),
        "in_container": is_in_container(),
        "driver_capabilities": os.environ.get("NVIDIA_DRIVER_CAPABILITIES"),
        "visible_devices": visible_devices,
        "device_order": device_order,
        "wsl": is_wsl(platform.release()),
    }


def _room_facts(folder: Path) -> dict[str, Any]:
    from huggingface_hub.constants import HF_HUB_CACHE

    groups = ((memory_limit_mib(_text(limit)), used) for limit, used in MEMORY_GROUPS)
    limit_mib, used = next((group for group in groups if group[0] is not None), (None, None))
    return {
        "ram_mib": memory_mib(),
        "ram_free_mib": _free_memory_mib(),
        "ram_limit_mib": limit_mib,
        "ram_group_used_mib": None if used is None else memory_limit_mib(_text(used)),
        "disk_free_mib": _disk_free_mib(folder),
        "cache_folder": str(HF_HUB_CACHE),
        "cache_free_mib": _disk_free_mib(existing_parent(Path(HF_HUB_CACHE))),
    }


def _free_memory_mib() -> float | None:
    try:
        return float(psutil.virtual_memory().available) / MIB
    except OSError:
        return None


def kernel_driver(text: str) -> str | None:
    """Return the version of the loaded driver from the text of /proc/driver/nvidia/version."""
    found = re.search(r"Kernel Module.*?\s(\d+(?:\.\d+)+)\s", text)
    return found[1] if found else None


def memory_limit_mib(text: str) -> float | None:
    """Return a control group's limit in MiB, `None` where it has none.

    Version 2 says "max" for none; version 1 a number near 2^63.
    """
    text = text.strip()
    return int(text) / MIB if text.isdigit() and int(text) < NO_LIMIT else None


def existing_parent(folder: Path) -> Path:
    """Return the folder, or the nearest one above it that is seen to exist: they share a disk."""
    # Not Path.exists, which raises for a folder in one that this user may not enter.
    return next(path for path in (folder, *folder.absolute().parents) if os.path.exists(path))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _wrong_nvml_package() -> str | None:
    """Return the version of `pynvml` where it brings a module of that name (before 12)."""
    version = installed_version("pynvml")
    spec = importlib.util.find_spec("pynvml")
    is_folder = spec is not None and spec.submodule_search_locations is not None
    return version if version and is_folder else None


def _disk_free_mib(folder: Path) -> float | None:
    try:
        return shutil.disk_usage(folder).free / MIB
    except OSError:
        return None


def _folder_fault(folder: Path) -> str | None:
    """Return why no file can be made in `folder`: asking permissions is not enough on Windows."""
    try:
        with tempfile.TemporaryFile(dir=folder):
            return None
    except OSError as error:
        return error.strerror or os.strerror(error.errno or 0)
