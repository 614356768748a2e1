"""GPU sensors: what one can be asked, the one that has nothing to tell, and how to get the best.

`open_sensor` never raises for a machine's state: a machine without a GPU, or with a broken driver,
gets a `NoGpu` that says why and what to do.
"""

from __future__ import annotations

import hashlib
import os
import platform
from collections.abc import Collection, Iterable
from pathlib import Path
from typing import Literal, Protocol

from diffusion_bench.records import GpuReading, Record

INSTALL_NVML = "run: pip uninstall -y pynvml; pip install --force-reinstall nvidia-ml-py"
WSL_DRIVER = (
    "update the NVIDIA driver in Windows, remove any that was installed in here, and run "
    "`wsl --shutdown` in Windows"
)
OTHER_TORCH = "an AMD GPU is here, which a torch built for ROCm may use (the README says how)"

CONTAINER_MARKS = ("/.dockerenv", "/run/.containerenv")
FIRST_PID_NAMESPACE = 0xEFFFFFFC  # PROC_PID_INIT_INO of Linux: the one that is no container's

# What a broken driver or a vanishing file raises. Anything else is a bug, and ends the thread that
# asked, with its traceback on the standard error.
FAULTS = (OSError, RuntimeError, ValueError, TypeError, LookupError, AttributeError)

DRIVER_NOT_LOADED = 9  # NVML's return codes, nvml.h
LIBRARY_NOT_FOUND = 12
VERSION_MISMATCH = 18
GPU_IS_LOST = "the GPU is lost"  # how a reason begins that says so
HANGS = "the driver hangs"  # the same of a driver
# A lost GPU is asked for again so often: a reset or a rescan of the bus can bring it back.
LOST_AGAIN_S = 5.0


class GpuInfo(Record):
    """What does not change about a GPU. `missing` maps each field that is `None` to its reason.

    `methods` names the way a reading was had where there are several: `memory_used_mib` is
    "nvml v2" (used, without what the driver reserves), "nvml v1" (with it) or the host's memory
    where the chip shares that (`unified_memory`); `power_w` is "instant" or "average" (of about a
    second, on cards since Ampere); `throttle_reasons` is "event reasons" or the same by its older
    name. `pcie_*` are the most the card and its slot can do together. `display_active` may change:
    it says whether the card drives a display now. `energy_update_s` is how often the energy
    counter moves, tried out when the sensor was opened. An instance of a card that is split by MIG
    has its card's index as `parent_index`.
    """

    index: int
    parent_index: int | None = None
    vendor: Literal["nvidia", "amd", "apple"] = "nvidia"
    name: str | None = None
    uuid: str | None = None
    memory_total_mib: float | None = None
    power_limit_w: float | None = None
    power_limit_default_w: float | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None
    display_active: bool | None = None
    ecc_enabled: bool | None = None
    mig_enabled: bool | None = None
    unified_memory: bool | None = None
    power_scope: Literal["gpu", "module"] | None = None
    energy_update_s: float | None = None
    driver: str | None = None
    methods: dict[str, str] = {}
    missing: dict[str, str] = {}


class Sensor(Protocol):
    """Something that reads the GPUs. `reason` says why there are none, else it is `None`."""

    @property
    def reason(self) -> str | None:
        """Return why there are no GPUs, else `None`."""

    def read(self) -> tuple[GpuReading, ...]:
        """Return one reading a GPU, in the order of their index."""

    def cards(self) -> tuple[GpuInfo, ...]:
        """Return what does not change about each GPU, in the same order."""

    def other_processes(self, gpu_index: int, own_pids: Collection[int]) -> tuple[int | None, str]:
        """Return how many other programs compute on a GPU, or `None` and why it cannot tell.

        `own_pids` are this program's processes that may use the GPU.
        """

    def close(self) -> None:
        """Let go of the driver. Closing twice is fine."""


class Uncounted:
    """A sensor that cannot tell which programs use a GPU, and that holds nothing open."""

    reason: str | None = None
    why_uncounted = "there is no GPU"

    def other_processes(self, gpu_index: int, own_pids: Collection[int]) -> tuple[int | None, str]:
        """Return that it cannot tell, with the reason."""
        return None, self.reason or self.why_uncounted

    def close(self) -> None:
        """Do nothing."""


class NoGpu(Uncounted):
    """The sensor of a machine without a GPU that can be read."""

    def __init__(self, reason: str) -> None:
        self.reason = reason

    def read(self) -> tuple[GpuReading, ...]:
        """Return no readings."""
        return ()

    def cards(self) -> tuple[GpuInfo, ...]:
        """Return no cards."""
        return ()


class HungDriver(NoGpu):
    """The sensor of a machine whose driver did not answer: it is not to be asked anything more."""


def open_sensor() -> Sensor:
    """Return a sensor of the GPUs, or a `NoGpu` that says why there is none.

    No question to it waits longer than a second: a driver that hangs is a reason in a reading.
    """
    from diffusion_bench.hardware.patience import PatientSensor

    return PatientSensor(_open_driver).opened()


def _open_driver() -> Sensor:
    """Return the GPUs of the first maker that has any here, or why there are none.

    AMD's only where torch is built for them: many a processor has a small one that no torch uses.
    """
    from diffusion_bench.hardware.machine import cpu_name, torch_build

    if platform.system() == "Darwin" and platform.machine() == "arm64":
        from diffusion_bench.hardware.apple import AppleSensor

        return AppleSensor(f"{cpu_name()} GPU")
    if torch_build("hip") is not None:
        return _open_amd()
    sensor = _open_nvml()
    if sensor.reason is None:
        return sensor
    from diffusion_bench.hardware.amd import ROOT, AmdSensor

    if AmdSensor(ROOT).cards():
        return NoGpu(f"{OTHER_TORCH}; {sensor.reason}")
    return sensor


def _open_amd() -> Sensor:
    """Return the AMD cards as Linux shows them, or that it shows none."""
    from diffusion_bench.hardware.amd import ROOT, AmdSensor

    sensor = AmdSensor(ROOT)
    if sensor.cards():
        return sensor
    return NoGpu(f"torch is built for AMD's ROCm, and there is no AMD GPU under {ROOT}")


def _open_nvml() -> Sensor:
    """Return the NVIDIA cards, or why there are none."""
    try:
        import pynvml  # 40 ms, of use only where there may be a GPU
    except ImportError as error:
        return NoGpu(f"the package nvidia-ml-py cannot be imported ({error}); {INSTALL_NVML}")
    if not hasattr(pynvml, "_nvmlGetFunctionPointer"):
        return NoGpu(f"an outdated package called 'pynvml' hides nvidia-ml-py; {INSTALL_NVML}")
    from diffusion_bench.hardware.nvml import NvmlSensor

    try:
        sensor = NvmlSensor()
    except pynvml.NVMLError as error:
        system = "WSL" if is_wsl(platform.release()) else platform.system()
        return NoGpu(explain_no_driver(error.value, system, in_container=is_in_container()))
    if not sensor.cards():
        sensor.close()
        return NoGpu("the NVIDIA driver is loaded and reports no GPU")
    return sensor


def explain_no_driver(code: int, system: str, *, in_container: bool) -> str:
    """Return why NVML's start ended with `code`, and what a person can do about it.

    `system` is `platform.system()`, or "WSL".
    """
    if system == "WSL" and code != LIBRARY_NOT_FOUND:
        return f"Windows' NVIDIA driver does not start in here (NVML error {code}); {WSL_DRIVER}"
    if code == VERSION_MISMATCH:
        return "the NVIDIA driver was updated while it was loaded; reboot, and it works again"
    if code == DRIVER_NOT_LOADED:
        return (
            "the NVIDIA driver is installed and not loaded; `nvidia-smi` should say the same: "
            "reboot, or reinstall the driver"
        )
    if code != LIBRARY_NOT_FOUND:
        return f"the NVIDIA driver did not start (NVML error {code}); see what `nvidia-smi` says"
    if system == "Darwin":
        return "macOS has no NVIDIA driver"
    if in_container:
        return (
            "no NVIDIA driver library in this container; where the host has a GPU, start it with "
            "`--gpus all` and NVIDIA_DRIVER_CAPABILITIES=compute,utility"
        )
    where = " in Windows, and none in here" if system == "WSL" else ""
    return (
        f"no NVIDIA driver library found; where there is an NVIDIA GPU, install its driver{where}"
    )


def is_wsl(release: str) -> bool:
    """Return whether a kernel of this release is that of the Windows Subsystem for Linux."""
    return "microsoft" in release.lower()


def is_in_container() -> bool:
    """Return whether this looks like a container of Docker, Podman or Kubernetes."""
    marked = any(Path(mark).exists() for mark in CONTAINER_MARKS)
    return marked or "KUBERNETES_SERVICE_HOST" in os.environ


def sees_every_process() -> bool:
    """Return whether process numbers here are those of the whole system, as the driver has them.

    They are not in a container, nor on WSL 2.
    """
    if platform.system() != "Linux":
        return True
    try:
        return Path("/proc/self/ns/pid").stat().st_ino == FIRST_PID_NAMESPACE
    except OSError:
        return False


def count_others(
    compute: Collection[int], drawing: Collection[int], own: Collection[int], *, sees_all: bool
) -> tuple[int | None, str]:
    """Return how many of the processes that compute are not our `own`, or `None` and the reason.

    Those in `drawing` draw too: they are a desktop's. Where `sees_all` is false, the driver may
    list other numbers than ours, and hide who is outside; somebody who is listed is believed once
    one of our own is listed too.
    """
    others = set(compute) - set(drawing) - set(own)
    if sees_all:
        return len(others), ""
    if not set(own) & set(compute):
        return None, "in a container, and the process numbers of the driver do not match those here"
    if not others:
        return None, "the driver may hide the programs outside this container"
    return len(others), ""


def lost_gpus(gpus: Iterable[GpuReading]) -> dict[int, str]:
    """Return how each GPU was lost that is, "it fell off the bus" say, by its index."""
    start = f"{GPU_IS_LOST}: "
    return {
        gpu.index: why.removeprefix(start).partition(";")[0]
        for gpu in gpus
        for why in gpu.missing.values()
        if why.startswith(start)
    }


def uuid_hash(uuid: str) -> str:
    """Return 12 hexadecimal digits that tell two cards apart without naming either."""
    return hashlib.sha256(uuid.encode()).hexdigest()[:12]
