"""One NVIDIA GPU in Python, for machines without a C compiler: it stands where the library would.

It covers what is written around the bindings on every system, and neither the loading of a library
nor its layouts: for those there is `nvml_stub.c`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import pynvml
import pytest

from diffusion_bench.hardware import energy_counter

NUMBERS = {
    "nvmlDeviceGetCount_v2": 1,
    "nvmlDeviceGetPowerUsage": 140_000,
    "nvmlDeviceGetEnforcedPowerLimit": 300_000,
    "nvmlDeviceGetPowerManagementDefaultLimit": 305_000,
    "nvmlDeviceGetTotalEnergyConsumption": 1_000_000,
    "nvmlDeviceGetTemperature": 55,
    "nvmlDeviceGetClockInfo": 2520,
    "nvmlDeviceGetPerformanceState": 2,
    "nvmlDeviceGetCurrentClocksEventReasons": 4,
    "nvmlDeviceGetFanSpeed": 30,
    "nvmlDeviceGetCurrPcieLinkGeneration": 1,
    "nvmlDeviceGetCurrPcieLinkWidth": 8,
    "nvmlDeviceGetMaxPcieLinkGeneration": 4,
    "nvmlDeviceGetMaxPcieLinkWidth": 16,
    "nvmlDeviceGetDisplayActive": 0,
    "nvmlDeviceGetComputeRunningProcesses_v3": 0,
    "nvmlDeviceGetGraphicsRunningProcesses_v3": 0,
    "nvmlDeviceGetComputeRunningProcesses_v2": 0,
    "nvmlDeviceGetGraphicsRunningProcesses_v2": 0,
}
TEXTS = {
    "nvmlSystemGetDriverVersion": b"999.99",
    "nvmlDeviceGetName": b"NVIDIA GeForce RTX 4090",
    "nvmlDeviceGetUUID": b"GPU-00000000-0000-0000-0000-000000000000",
}
STRUCTURES = {
    "nvmlDeviceGetUtilizationRates": {"gpu": 42, "memory": 17},
    "nvmlDeviceGetMemoryInfo": {"total": 24_564 << 20, "used": 768 << 20},
    "nvmlDeviceGetMemoryInfo_v2": {"total": 24_564 << 20, "used": 512 << 20},
    "nvmlDeviceGetPciInfo_v3": {"busId": b"00000000:C1:00.0"},
}
DONE = ("nvmlInitWithFlags", "nvmlShutdown", "nvmlDeviceGetHandleByIndex_v2")
PAIRS = ("nvmlDeviceGetEccMode", "nvmlDeviceGetMigMode")  # what is, and what will be


class StandIn:
    """A library: `errors` are the codes of functions that fail, `None` of those that lack."""

    def __init__(self, errors: Mapping[str, int | None]) -> None:
        self._errors = errors

    def __getattr__(self, name: str) -> Callable[..., int]:
        if self._errors.get(name, 0) is None:
            raise AttributeError(name)

        def call(*arguments: Any) -> int:
            code = self._errors.get(name, 0)
            if code == 0:
                _answer(name, arguments)
            return code or 0

        return call


def _answer(name: str, arguments: tuple[Any, ...]) -> None:
    """Write into what the caller handed over by reference."""
    if name in NUMBERS:
        # Of processes the count stands before the list.
        place = 1 if "RunningProcesses" in name else -1
        arguments[place]._obj.value = NUMBERS[name]
    elif name in TEXTS:
        arguments[-2].value = TEXTS[name]
    elif name in STRUCTURES:
        for field, value in STRUCTURES[name].items():
            setattr(arguments[-1]._obj, field, value)
    elif name == "nvmlDeviceGetFieldValues":
        (value,) = arguments[-1]._obj
        value.nvmlReturn, value.value.uiVal = 0, 150_000
    elif name in PAIRS:
        arguments[-2]._obj.value = arguments[-1]._obj.value = 0
    else:
        assert name in DONE, name


@contextmanager
def standing_in(errors: Mapping[str, int | None] | None = None) -> Iterator[None]:
    """Let the bindings find the stand-in, and nothing of it afterwards."""
    before = pynvml.nvmlLib
    pynvml._nvmlGetFunctionPointer_cache.clear()
    pynvml.nvmlLib = StandIn(errors or {})
    try:
        with pytest.MonkeyPatch.context() as patch:
            # Its counter of energy stands: to wait for it longer shows no more.
            patch.setattr(energy_counter, "LIMIT_S", 0.02)
            yield
    finally:
        pynvml.nvmlLib = before
        pynvml._nvmlGetFunctionPointer_cache.clear()
