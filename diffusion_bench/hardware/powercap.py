"""The processor's own energy counter (RAPL), through Linux's powercap folders.

    /sys/class/powercap/intel-rapl:0/name              package-0
                                    /energy_uj         microjoules, starts anew at the range
                                    /max_energy_range_uj

Processors of AMD show theirs in the same folders. Parts of a package (cores, memory) have folders
of their own one level deeper, and `psys` is the whole board: adding those would count twice.
Kernels since 5.10 let only root read the counter, which can give away what runs.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path("/sys/class/powercap")
PACKAGE = re.compile(r"package-\d+(-die-\d+)?")

NOT_LINUX = "only Linux shows the processor's energy counter"
NO_COUNTER = "this system shows no energy counter of the processor; virtual machines have none"
NOT_PERMITTED = (
    "only root may read the processor's energy counter; to permit it until the next start: "
    "sudo chmod o+r /sys/class/powercap/intel-rapl:*/energy_uj"
)


class PackageEnergy:
    """Adds up the counters of all packages since the first look, and never falls.

    Look more often than a counter starts anew: after some minutes at full power.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._packages: list[_Package] | None = None

    def read_j(self) -> tuple[float | None, str | None]:
        """Return the joules of all packages, or `None` and the reason."""
        if not sys.platform.startswith("linux"):
            return None, NOT_LINUX
        try:
            if self._packages is None:
                self._packages = [_Package(folder) for folder in _package_folders(self._root)]
            if not self._packages:
                return None, NO_COUNTER
            return sum(package.read_uj() for package in self._packages) / 1e6, None
        except PermissionError:
            return None, NOT_PERMITTED
        except (OSError, ValueError) as error:
            return None, f"the processor's energy counter cannot be read ({error})"


class _Package:
    """One processor: its counter's range, its last value, and what has come together."""

    def __init__(self, folder: Path) -> None:
        self._counter = folder / "energy_uj"
        self._range_uj = _whole_number(folder / "max_energy_range_uj")
        self._last_uj: int | None = None
        self._total_uj = 0

    def read_uj(self) -> int:
        now_uj = _whole_number(self._counter)
        moved_uj = 0 if self._last_uj is None else now_uj - self._last_uj
        if moved_uj < 0:
            around_uj = moved_uj + self._range_uj
            # A fall that would mean half the range and more is a counter that was set back, as by
            # a machine that slept: what it counted in between is not known, and nothing is added.
            moved_uj = around_uj if around_uj < self._range_uj / 2 else 0
        self._last_uj = now_uj
        self._total_uj += moved_uj
        return self._total_uj


def _package_folders(root: Path) -> list[Path]:
    """Return the folders of whole packages. `intel-rapl-mmio` shows the same ones again."""
    folders = sorted(root.glob("intel-rapl:*"))
    return [folder for folder in folders if PACKAGE.fullmatch(_name(folder))]


def _name(folder: Path) -> str:
    try:
        return (folder / "name").read_text(encoding="ascii", errors="replace").strip()
    except OSError:  # containers leave the folders and hide what is in them
        return ""


def _whole_number(path: Path) -> int:
    return int(path.read_text(encoding="ascii"))
