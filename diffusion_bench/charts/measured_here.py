"""Whether a report was measured on the machine at hand.

It lies here because it needs both `reports` and `hardware`, which do not import each other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from diffusion_bench.hardware.machine import MachineInfo
    from diffusion_bench.reports.schema import Report

SAME_MEMORY = 0.05  # of the machine's: what the system takes for itself changes


class Host(Protocol):
    """A machine without its GPUs, as whoever tells of it names it."""

    @property
    def cpu(self) -> str | None:
        """The processor's name."""

    @property
    def cores_logical(self) -> int:
        """Its threads."""

    @property
    def ram_mib(self) -> float:
        """The machine's memory."""


def same_host(here: Host, there: Host) -> bool:
    """Return whether two tell of one processor, and of as much memory."""
    same = (there.cpu, there.cores_logical) == (here.cpu, here.cores_logical)
    return same and abs(there.ram_mib - here.ram_mib) < SAME_MEMORY * here.ram_mib


def was_measured_on(here: MachineInfo, report: Report) -> bool:
    """Return whether a report names this machine's processor, memory and GPUs.

    The operating system is left out: it is updated, and the machine stays the same.
    """
    there = report.header.machine
    names = [[card.name for card in side.gpus] for side in (there, here)]
    return same_host(here, there) and names[0] == [name or "unknown" for name in names[1]]
