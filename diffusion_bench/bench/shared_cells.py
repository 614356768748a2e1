"""From what the workers of several devices measured to the line that the report keeps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from diffusion_bench.bench.cells import with_gpu_memory
from diffusion_bench.bench.crew import Ended
from diffusion_bench.bench.measure import largest_memory
from diffusion_bench.bench.worker_messages import Failed
from diffusion_bench.hardware.energy import EnergyFound, measure_energy
from diffusion_bench.hardware.state import (
    is_contended,
    is_throttled,
    other_load,
    throttle_share,
)
from diffusion_bench.hardware.trace import to_trace
from diffusion_bench.records import (
    CpuSpent,
    DeviceShare,
    ImageRequest,
    MachineState,
    Memory,
    OtherLoad,
    Reading,
    is_one_processor,
)
from diffusion_bench.reports.labels import card_numbered
from diffusion_bench.reports.schema import (
    DeviceJob,
    Energy,
    Header,
    SharedCell,
    SharedLabel,
)
from diffusion_bench.reports.sensor_reach import power_reach_s

NOT_MEASURED = "the devices were not started together"
OF_SEVERAL_JOBS = "the processor's energy is of all jobs on it together"
ON_SEVERAL_CARDS = "torch counts one card, and the model lies on several"


class JobSeen:
    """What is known of one device's job while a cell is measured. `request` is its part."""

    def __init__(self, *, device: str, uuid: str | None, request: ImageRequest) -> None:
        self.device, self.uuid, self.request = device, uuid, request
        self.gpu_index: int | None = None
        self.calls = 1
        self.load_s: float | None = None
        self.alone_s: tuple[float, ...] = ()
        self.begin_s: list[float] = []
        self.end_s: list[float] = []
        self.memories: list[Memory] = []
        self.failed: Failed | None = None
        self.missing: dict[str, str] = {}

    def take(self, ended: Ended, at_s: float) -> None:
        """Keep how one start ended that was to begin at `at_s`."""
        if ended.measured is None:
            self.failed = ended.failed
            return
        measurement = ended.measured.measurement
        self.begin_s.append(max(measurement.timed[0].start_s - at_s, 0.0))
        self.end_s.append(measurement.timed[-1].end_s - at_s)
        self.memories.append(measurement.memory)


class Seen(NamedTuple):
    """What this process saw: the devices before, the machine at rest and in the `windows`.

    A window is from a common start to the end of its last device; `spent` is the processor time of
    all workers in each. `gpu_others` are the most other programs on a GPU of theirs.
    """

    header: Header
    order: int
    started_utc: str
    looks: Sequence[MachineState]
    idle: tuple[Reading, ...]
    during: tuple[Reading, ...]
    windows: tuple[tuple[float, float], ...]
    spent: tuple[CpuSpent, ...]
    gpu_others: tuple[int | None, str]


def shared_cell(
    request: ImageRequest, share: DeviceShare, seen: Seen, jobs: Sequence[JobSeen]
) -> SharedCell:
    """Return the line of a cell of several devices; a job that failed makes it a failed one."""
    failed, message = _first_failure(jobs)
    cores = seen.header.machine.cores_logical
    busy = [look for look in seen.looks if is_contended(look, cores)]
    others = other_load(seen.during, seen.spent, seen.gpu_others, cores)
    return SharedCell(
        cell_id=seen.header.shared_id(request, share),
        request=request,
        share=share,
        order=seen.order,
        started_utc=seen.started_utc,
        status=failed.status if failed else "ok",
        message=message,
        labels=_labels(seen, others, jobs),
        before=(busy or seen.looks)[0],
        others=others,
        jobs=tuple(_job(job, share, seen, jobs) for job in jobs),
        trace=to_trace(seen.during, seen.windows[0][0] if seen.windows else 0.0),
    )


def _first_failure(jobs: Sequence[JobSeen]) -> tuple[Failed | None, str]:
    """Return the first failure, and it in words that name the device and which of the jobs."""
    for number, job in enumerate(jobs, start=1):
        if job.failed is not None:
            where = f"{job.device}, job {number} of {len(jobs)}"
            return job.failed, f"{where}: {job.failed.message}"[:4000]
    return None, ""


def _labels(seen: Seen, others: OtherLoad, jobs: Sequence[JobSeen]) -> tuple[SharedLabel, ...]:
    cores = seen.header.machine.cores_logical
    shares = [throttle_share(seen.during, job.gpu_index) for job in jobs]
    holds: dict[SharedLabel, bool] = {
        "one processor": is_one_processor(tuple(job.device for job in jobs)),
        "emulated": seen.header.plan.emulated_memory_mib is not None,
        "throttled": any(map(is_throttled, shares)),
        "contended": any(is_contended(look, cores, others) for look in seen.looks),
        "on battery": any(look.on_battery is True for look in seen.looks),
    }
    return tuple(label for label, is_so in holds.items() if is_so)


def _job(job: JobSeen, share: DeviceShare, seen: Seen, jobs: Sequence[JobSeen]) -> DeviceJob:
    energy, why = _energy(job, seen, jobs)
    missing = dict(job.missing)
    if energy is None:
        missing["energy"] = why
    if not job.alone_s and "alone_s" not in missing:
        missing["alone_s"] = (
            "one card alone is not tried" if share == "model" else "it could not be measured"
        )
    if job.load_s is None:
        missing["load_s"] = "the model was not loaded"
    failure = job.failed
    return DeviceJob(
        device=job.device,
        gpu_index=job.gpu_index,
        status=failure.status if failure else "ok",
        message=failure.message if failure else "",
        stage=_stage(failure),
        asked_mib=failure.asked_mib if failure else None,
        batch=job.request.batch,
        calls=job.calls,
        seed=job.request.seed,
        load_s=job.load_s,
        alone_s=job.alone_s,
        begin_s=tuple(job.begin_s),
        end_s=tuple(job.end_s),
        memory=_memory(job, share, seen),
        energy=energy,
        missing=missing,
    )


def _stage(failure: Failed | None) -> Any:
    return failure.stage if failure else None


def _memory(job: JobSeen, share: DeviceShare, seen: Seen) -> Memory:
    """Return the peaks of a job's starts, with what NVML saw of its card."""
    if not job.memories:
        names = [name for name in Memory.model_fields if name != "missing"]
        return Memory(missing=dict.fromkeys(names, NOT_MEASURED))
    found = with_gpu_memory(largest_memory(job.memories), seen.during, seen.idle, job.gpu_index)
    if share != "model":
        return found
    untold = ("torch_allocated_mib", "torch_reserved_mib", "alloc_retries")
    missing = found.missing | dict.fromkeys(untold, ON_SEVERAL_CARDS)
    return found.model_copy(update={**dict.fromkeys(untold), "missing": missing})


def _energy(job: JobSeen, seen: Seen, jobs: Sequence[JobSeen]) -> tuple[Energy | None, str]:
    """Return the energy of a device over all starts, or why there is none.

    Each start is a window of its own, until its last device is done; between starts all rest.
    """
    if not seen.windows:
        return None, NOT_MEASURED
    if len(job.end_s) < len(seen.windows):
        return None, "it did not end every start"
    if job.gpu_index is None and job.uuid is not None:
        return None, "the driver does not show the GPU that the job ran on"
    if job.gpu_index is None and sum(one.gpu_index is None for one in jobs) > 1:
        return None, OF_SEVERAL_JOBS
    found: list[EnergyFound] = []
    reach_s = power_reach_s(card_numbered(job.gpu_index, seen.header))
    for start_s, end_s in seen.windows:
        one, why = measure_energy(
            seen.during, job.gpu_index, start_s, end_s, seen.idle, power_reach_s=reach_s
        )
        if one is None:
            return None, why
        found.append(one)
    if len({(one.method, one.scope) for one in found}) > 1:
        return None, "its starts were measured in different ways"
    net = [one.net_j for one in found if one.net_j is not None]
    return Energy(
        total_j=sum(one.total_j for one in found),
        window_s=sum(one.window_s for one in found),
        method=found[0].method,
        scope=found[0].scope,
        idle_power_w=found[0].idle_power_w,
        net_j=sum(net) if len(net) == len(found) else None,
        uncertainty_j=sum(one.uncertainty_j for one in found),
    ), ""
