"""What this machine is, for a report's header. Never its name, nor its user's."""

from __future__ import annotations

import ast
import importlib.metadata
import importlib.util
import os
import platform
import subprocess
import sys
from pathlib import Path

import psutil

from diffusion_bench.hardware.sensors import GpuInfo, Sensor
from diffusion_bench.records import Record

MIB = 2**20
UNKNOWN_CPU = "unknown processor"


class MachineInfo(Record):
    """The hardware and operating system."""

    os: str
    architecture: str
    cpu: str
    cores_physical: int | None = None
    cores_logical: int
    ram_mib: float
    gpus: tuple[GpuInfo, ...] = ()
    no_gpu: str | None = None


class SoftwareInfo(Record):
    """Installed versions; `None` is not installed. `cuda` or `rocm` is what torch was built for."""

    python: str
    torch: str | None = None
    cuda: str | None = None
    rocm: str | None = None
    diffusers: str | None = None
    transformers: str | None = None
    gradio: str | None = None


def describe_machine(sensor: Sensor) -> MachineInfo:
    """Return what the machine is made of."""
    return MachineInfo(
        os=_os_name(),
        architecture=platform.machine(),
        cpu=cpu_name(),
        cores_physical=physical_cores(),
        cores_logical=psutil.cpu_count() or os.cpu_count() or 1,
        ram_mib=memory_mib(),
        gpus=sensor.cards(),
        no_gpu=sensor.reason,
    )


def physical_cores() -> int | None:
    """Return the number of cores, `None` where the system does not tell it."""
    try:
        cores: int | None = psutil.cpu_count(logical=False)
    except OSError:
        return None
    return cores


def memory_mib() -> float:
    """Return all memory of the host."""
    try:
        return float(psutil.virtual_memory().total) / MIB
    except OSError:  # no /proc: the C library asks the kernel itself
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / MIB


def describe_software() -> SoftwareInfo:
    """Return the installed versions without importing what is installed."""
    return SoftwareInfo(
        python=platform.python_version(),
        torch=installed_version("torch"),
        cuda=torch_build("cuda"),
        rocm=torch_build("hip"),
        diffusers=installed_version("diffusers"),
        transformers=installed_version("transformers"),
        gradio=installed_version("gradio"),
    )


def installed_version(distribution: str) -> str | None:
    """Return the version of an installed distribution, `None` where it is not installed."""
    try:
        return importlib.metadata.version(distribution)
    except importlib.metadata.PackageNotFoundError:
        return None


def torch_build(toolkit: str) -> str | None:
    """Return the version of `cuda` or `hip` (ROCm) that torch was built for, `None` for neither.

    From torch's `version.py`: importing is slow.
    """
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return None
    try:
        source = (Path(spec.origin).parent / "version.py").read_text(encoding="utf-8")
        return version_constant(source, toolkit)
    except (OSError, SyntaxError, ValueError):
        return None


def version_constant(source: str, name: str) -> str | None:
    """Return the text that Python `source` assigns to `name` at its top level, else `None`."""
    for statement in ast.parse(source).body:
        if isinstance(statement, ast.Assign):
            targets = statement.targets
        elif isinstance(statement, ast.AnnAssign):
            targets = [statement.target]
        else:
            continue
        if any(isinstance(target, ast.Name) and target.id == name for target in targets):
            value = statement.value
            text = value.value if isinstance(value, ast.Constant) else None
            return text if isinstance(text, str) else None
    return None


def _os_name() -> str:
    """Return system and release, with the distribution on Linux."""
    name = f"{platform.system()} {platform.release()}"
    if sys.platform == "darwin":
        return f"macOS {platform.mac_ver()[0]}"
    if sys.platform == "win32":
        return f"Windows {platform.release()} ({platform.version()})"
    try:
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {name}"
    except (OSError, KeyError):
        return name


def cpu_name() -> str:
    """Return the processor's product name where the system tells it."""
    try:
        if sys.platform == "win32":
            return _windows_cpu_name()
        if sys.platform == "darwin":
            command = ["/usr/sbin/sysctl", "-n", "machdep.cpu.brand_string"]
            asked = subprocess.run(command, capture_output=True, text=True, timeout=5, check=True)
            return asked.stdout.strip() or UNKNOWN_CPU
        return cpu_name_in(Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace"))
    except (OSError, subprocess.SubprocessError):
        return UNKNOWN_CPU


def cpu_name_in(cpuinfo: str) -> str:
    """Return the product name in the text of `/proc/cpuinfo`; ARM kernels often give none."""
    named = {}
    for line in cpuinfo.splitlines():
        key, _, value = line.partition(":")
        named[key.strip()] = value
    for key in ("model name", "Model", "Hardware", "cpu model"):
        if named.get(key, "").strip():
            return " ".join(named[key].split())
    return UNKNOWN_CPU


def _windows_cpu_name() -> str:
    """Return the name in the registry."""
    if sys.platform != "win32":
        return UNKNOWN_CPU
    import winreg

    path = r"HARDWARE\DESCRIPTION\System\CentralProcessor\0"
    with winreg.OpenKey(winreg.HKEY_LOCAL_MACHINE, path) as key:
        return str(winreg.QueryValueEx(key, "ProcessorNameString")[0]).strip() or UNKNOWN_CPU
