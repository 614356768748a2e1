"""From what the worker measured and the sampler saw to the cell that the report keeps."""

from __future__ import annotations

from typing import Any

from diffusion_bench.bench.measure import Measurement
from diffusion_bench.bench.worker import Failed
from diffusion_bench.hardware.trace import energy_j, peak_nvml_mib, to_trace
from diffusion_bench.records import ImageRequest, Memory, Reading
from diffusion_bench.reports.schema import Cell, Energy, Sample

NO_GPU_USED = "the cell ran on no NVIDIA GPU"
NOT_MEASURED = "the cell was not measured"


def failed_cell(request: ImageRequest, order: int, started_utc: str, failure: Failed) -> Cell:
    """Return the row of a cell that failed or ran out of memory."""
    return Cell(
        cell_id=request.workload_id(),
        request=request,
        order=order,
        started_utc=started_utc,
        status=failure.status,
        message=failure.message,
        memory=Memory(
            missing={name: NOT_MEASURED for name in Memory.model_fields if name != "missing"}
        ),
        missing={
            name: NOT_MEASURED for name in ("samples", "energy", "trace", "load_s", "first_call_s")
        },
    )


def measured_cell(
    request: ImageRequest,
    order: int,
    started_utc: str,
    measurement: Measurement,
    *,
    readings: tuple[Reading, ...],
    idle: Reading | None,
    gpu_uuid: str | None,
    load_s: float | None,
    first_of_shape: bool,
) -> Cell:
    """Return the row of a measured cell: samples, peaks and the machine's trace."""
    gpu_index = find_gpu(readings, gpu_uuid)
    missing = {}
    if load_s is None:
        missing["load_s"] = "the model was already loaded"
    if not first_of_shape:
        missing["first_call_s"] = "not the first call of this shape"
    samples = []
    for timed in measurement.timed:
        joules, how = _energy(readings, gpu_index, timed.start_s, timed.end_s)
        if joules is None:
            missing["energy_j"] = how
        samples.append(
            Sample(wall_s=timed.wall_s, stages=timed.stages, step_s=timed.step_s, energy_j=joules)
        )
    start_s, end_s = measurement.timed[0].start_s, measurement.timed[-1].end_s
    total_j, method = _energy(readings, gpu_index, start_s, end_s)
    if total_j is None:
        missing["energy"] = method
    during = tuple(reading for reading in readings if reading.at_s >= start_s)
    return Cell(
        cell_id=request.workload_id(),
        request=request,
        order=order,
        started_utc=started_utc,
        status="ok",
        load_s=load_s,
        first_call_s=measurement.warmup_s[0] if first_of_shape else None,
        warmup_s=measurement.warmup_s,
        samples=tuple(samples),
        memory=_with_gpu_memory(measurement.memory, during, idle, gpu_index),
        energy=None
        if total_j is None
        else Energy(total_j=total_j, window_s=end_s - start_s, method=method),
        trace=to_trace(during, start_s),
        missing=missing,
    )


def find_gpu(readings: tuple[Reading, ...], gpu_uuid: str | None) -> int | None:
    """Return NVML's index of the GPU with that UUID; its order is not torch's."""
    if gpu_uuid is None:
        return None
    for reading in readings:
        for gpu in reading.gpus:
            if gpu.uuid == gpu_uuid:
                return gpu.index
    return None


def _energy(
    readings: tuple[Reading, ...], gpu_index: int | None, start_s: float, end_s: float
) -> tuple[float | None, str]:
    if gpu_index is None:
        return None, NO_GPU_USED
    return energy_j(readings, gpu_index, start_s, end_s)


def _with_gpu_memory(
    memory: Memory, during: tuple[Reading, ...], idle: Reading | None, gpu_index: int | None
) -> Memory:
    """Add NVML's peak and idle memory, and the sampled resident set where no exact peak is had."""
    update: dict[str, Any] = {}
    missing = dict(memory.missing)
    looks = {"nvml_used_mib": during, "nvml_idle_mib": (idle,) if idle else ()}
    for name, readings in looks.items():
        used_mib = None if gpu_index is None else peak_nvml_mib(readings, gpu_index)
        if used_mib is not None:
            update[name] = used_mib
            missing.pop(name, None)
        else:
            missing[name] = NO_GPU_USED if gpu_index is None else "NVML gave no reading in time"
    if memory.rss_mib is None:
        resident = [r.host.rss_mib for r in during if r.host.rss_mib is not None]
        if resident:
            update["rss_mib"] = max(resident)
            missing.pop("rss_mib", None)
    return memory.model_copy(update={**update, "missing": missing})
