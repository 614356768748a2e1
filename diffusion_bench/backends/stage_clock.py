"""Times the stages and steps of a pipeline call from outside, by hooks on its own modules.

The pipeline runs as its authors wrote it. On CUDA the boundaries are events on the stream, so
nothing waits inside the loop; elsewhere they are readings of the clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal, Protocol

import torch
from torch import nn

from diffusion_bench.records import Stages

TEXT_ENCODERS = ("text_encoder", "text_encoder_2", "text_encoder_3")
DENOISERS = ("unet", "transformer")


class Mark(Protocol):
    """A point in time, on the device or on the host."""

    def seconds_since(self, start: Any) -> float:
        """Return the seconds from another mark of the same kind to this one."""


class HostMark:
    """A reading of `time.perf_counter`, after waiting for an MPS device if there is one."""

    def __init__(self, device: str) -> None:
        if device == "mps":
            torch.mps.synchronize()
        self.at_s = time.perf_counter()

    def seconds_since(self, start: HostMark) -> float:
        """Return the seconds from `start` to this mark."""
        return self.at_s - start.at_s


class CudaMark:
    """An event on the current CUDA stream; read only after a synchronisation."""

    def __init__(self, device: str) -> None:
        self.event = torch.cuda.Event(enable_timing=True)
        self.event.record(torch.cuda.current_stream(device))

    def seconds_since(self, start: CudaMark) -> float:
        """Return the seconds from `start` to this mark."""
        return float(start.event.elapsed_time(self.event)) / 1000


def synchronize(device: str) -> None:
    """Wait until the device has done all that it was given."""
    if device.startswith("cuda"):
        torch.cuda.synchronize(device)
    elif device == "mps":
        torch.mps.synchronize()


class StageClock:
    """Collects the marks of one pipeline call; `stages` and `step_s` are read after it."""

    def __init__(self, device: str) -> None:
        self._device = device
        self._new_mark: Callable[[str], Any] = CudaMark if device.startswith("cuda") else HostMark
        self._first: dict[str, Any] = {}
        self._last: dict[str, Any] = {}
        self._steps: list[tuple[Any, Any]] = []
        self._step_start: Any = None
        self._paused = False
        self.wall_s = 0.0

    @contextmanager
    def watching(self, pipeline: Any) -> Iterator[None]:
        """Time the call made inside the `with` block; hooks are removed after it."""
        handles = [handle for handle in self._hooks(pipeline) if handle is not None]
        synchronize(self._device)
        self._mark(self._first, "call")
        start_s = time.perf_counter()
        try:
            yield
            synchronize(self._device)
            self.wall_s = time.perf_counter() - start_s
        finally:
            for handle in handles:
                handle.remove()

    @contextmanager
    def step_ended(self) -> Iterator[None]:
        """Close a step; what runs inside the `with` block (a preview) belongs to no step."""
        start = self._step_start or self._first.get("denoiser")
        self._steps.append((start, self._new_mark(self._device)))
        self._paused = True
        try:
            yield
        finally:
            self._paused = False
            self._step_start = self._new_mark(self._device)

    @property
    def stage(self) -> Literal["text encoder", "denoising", "decoder"]:
        """Return the stage the call is in, or ended in if it failed."""
        if "decoder" in self._first:
            return "decoder"
        return "denoising" if "denoiser" in self._first else "text encoder"

    def step_s(self) -> tuple[float, ...]:
        """Return the seconds of each step, the first one counted from the first network call."""
        return tuple(end.seconds_since(start) for start, end in self._steps)

    def stages(self) -> Stages:
        """Return where the wall time went; what is in no stage is `other_s`."""
        text = self._span("text_encoder", since="call")
        decoder = self._span("decoder", since=None)
        denoising = sum(self.step_s())
        return Stages(
            text_encoder_s=text,
            denoising_s=denoising,
            decoder_s=decoder,
            other_s=max(0.0, self.wall_s - text - denoising - decoder),
        )

    def _span(self, name: str, *, since: str | None) -> float:
        if name not in self._last:
            return 0.0
        start = self._first[since or name]
        return float(self._last[name].seconds_since(start))

    def _mark(self, marks: dict[str, Any], name: str) -> None:
        if not self._paused:
            marks[name] = self._new_mark(self._device)

    def _hooks(self, pipeline: Any) -> Iterator[Any]:
        for name in TEXT_ENCODERS:
            yield self._end_hook(getattr(pipeline, name, None), "text_encoder")
        for name in DENOISERS:
            yield self._start_hook(getattr(pipeline, name, None), "denoiser")
        decoder = getattr(getattr(pipeline, "vae", None), "decoder", None)
        yield self._start_hook(decoder, "decoder")
        yield self._end_hook(decoder, "decoder")

    def _start_hook(self, module: nn.Module | None, name: str) -> Any:
        def mark(*_: object) -> None:
            if name not in self._first:
                self._mark(self._first, name)

        return module.register_forward_pre_hook(mark) if module is not None else None

    def _end_hook(self, module: nn.Module | None, name: str) -> Any:
        def mark(*_: object) -> None:
            self._mark(self._last, name)

        return module.register_forward_hook(mark) if module is not None else None
