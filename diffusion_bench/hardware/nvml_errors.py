"""What NVML's errors mean, in words."""

from __future__ import annotations

import pynvml

from diffusion_bench.hardware.sensors import GPU_IS_LOST

LOST = (pynvml.NVML_ERROR_GPU_IS_LOST, pynvml.NVML_ERROR_RESET_REQUIRED)
NOT_TEXT = "the driver's answer is not text"  # seen on WSL 2
UNKNOWN = "the driver answers with an unknown error"
NOT_SUPPORTED = "this GPU or its driver does not support it"
TOO_OLD = "this driver is too old to tell"
NOT_PERMITTED = "the driver does not permit it to this user"
FOR_GOOD = (NOT_SUPPORTED, TOO_OLD, NOT_PERMITTED)  # it will say the same at the next look
REASONS = {
    pynvml.NVML_ERROR_NOT_SUPPORTED: NOT_SUPPORTED,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: TOO_OLD,
    pynvml.NVML_ERROR_NO_PERMISSION: NOT_PERMITTED,
    pynvml.NVML_ERROR_GPU_IS_LOST: f"{GPU_IS_LOST}: it fell off the bus; reboot",
    pynvml.NVML_ERROR_RESET_REQUIRED: f"{GPU_IS_LOST}: it needs a reset; reboot",
    pynvml.NVML_ERROR_UNKNOWN: UNKNOWN,
}
ANSWERLESS = (pynvml.NVMLError, UnicodeDecodeError)


def why(error: pynvml.NVMLError | UnicodeDecodeError) -> str:
    """Return what an error of NVML means, in words."""
    if isinstance(error, UnicodeDecodeError):
        return NOT_TEXT
    return REASONS.get(error.value, f"NVML: {error}")
