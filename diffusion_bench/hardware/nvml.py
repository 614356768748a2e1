"""NVIDIA GPUs through NVML, each field on its own: what one GPU cannot tell costs no other field.

A question that a GPU's driver does not know is not asked again. A GPU that falls off the bus is
marked lost and the others go on. NVML numbers GPUs by PCI bus and ignores CUDA_VISIBLE_DEVICES:
match cards with CUDA's by `uuid`, not by index.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import pynvml

from diffusion_bench.hardware.nvml_questions import (
    CARD,
    FIXED,
    LIVE,
    PROCESSES,
    Ways,
    as_text,
)
from diffusion_bench.hardware.sensors import GpuInfo, count_others, sees_every_process
from diffusion_bench.records import GpuReading

NEVER = (pynvml.NVML_ERROR_NOT_SUPPORTED, pynvml.NVML_ERROR_FUNCTION_NOT_FOUND)
LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
NOT_TEXT = "the driver's answer is not text"  # seen on WSL 2
UNKNOWN = "the driver answers with an unknown error"
REASONS = {
    pynvml.NVML_ERROR_NOT_SUPPORTED: "this GPU or its driver does not support it",
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: "this driver is too old to tell",
    pynvml.NVML_ERROR_NO_PERMISSION: "the driver does not permit it to this user",
    pynvml.NVML_ERROR_GPU_IS_LOST: "the GPU is lost: it fell off the bus; reboot",
    pynvml.NVML_ERROR_RESET_REQUIRED: "the GPU is lost: it needs a reset; reboot",
    pynvml.NVML_ERROR_UNKNOWN: UNKNOWN,
}


class NvmlSensor:
    """Every NVIDIA GPU that the driver shows. Raises `pynvml.NVMLError` if NVML does not start."""

    def __init__(self) -> None:
        pynvml.nvmlInit()
        self.reason: str | None = None
        self._open = True
        self._driver, self._no_driver = _driver_version()
        try:
            self._gpus = tuple(_Gpu(index) for index in range(pynvml.nvmlDeviceGetCount()))
        except pynvml.NVMLError:
            self.close()
            raise

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
        drawing, _ = gpu.ask_pids("graphics")  # not on every card: then all count
        return count_others(compute, drawing or (), own_pids, sees_all=sees_every_process())

    def close(self) -> None:
        """Shut NVML down. Closing twice is fine."""
        if self._open:
            self._open = False
            pynvml.nvmlShutdown()


class _Gpu:
    """One GPU: its handle, what it has refused for good, and whether it is lost."""

    def __init__(self, index: int) -> None:
        self.index = index
        self.lost: str | None = None
        self._refused: dict[tuple[str, str], str] = {}
        self._chosen: dict[str, str] = {}
        try:
            self._handle = pynvml.nvmlDeviceGetHandleByIndex(index)
        except pynvml.NVMLError as error:
            self.lost = _why(error)
        self._fixed, self._fixed_missing = self._ask_all(FIXED)

    def read(self) -> GpuReading:
        """Return what the GPU tells now."""
        live, missing = self._ask_all(LIVE)
        return GpuReading(
            index=self.index, **self._fixed, **live, missing={**self._fixed_missing, **missing}
        )

    def info(self, driver: str | None, no_driver: str | None) -> GpuInfo:
        """Return what does not change, with the power limit as it is now."""
        reading = self.read()
        card, card_missing = self._ask_each(CARD)
        shared = GpuInfo.model_fields.keys() & GpuReading.model_fields.keys() - {"missing"}
        missing = {name: why for name, why in reading.missing.items() if name in shared}
        return GpuInfo(
            driver=driver,
            methods={
                name: way for name, way in self._chosen.items() if len(LIVE.get(name, ())) > 1
            },
            missing=missing | card_missing | ({"driver": no_driver} if no_driver else {}),
            **{name: getattr(reading, name) for name in shared},
            **card,
        )

    def ask_pids(self, kind: str) -> tuple[set[int] | None, str]:
        """Return the processes that use the GPU for `compute` or `graphics`, or the reason."""
        return self._ask(kind, PROCESSES[kind])

    def _ask_all(self, fields: dict[str, Ways]) -> tuple[dict[str, Any], dict[str, str]]:
        """Ask for each field, and notice when the GPU is lost."""
        answers, missing = self._ask_each(fields)
        # One unknown error is a field's trouble (WSL 2); nothing but errors is a lost GPU.
        if not self.lost and not answers and UNKNOWN in missing.values():
            self.lost = f"the GPU is lost: {UNKNOWN} to every question"
        return answers, missing

    def _ask_each(self, fields: dict[str, Ways]) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the answers, and for each field without one the reason."""
        answers: dict[str, Any] = {}
        missing: dict[str, str] = {}
        for name, ways in fields.items():
            answer, reason = self._ask(name, ways)
            if answer is None:
                missing[name] = reason
            else:
                answers[name] = answer
        return answers, missing

    def _ask(self, name: str, ways: Ways) -> tuple[Any, str]:
        """Return the answer of the first way that has one, or `None` and the reason.

        The way that answered first stays: a figure does not change its meaning during a run.
        """
        reason = ""
        for way, question in ways:
            if self.lost:
                return None, self.lost
            if self._chosen.get(name, way) != way:
                continue
            reason = self._refused.get((name, way), "")
            if reason:
                continue
            try:
                answer = question(self._handle)
            except pynvml.NVMLError as error:
                reason = self._note_refusal(name, way, error)
            except UnicodeDecodeError:
                reason = self._refused[name, way] = NOT_TEXT
            else:
                self._chosen[name] = way
                return answer, ""
        return None, reason

    def _note_refusal(self, name: str, way: str, error: pynvml.NVMLError) -> str:
        """Remember what an error means for later looks, and return it in words."""
        reason = _why(error)
        if error.value in LOST:
            self.lost = reason
        if error.value in NEVER:
            self._refused[name, way] = reason
        return reason


def _driver_version() -> tuple[str | None, str | None]:
    """Return the driver's version, or `None` and the reason."""
    try:
        return as_text(pynvml.nvmlSystemGetDriverVersion()), None
    except pynvml.NVMLError as error:
        return None, _why(error)
    except UnicodeDecodeError:
        return None, NOT_TEXT


def _why(error: pynvml.NVMLError) -> str:
    return REASONS.get(error.value, f"NVML: {error}")
