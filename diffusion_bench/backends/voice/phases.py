"""Where the time of one utterance goes, by marks set at the borders between its phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import pairwise
from typing import Any

from torch import nn

from diffusion_bench.backends.stage_clock import CudaMark, HostMark, synchronize

STAGES = ("text", "prior", "denoising", "vocoder")
NO_STAGE = "other"


class PhaseClock:
    """Splits the time of one utterance into phases; `facts` is read after it.

    A phase lasts until the next is entered, and may be entered many times. On CUDA the borders are
    events on the stream, so nothing waits in between.
    """

    def __init__(self, device: str) -> None:
        self._device = device
        self._new_mark: Callable[[str], Any] = CudaMark if device.startswith("cuda") else HostMark
        self._borders: list[tuple[str, Any]] = []
        self._steps: list[tuple[Any, Any]] = []
        self._step_start: Any = None
        synchronize(device)

    def enter(self, phase: str) -> None:
        """End the phase that runs, if any, and begin another."""
        if not self._borders or self._borders[-1][0] != phase:
            self._borders.append((phase, self._new_mark(self._device)))

    def begin_steps(self) -> None:
        """Let the first step begin now; each later one begins where the one before it ended."""
        self._step_start = self._new_mark(self._device)

    @contextmanager
    def step_ended(self) -> Iterator[None]:
        """Close a step; what runs inside the `with` block (a callback) belongs to no phase."""
        self._steps.append((self._step_start, self._new_mark(self._device)))
        phase = self._borders[-1][0]
        self.enter(NO_STAGE)
        try:
            yield
        finally:
            self.enter(phase)
            self.begin_steps()

    @contextmanager
    def watching(
        self,
        modules: dict[str, tuple[nn.Module, str]],
        *,
        after: dict[nn.Module, Callable[..., None]],
    ) -> Iterator[None]:
        """Enter a phase when a module begins, while the `with` block runs.

        `modules`: by phase, the module that begins it and the phase that follows its end. `after`:
        what to call when a module has ended; it may raise to stop the model.
        """
        handles = [module.register_forward_hook(call) for module, call in after.items()]
        for phase, (module, next_phase) in modules.items():
            handles.append(module.register_forward_pre_hook(self._hook(phase)))
            handles.append(module.register_forward_hook(self._hook(next_phase)))
        try:
            yield
        finally:
            for handle in handles:
                handle.remove()

    def _hook(self, phase: str) -> Callable[..., None]:
        def enter(*_: object) -> None:
            self.enter(phase)

        return enter

    def facts(self) -> dict[str, Any]:
        """Return the fields of `Utterance` that are times, after waiting for the device."""
        self.enter("end")
        synchronize(self._device)
        seconds = dict.fromkeys(STAGES, 0.0)
        for (phase, start), (_, stop) in pairwise(self._borders):
            if phase in seconds:
                seconds[phase] += stop.seconds_since(start)
        return {
            **{f"{stage}_s": total for stage, total in seconds.items()},
            "step_s": tuple(stop.seconds_since(start) for start, stop in self._steps),
        }
