"""How far Tortoise is and how long it took: passes of its networks, and seconds of its stages."""

from __future__ import annotations

from typing import Any

from diffusion_bench.backends.stage_clock import CudaMark, HostMark, synchronize
from diffusion_bench.backends.voice.base import OnChunkStep


class Progress:
    """Counts the passes of one utterance: `codes` of each drawing, then denoising steps.

    A drawing may end before its last code; its other passes are counted as if they had been.
    """

    def __init__(
        self, on_step: OnChunkStep, device: str, *, codes: int, drawings: int, denoising_steps: int
    ) -> None:
        self._on_step = on_step
        self._device = device
        self._codes = codes
        self._num_steps = drawings * codes + denoising_steps
        self._done = 0
        self._drawings_done = 0
        self._start: Any = None
        self._spans: list[tuple[Any, Any]] = []

    def code_drawn(self) -> None:
        """Tell of one more code of each sequence of the drawing."""
        self._tell(self._done)

    def drawing_ended(self) -> None:
        """Tell of the end of a drawing, unless its last code has told of it."""
        self._drawings_done += 1
        last = self._drawings_done * self._codes - 1
        if self._done <= last:
            self._tell(last)

    def denoising_starts(self) -> None:
        """Take the time from which the next denoising step is counted."""
        self._start = self._mark()

    def denoised(self, index: int) -> None:
        """Tell of a denoising step. What the watcher does then belongs to no step."""
        self._spans.append((self._start, self._mark()))
        self._tell(self._done)
        self._start = self._mark()

    def step_s(self) -> tuple[float, ...]:
        """Return the seconds of each denoising step, in order, of all candidates."""
        synchronize(self._device)
        return tuple(end.seconds_since(start) for start, end in self._spans)

    def _tell(self, index: int) -> None:
        self._done = index + 1
        self._on_step(index, self._num_steps)

    def _mark(self) -> Any:
        return CudaMark(self._device) if self._device.startswith("cuda") else HostMark(self._device)


class Laps:
    """A watch that is read at the ends of stages, with the device idle."""

    def __init__(self, device: str) -> None:
        self._device = device
        synchronize(device)
        self._at = HostMark(device)

    def lap_s(self) -> float:
        """Return the seconds since the last reading, or since the start."""
        synchronize(self._device)
        now = HostMark(self._device)
        lap_s = now.seconds_since(self._at)
        self._at = now
        return lap_s
