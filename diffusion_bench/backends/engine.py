"""The engine: one loaded model, and one job at a time on a device."""

from __future__ import annotations

import gc
from collections.abc import Callable
from typing import TYPE_CHECKING

from diffusion_bench.backends.device import hold_device, pick_device
from diffusion_bench.records import Generation, ImageRequest, OnStep, PrecisionName, ignore_step

if TYPE_CHECKING:
    from diffusion_bench.backends.images import ImageBackend


class Engine:
    """Loads models when they are first asked for and keeps the last one.

    The lock is the engine's, not the web queue's, because requests can pass by that queue.
    """

    def __init__(self, device: str | None = None) -> None:
        self._asked_device = device
        self._loaded: ImageBackend | None = None

    @property
    def device(self) -> str:
        """Return the device jobs run on; the first call imports torch."""
        return pick_device(self._asked_device)

    def generate(
        self,
        request: ImageRequest,
        on_step: OnStep = ignore_step,
        *,
        wait_s: float = 0.0,
        on_wait: Callable[[], None] | None = None,
    ) -> Generation:
        """Draw a request, after waiting up to `wait_s` for the device; see `ImageBackend`.

        Raises `DeviceBusy` if the device stays taken. `on_wait` may raise to stop waiting.
        """
        with hold_device(self.device, wait_s=wait_s, on_wait=on_wait):
            backend, _ = self.backend(request.model, request.precision)
            return backend.generate(request, on_step)

    def backend(
        self, model: str, precision: PrecisionName, *, revision: str | None = None
    ) -> tuple[ImageBackend, bool]:
        """Return the loaded model and whether it had to be loaded; the caller holds the device.

        `revision` is the commit of a hub model to load; a model that is loaded stays as it is.
        """
        from diffusion_bench.backends.images import ImageBackend

        # No other name for the old model here: it would outlive `unload`, and two may not fit.
        if self._loaded is not None:
            if (self._loaded.model, self._loaded.precision) == (model, precision):
                return self._loaded, False
            self.unload()
        self._loaded = ImageBackend.load(
            model, device=self.device, precision=precision, revision=revision
        )
        return self._loaded, True

    def unload(self) -> None:
        """Let go of the loaded model, so that its memory is free for a benchmark."""
        self._loaded = None
        gc.collect()
        if self.device.startswith("cuda"):
            import torch

            torch.cuda.empty_cache()
