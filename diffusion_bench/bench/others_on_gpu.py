"""The other programs on a cell's GPU: asked about before it, and again and again while it runs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

from diffusion_bench.hardware.sensors import Sensor
from diffusion_bench.hardware.state import NO_GPU_USED

ASK_EVERY_S = 1.0  # as often as a sensor asks for what moves slowly: the driver's answer takes time

NOBODY_ASKED = (None, "the devices were not started together")

Told = tuple[int | None, str]  # how many there are, or `None` and why that cannot be told


def most_of(told: Sequence[Told]) -> Told:
    """Return the most of what was told of several GPUs; who cannot tell counts where none can."""
    return max(told, key=lambda one: -1 if one[0] is None else one[0], default=NOBODY_ASKED)


class OthersOnGpu:
    """Asks a sensor how many other programs compute on a GPU, and keeps the `most` there were.

    `own_pids` are this program's processes that may use it. Without a `gpu_index` nobody is asked.
    """

    def __init__(
        self,
        sensor: Sensor,
        gpu_index: int | None,
        own_pids: Collection[int],
        clock: Callable[[], float],
    ) -> None:
        self._sensor, self._gpu_index, self._own_pids = sensor, gpu_index, own_pids
        self._clock, self._asked_s = clock, 0.0
        self.most: Told = None, NO_GPU_USED
        self.ask()

    def ask(self) -> None:
        """Ask now."""
        if self._gpu_index is None:
            return
        told = self._sensor.other_processes(self._gpu_index, self._own_pids)
        self._asked_s = self._clock()
        if self.most[0] is None or (told[0] or 0) > self.most[0]:
            self.most = told

    def ask_now_and_then(self) -> None:
        """Ask where the last answer is a second old."""
        if self._clock() - self._asked_s >= ASK_EVERY_S:
            self.ask()
