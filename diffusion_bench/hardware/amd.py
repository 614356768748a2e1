"""AMD's GPUs through the files of Linux's driver amdgpu, for a torch that is built for ROCm.

    /sys/class/drm/card0/device/                 vendor, unique_id, mem_info_vram_used, ...
                               /hwmon/hwmon3/    power1_average, temp1_input, freq1_input, ...

The files and their units are those of the kernel's "GPU amdgpu Thermal Controls and Monitoring".
"""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from diffusion_bench.hardware.sensors import GpuInfo, Uncounted
from diffusion_bench.records import GpuReading, trusted

ROOT = Path("/sys/class/drm")
# The products' names by the PCI device and revision: Radeons do not tell theirs, workstation cards
# do. The file is libdrm's, which AMD's own driver and a torch for ROCm bring too.
NUMBERS = ("device", "revision")
IDS = "share/libdrm/amdgpu.ids"
PREFIXES = (Path("/usr"), Path("/opt/amdgpu"))
CARD = re.compile(r"card\d+")
VENDOR = "0x1002"
MIB = 2**20

GENERATIONS = {"2.5": 1, "5.0": 2, "8.0": 3, "16.0": 4, "32.0": 5, "64.0": 6}  # GT/s a lane

NO_FILE = "AMD's driver shows no such figure for this GPU"
NOT_PERMITTED = "this user may not read the driver's file"
NOT_READ = "AMD's driver keeps it in a table that this program does not read"
NO_COUNTER = "AMD's driver shows no energy counter; power is integrated"

Parse = Callable[[str], Any]
Ways = tuple[tuple[str, str, Parse], ...]  # how, the file (of `*`: any), from its text


def _divided(by: float) -> Parse:
    return lambda text: float(text) / by


def _generation(text: str) -> int | None:
    return GENERATIONS.get(text.split(maxsplit=1)[0])


FIXED: dict[str, Ways] = {
    "name": (("driver", "product_name", lambda text: text or None),),
    "uuid": (("driver", "unique_id", lambda text: f"GPU-{text}"),),
    "memory_total_mib": (("driver", "mem_info_vram_total", _divided(MIB)),),
}
LIVE: dict[str, Ways] = {
    "utilization_percent": (("driver", "gpu_busy_percent", float),),
    "memory_utilization_percent": (("driver", "mem_busy_percent", float),),
    "memory_used_mib": (("driver", "mem_info_vram_used", _divided(MIB)),),
    "power_w": (
        ("instant", "hwmon/hwmon*/power1_input", _divided(1e6)),
        ("average", "hwmon/hwmon*/power1_average", _divided(1e6)),
    ),
    "power_limit_w": (("driver", "hwmon/hwmon*/power1_cap", _divided(1e6)),),
    "temperature_c": (("driver", "hwmon/hwmon*/temp1_input", _divided(1e3)),),
    "sm_clock_mhz": (("driver", "hwmon/hwmon*/freq1_input", _divided(1e6)),),
    "memory_clock_mhz": (("driver", "hwmon/hwmon*/freq2_input", _divided(1e6)),),
    "fan_percent": (("driver", "hwmon/hwmon*/pwm1", _divided(2.55)),),
    "pcie_generation_now": (("driver", "current_link_speed", _generation),),
    "pcie_width_now": (("driver", "current_link_width", int),),
}
WHOLE: dict[str, Ways] = {
    "power_limit_default_w": (("driver", "hwmon/hwmon*/power1_cap_default", _divided(1e6)),),
    "pcie_generation": (("driver", "max_link_speed", _generation),),
    "pcie_width": (("driver", "max_link_width", int),),
}
LACKS = {
    "energy_j": NO_COUNTER,
    "energy_update_s": NO_COUNTER,
    "performance_state": NOT_READ,
    "throttle_reasons": NOT_READ,
    "processes": NOT_READ,
}
CARD_LACKS = dict.fromkeys(
    ("display_active", "ecc_enabled", "mig_enabled", "unified_memory", "driver"), NOT_READ
)


class AmdSensor(Uncounted):
    """Every AMD GPU under `root`, in the order of the driver's numbers."""

    why_uncounted = NOT_READ

    def __init__(self, root: Path = ROOT) -> None:
        self._gpus = tuple(_Gpu(index, folder) for index, folder in enumerate(_folders(root)))

    def read(self) -> tuple[GpuReading, ...]:
        """Return one reading a GPU."""
        return tuple(gpu.read() for gpu in self._gpus)

    def cards(self) -> tuple[GpuInfo, ...]:
        """Return what does not change about each GPU."""
        return tuple(gpu.info() for gpu in self._gpus)


class _Gpu:
    """One GPU: the folder of its files."""

    def __init__(self, index: int, folder: Path) -> None:
        self._index = index
        self._folder = folder
        self._paths: dict[str, Path] = {}  # of files with a number of the system's in their path
        self._chosen: dict[str, str] = {}
        self._fixed, self._fixed_missing = self._ask(FIXED)
        if "name" not in self._fixed and (name := self._listed_name()):
            self._fixed["name"] = name
            del self._fixed_missing["name"]

    def read(self) -> GpuReading:
        live, missing = self._ask(LIVE)
        return trusted(
            GpuReading,
            index=self._index,
            power_scope="gpu",
            **self._fixed,
            **live,
            missing={**self._fixed_missing, **missing, **LACKS},
        )

    def info(self) -> GpuInfo:
        reading = self.read()
        whole, missing = self._ask(WHOLE)
        shared = GpuInfo.model_fields.keys() & GpuReading.model_fields.keys() - {"missing"}
        missing |= {name: why for name, why in reading.missing.items() if name in shared}
        return GpuInfo(
            vendor="amd",
            methods={name: self._chosen[name] for name in ("power_w",) if name in self._chosen},
            missing=missing | CARD_LACKS,
            **{name: getattr(reading, name) for name in shared},
            **whole,
        )

    def _ask(self, fields: dict[str, Ways]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the answers, and for each field without one the reason."""
        answers: dict[str, Any] = {}
        missing: dict[str, str] = {}
        for name, ways in fields.items():
            for way, file, parse in ways:
                if self._chosen.get(name, way) != way:
                    continue  # a figure does not change its meaning during a run
                value, reason = self._value(file, parse)
                if value is None:
                    missing[name] = reason
                    continue
                answers[name] = value
                self._chosen[name] = way
                missing.pop(name, None)
                break
        return answers, missing

    def _value(self, file: str, parse: Parse) -> tuple[Any, str]:
        try:
            value = parse(self._path(file).read_text(encoding="ascii", errors="replace").strip())
        except PermissionError:
            return None, NOT_PERMITTED
        except FileNotFoundError:
            return None, NO_FILE
        except (OSError, ValueError, IndexError) as error:  # a sleeping GPU answers EBUSY
            return None, f"the driver's file cannot be read ({error})"
        return value, "" if value is not None else NO_FILE

    def _listed_name(self) -> str | None:
        numbers = [self._value(file, lambda text: int(text, 16))[0] for file in NUMBERS]
        return None if None in numbers else listed_name(*numbers)

    def _path(self, file: str) -> Path:
        if file not in self._paths:
            self._paths[file] = next(iter(sorted(self._folder.glob(file))), self._folder / file)
        return self._paths[file]


def listed_name(device: int, revision: int) -> str | None:
    """Return the name of a product in the first list that has it: "744C, C8, AMD Radeon ..."."""
    for prefix in (*PREFIXES, *_torchs_folder()):
        try:
            text = (prefix / IDS).read_text(encoding="utf-8", errors="replace")
        except OSError:
            continue
        for line in text.splitlines():
            words = [word.strip() for word in line.split(",", maxsplit=2)]
            if [word.upper() for word in words[:2]] == [f"{device:04X}", f"{revision:02X}"]:
                return words[-1] or None
    return None


def _torchs_folder() -> list[Path]:
    spec = importlib.util.find_spec("torch")
    return [Path(spec.origin).parent] if spec and spec.origin else []


def _folders(root: Path) -> list[Path]:
    """Return the device folder of each AMD card; `card0-DP-1` is a connector."""
    cards = (entry for entry in root.glob("card*") if CARD.fullmatch(entry.name))
    devices = [card / "device" for card in sorted(cards, key=lambda card: int(card.name[4:]))]
    return [device for device in devices if _vendor(device) == VENDOR]


def _vendor(device: Path) -> str:
    try:
        return (device / "vendor").read_text(encoding="ascii").strip()
    except OSError:
        return ""
