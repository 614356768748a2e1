"""The doctor's checks of NVIDIA's driver, its library, and the package that speaks to it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from diffusion_bench.hardware.facts import Facts
from diffusion_bench.hardware.sensors import (
    DRIVER_NOT_LOADED,
    HANGS,
    INSTALL_NVML,
    LIBRARY_NOT_FOUND,
    VERSION_MISMATCH,
    WSL_DRIVER,
)
from diffusion_bench.records import Finding


def check_hang(facts: Facts) -> Iterator[Finding]:
    """Find a driver that does not answer."""
    if facts.driver_hangs:
        why = facts.driver_hangs.removeprefix(f"{HANGS}: ")
        yield Finding(
            level="problem",
            title="the GPU's driver hangs",
            detail=f"{why}; what uses the GPU may hang too, so torch was not asked about it",
            advice=f"reboot; if it hangs again, see what {facts.drivers_log} says",
        )


def check_driver(facts: Facts) -> Iterator[Finding]:
    """Find a driver that is there and does not start."""
    code = facts.driver.start_code
    windows = _windows_cure(facts)
    loaded = f"the loaded module is {facts.kernel_driver}" if facts.kernel_driver else ""
    if code == VERSION_MISMATCH:
        yield Finding(
            level="problem",
            title="the NVIDIA driver was updated, and the old one is still loaded",
            detail=f"its library and its kernel module differ; {loaded}".rstrip("; "),
            advice=windows
            or "reboot; or, where no program uses the GPU: sudo rmmod nvidia_uvm nvidia_drm "
            "nvidia_modeset nvidia && sudo modprobe nvidia",
        )
    elif code == DRIVER_NOT_LOADED:
        yield Finding(
            level="problem",
            title="the NVIDIA driver is installed and not loaded",
            detail="no kernel module answers",
            advice=windows
            or "reboot; if that does not help, reinstall the driver for this kernel, and with "
            "Secure Boot on enrol its key (mokutil)",
        )
    elif code not in (None, 0, LIBRARY_NOT_FOUND):
        yield Finding(
            level="problem",
            title=f"the NVIDIA driver does not start (NVML error {code})",
            detail=loaded,
            advice=windows or f"see what nvidia-smi and {facts.drivers_log} say; reboot",
        )


def _windows_cure(facts: Facts) -> str:
    """Return what helps a driver of Windows, "" where it is another system's."""
    if facts.wsl:
        return WSL_DRIVER
    if facts.system == "Windows":
        return f"reboot; if that does not help, see {facts.drivers_log}, and install it anew"
    return ""


def check_driver_library(facts: Facts) -> Iterator[Finding]:
    """Find a GPU that can be computed on and not read: NVML's library is missing beside it."""
    if facts.driver.start_code != LIBRARY_NOT_FOUND:
        return
    torchs = facts.torch_says.cuda_usable and not facts.rocm_build  # AMD's has no NVML
    if not (facts.nvidia_nodes or torchs):
        return
    if facts.in_container:
        told = facts.driver_capabilities
        told = "is not set" if told is None else f"is {told!r}"
        yield Finding(
            level="problem",
            title="this container has a GPU and cannot read it: the utility capability is missing",
            detail=f"NVIDIA_DRIVER_CAPABILITIES {told}; power, memory and clocks would be empty",
            advice="start it with: docker run --gpus all "
            "-e NVIDIA_DRIVER_CAPABILITIES=compute,utility",
        )
    else:
        cure = "install the driver's utilities (on Debian and Ubuntu: nvidia-utils)"
        yield Finding(
            level="problem",
            title="there is a GPU, and the driver's library libnvidia-ml is not found",
            detail="power, memory and clocks would be empty",
            advice="add /usr/lib/wsl/lib to LD_LIBRARY_PATH" if facts.wsl else cure,
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


CHECKS: tuple[Callable[[Facts], Iterator[Finding]], ...] = (
    check_hang,
    check_driver,
    check_driver_library,
    check_nvml_package,
)
