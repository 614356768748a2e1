"""What only the doctor asks of an NVIDIA driver: how it started, and how its cards are kept."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from diffusion_bench.records import Record

PCI_DEVICES = Path("/sys/bus/pci/devices")
MOST_LANES = 32  # of PCI Express; the kernel writes 255 where it does not know
Answer = TypeVar("Answer")


class CardHealth(Record):
    """One card; what it does not tell is `None`.

    `memory_errors` are those since the last boot that could not be corrected; `pcie_generation`
    and `pcie_width` are the most that the card alone can do, whatever its slot can.
    """

    index: int
    compute_capability: tuple[int, int] | None = None
    persistence: bool | None = None
    memory_errors: int | None = None
    pcie_generation: int | None = None
    pcie_width: int | None = None


class DriverHealth(Record):
    """The driver. `start_code` is NVML's answer to its start, `None` without nvidia-ml-py.

    `cuda` is the newest CUDA version, major and minor, that the driver can run.
    """

    start_code: int | None = None
    cuda: tuple[int, int] | None = None
    cards: tuple[CardHealth, ...] = ()


def ask_driver() -> DriverHealth:
    """Return what the driver tells. Waits for it: not for a driver that is known to hang."""
    try:
        import pynvml
    except ImportError:
        return DriverHealth()
    if not hasattr(pynvml, "_nvmlGetFunctionPointer"):  # another package of that name
        return DriverHealth()
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError as error:
        return DriverHealth(start_code=error.value)
    try:
        count = _told(pynvml.nvmlDeviceGetCount) or 0
        cuda = _told(pynvml.nvmlSystemGetCudaDriverVersion_v2)
        return DriverHealth(
            start_code=0,
            cuda=None if cuda is None else (cuda // 1000, cuda % 1000 // 10),
            cards=tuple(_card(pynvml, index) for index in range(count)),
        )
    finally:
        _told(pynvml.nvmlShutdown)


def _card(pynvml: Any, index: int) -> CardHealth:
    handle = _told(lambda: pynvml.nvmlDeviceGetHandleByIndex(index))
    if handle is None:
        return CardHealth(index=index)

    def failed_bits() -> int:
        return int(
            pynvml.nvmlDeviceGetTotalEccErrors(
                handle, pynvml.NVML_MEMORY_ERROR_TYPE_UNCORRECTED, pynvml.NVML_VOLATILE_ECC
            )
        )

    persistence = _told(lambda: pynvml.nvmlDeviceGetPersistenceMode(handle))
    capability = _told(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    return CardHealth(
        index=index,
        compute_capability=None if capability is None else tuple(capability),
        persistence=None if persistence is None else persistence == pynvml.NVML_FEATURE_ENABLED,
        memory_errors=_told(failed_bits),
        pcie_generation=_told(lambda: pynvml.nvmlDeviceGetGpuMaxPcieLinkGeneration(handle)),
        pcie_width=_lanes_of_card(pynvml, handle),
    )


def _lanes_of_card(pynvml: Any, handle: Any) -> int | None:
    """Return how many lanes the card has, as Linux reads off it: NVML's are those of its slot too.

    The kernel writes the domain of an address in four digits or as many as it needs, NVML in eight.
    """
    try:
        domain, place = pynvml.nvmlDeviceGetPciInfo(handle).busId.lower().split(":", 1)
        device = PCI_DEVICES / f"{int(domain, 16):04x}:{place}"
        lanes = int((device / "max_link_width").read_text())
    except (pynvml.NVMLError, OSError, ValueError):
        return None
    return lanes if 0 < lanes <= MOST_LANES else None


def _told(ask: Callable[[], Answer]) -> Answer | None:
    """Return the driver's answer, `None` where it has none: each question stands alone."""
    import pynvml

    try:
        return ask()
    except pynvml.NVMLError:
        return None
