"""Whether a cell fits its device's memory, and the two numbers behind the answer.

out of memory   the cell ended so
spilled         its peak is past what the device has, or the driver is known to have swapped
tight           less than 10 percent of the memory is left
fits            more is left
"""

from __future__ import annotations

from typing import Literal

from diffusion_bench.records import Record
from diffusion_bench.reports.labels import card_of, is_gpu
from diffusion_bench.reports.schema import Cell, Header

TIGHT_BELOW = 0.10  # of the memory left: another program's window, or a longer prompt, takes that

Fit = Literal["fits", "tight", "spilled", "out of memory"]


class MemoryFit(Record):
    """A verdict, or `None` and the reason; peak and limit where they are known."""

    verdict: Fit | None
    reason: str
    used_mib: float | None = None
    limit_mib: float | None = None


def fit_verdict(cell: Cell, header: Header, *, slow: bool = False) -> MemoryFit:
    """Return how a cell fits.

    `slow` says that it takes far longer than the line through its shape. On a GPU whose driver
    moves memory to the host instead of failing, a cell that is slow and leaves nothing to spare
    has spilled, although no counter goes past the total.
    """
    if cell.status == "oom":
        return MemoryFit(verdict="out of memory", reason=cell.message[:200] or "out of memory")
    if cell.status != "ok":
        return MemoryFit(verdict=None, reason=f"the cell ended as {cell.status}")
    used_mib, limit_mib = _used_mib(cell, header), _limit_mib(cell, header)
    if used_mib is None:
        return MemoryFit(verdict=None, reason=_why_not(cell, header), limit_mib=limit_mib)
    if not limit_mib or limit_mib <= 0:
        reason = "the report does not say how much memory the device has"
        return MemoryFit(verdict=None, reason=reason, used_mib=used_mib)
    left = 1 - used_mib / limit_mib
    spills = slow and left < TIGHT_BELOW and is_gpu(header)
    verdict: Fit = "tight" if left < TIGHT_BELOW else "fits"
    if left < 0 or spills or _reserved_past_total(cell, limit_mib, header):
        verdict = "spilled"
    reason = f"peak {used_mib:.0f} of {limit_mib:.0f} MiB"
    reason += ", and slower than the line of its steps" if spills else ""
    return MemoryFit(verdict=verdict, reason=reason, used_mib=used_mib, limit_mib=limit_mib)


def _limit_mib(cell: Cell, header: Header) -> float | None:
    if header.plan.emulated_memory_mib is not None:
        return header.plan.emulated_memory_mib
    if not is_gpu(header):
        return header.machine.ram_mib
    card = card_of(cell, header)
    return card.memory_total_mib if card else None


def _used_mib(cell: Cell, header: Header) -> float | None:
    """Return the peak that is set against the limit: of the whole GPU, or of this process."""
    memory = cell.memory
    if not is_gpu(header):
        return memory.rss_mib
    if header.plan.emulated_memory_mib is not None:
        return memory.torch_reserved_mib  # the cap is on torch's allocator
    if memory.nvml_used_mib is not None:
        return memory.nvml_used_mib
    if memory.torch_reserved_mib is None or memory.nvml_idle_mib is None:
        return None
    return memory.torch_reserved_mib + memory.nvml_idle_mib


def _reserved_past_total(cell: Cell, limit_mib: float, header: Header) -> bool:
    """Return whether torch holds more than there is, which no counter of the card can show."""
    reserved_mib = cell.memory.torch_reserved_mib
    return is_gpu(header) and reserved_mib is not None and reserved_mib > limit_mib


def _why_not(cell: Cell, header: Header) -> str:
    name = "nvml_used_mib" if is_gpu(header) else "rss_mib"
    if is_gpu(header) and header.plan.emulated_memory_mib is not None:
        name = "torch_reserved_mib"
    return cell.memory.missing.get(name) or f"{name} was not measured"
