"""A look at the GPUs while data are copied to them: a PCIe link at rest goes down to save power."""

from __future__ import annotations

import time
from typing import Any

from diffusion_bench.hardware.sensors import Sensor
from diffusion_bench.records import GpuReading

BLOCK_BYTES = 64 * 2**20
COPIES = 16  # in flight while the sensor is read: 40 ms at 25 GB/s
# The sensor answers with the link of the last second; after that it asks anew.
AT_WORK_S = 1.2


def read_under_load(
    sensor: Sensor, torch: Any = None, at_work_s: float = AT_WORK_S
) -> tuple[GpuReading, ...]:
    """Return a reading of every GPU while each that CUDA shows receives data; takes a second.

    Empty where a copy fails: then there was no load. `torch` is the module, imported if `None`.
    """
    if torch is None:
        import torch
    try:
        # Pinned, or the processor would copy first; not blocking, or the copies would be over.
        block = torch.empty(BLOCK_BYTES, dtype=torch.uint8, pin_memory=True)
        there = [
            torch.empty(BLOCK_BYTES, dtype=torch.uint8, device=f"cuda:{index}")
            for index in range(torch.cuda.device_count())
        ]
        ends_at_s = time.monotonic() + at_work_s
        while True:
            for _ in range(COPIES):
                for target in there:
                    target.copy_(block, non_blocking=True)
            if time.monotonic() >= ends_at_s:
                readings = sensor.read()
                break
            torch.cuda.synchronize()
        torch.cuda.synchronize()
    except RuntimeError:  # torch's word for every trouble of CUDA, also for being out of memory
        return ()
    return readings
