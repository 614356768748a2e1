"""NVIDIA GPUs through NVML, each field on its own: what one GPU cannot tell costs no other field.

A question that a GPU's driver does not know is not asked again. A GPU that falls off the bus is
marked lost, asked for again now and then, and the others go on. A card that is split by MIG is
followed by its instances, as GPUs of their own. NVML numbers GPUs by PCI bus and ignores
CUDA_VISIBLE_DEVICES: match cards with CUDA's by `uuid`, not by index (`matching.py`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Collection, Iterator

import pynvml

from diffusion_bench.hardware.energy_counter import find_update_periods
from diffusion_bench.hardware.nvml_errors import ANSWERLESS, FOR_GOOD, why
from diffusion_bench.hardware.nvml_gpu import NvmlGpu
from diffusion_bench.hardware.nvml_questions import Handle, as_text
from diffusion_bench.hardware.sensors import GpuInfo, count_others, sees_every_process
from diffusion_bench.records import GpuReading


class NvmlSensor:
    """Every NVIDIA GPU that the driver shows. Raises `pynvml.NVMLError` if NVML does not start."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        pynvml.nvmlInit()
        self.reason: str | None = None
        self._open = True
        self._driver, self._no_driver = _driver_version()
        try:
            self._gpus = _find_gpus(clock)
        except pynvml.NVMLError:
            self.close()
            raise
        cards = {gpu.index: gpu for gpu in self._gpus if gpu.parent_index is None}
        periods = find_update_periods({index: gpu.energy_j for index, gpu in cards.items()})
        for index, gpu in cards.items():
            gpu.note_update_period(periods.get(index))

    def read(self) -> tuple[GpuReading, ...]:
        """Return one reading a GPU; a lost GPU reads `None` everywhere, with the reason."""
        return tuple(gpu.read() for gpu in self._gpus)

    def cards(self) -> tuple[GpuInfo, ...]:
        """Return what does not change about each GPU."""
        return tuple(gpu.info(self._driver, self._no_driver) for gpu in self._gpus)

    def other_processes(self, gpu_index: int, own_pids: Collection[int]) -> tuple[int | None, str]:
        """Return how many other programs compute on a GPU, or `None` and why it cannot tell.

        `own_pids` are this program's processes that may use the GPU. Programs that draw on it are
        left out: a desktop has them always, and what they cost shows in the utilisation.
        """
        gpu = next((gpu for gpu in self._gpus if gpu.index == gpu_index), None)
        if gpu is None:
            return None, f"the driver shows no GPU {gpu_index}"
        compute, reason = gpu.ask_pids("compute")
        if compute is None:
            return None, reason
        drawing, no_drawing = gpu.ask_pids("graphics")
        if drawing is None and no_drawing not in FOR_GOOD:
            return None, no_drawing  # at this look alone: a desktop's programs would be others
        # Not on every card: then all count.
        return count_others(compute, drawing or (), own_pids, sees_all=sees_every_process())

    def close(self) -> None:
        """Shut NVML down. Closing twice is fine."""
        if self._open:
            self._open = False
            with contextlib.suppress(pynvml.NVMLError):  # the driver may be gone by now
                pynvml.nvmlShutdown()


def _find_gpus(clock: Callable[[], float]) -> tuple[NvmlGpu, ...]:
    """Return the cards, then the instances of those that are split."""

    def finder(index: int) -> Callable[[], Handle]:
        return lambda: pynvml.nvmlDeviceGetHandleByIndex(index)

    count = pynvml.nvmlDeviceGetCount()
    cards = [NvmlGpu(index, finder(index), clock=clock) for index in range(count)]
    gpus = list(cards)
    for card in cards:
        gpus += _find_instances(card, len(gpus), clock)
    return tuple(gpus)


def _find_instances(
    card: NvmlGpu, first_index: int, clock: Callable[[], float]
) -> Iterator[NvmlGpu]:
    """Yield the MIG instances that a card is split into, numbered from `first_index`."""
    if card.lost:
        return
    try:
        if pynvml.nvmlDeviceGetMigMode(card.handle)[0] != pynvml.NVML_DEVICE_MIG_ENABLE:
            return
        places = pynvml.nvmlDeviceGetMaxMigDeviceCount(card.handle)
    except pynvml.NVMLError:  # a card, or a driver, that knows no MIG
        return
    index = first_index
    for place in range(places):
        try:
            pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card.handle, place)
        except pynvml.NVMLError:  # nothing in this place
            continue

        def find(place: int = place) -> Handle:
            return pynvml.nvmlDeviceGetMigDeviceHandleByIndex(card.handle, place)

        yield NvmlGpu(index, find, parent_index=card.index, clock=clock)
        index += 1


def _driver_version() -> tuple[str | None, str | None]:
    """Return the driver's version, or `None` and the reason."""
    try:
        return as_text(pynvml.nvmlSystemGetDriverVersion()), None
    except ANSWERLESS as error:
        return None, why(error)
