"""From what the worker measured and the sampler saw to the cell that the report keeps."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

from diffusion_bench.bench.measure import Measurement, cut
from diffusion_bench.bench.worker_messages import Failed, Judged, Loaded
from diffusion_bench.hardware.apple import ROOT_ONLY
from diffusion_bench.hardware.energy import measure_energy
from diffusion_bench.hardware.matching import same_gpu
from diffusion_bench.hardware.sensors import GpuInfo
from diffusion_bench.hardware.state import (
    is_contended,
    is_throttled,
    joined_shares,
    other_load,
    throttle_share,
)
from diffusion_bench.hardware.trace import peak_nvml_mib, split, to_trace
from diffusion_bench.records import (
    CpuSpent,
    MachineState,
    Memory,
    OtherLoad,
    Reading,
    Request,
)
from diffusion_bench.reports.labels import card_numbered
from diffusion_bench.reports.schema import (
    Cell,
    Energy,
    Extrapolation,
    Header,
    Label,
    Sample,
    Visit,
)
from diffusion_bench.reports.sensor_reach import power_reach_s

NO_GPU_USED = "the cell ran on no GPU that could be read"
NOT_MEASURED = "the cell was not measured"
SUMMED = (
    "samples",
    "energy",
    "energy_j",
    "trace",
    "load_s",
    "first_call_s",
    "stop_reason",
    "speed",
    "compile_s",
    "machine_speed",
)
LONGEST_NOTE = 500  # characters
STILL_S = 10.0  # without a look: neither a driver nor a busy core keeps the sampler so long
UNTOLD = {
    "stop_reason": "more calls are to come",
    "speed": "speech has no options of speed",
    "compile_s": "nothing was to be compiled",
    "machine_speed": "no probe under a cap of memory, with little free, or on several devices",
}
RULE = (
    "all that comes once and {measured} of {steps} steps are timed in every call; the other steps "
    "are added at the mean pace of those after the first"
)


class Watched(NamedTuple):
    """What this process saw of a cell: the machine just before it, and during it.

    `gpu_others` are the other programs on its GPU meanwhile, the most there were, or why none can
    tell.
    """

    header: Header
    order: int
    started_utc: str
    before: MachineState
    idle: tuple[Reading, ...]
    during: tuple[Reading, ...]
    gpu_uuid: str | None
    gpu_others: tuple[int | None, str] = (None, NO_GPU_USED)


def failed_cell(request: Request, watched: Watched, failure: Failed) -> Cell:
    """Return the row of a cell that failed, ran out of memory or was ended."""
    others = _others(watched, ())
    return Cell(
        **_common(request, watched, others),
        status=failure.status,
        message=failure.message,
        stage=failure.stage,
        asked_mib=failure.asked_mib,
        labels=_labels(watched, others, {}, extrapolated=False),
        memory=Memory(
            missing={name: NOT_MEASURED for name in Memory.model_fields if name != "missing"}
        ),
        missing=dict.fromkeys(SUMMED, NOT_MEASURED),
    )


def measured_cell(
    request: Request,
    watched: Watched,
    measurement: Measurement,
    *,
    loaded: Loaded | None,
    attention: str | None,
    first_of_shape: bool,
    judged: Judged | None = None,
) -> Cell:
    """Return the row of a measured cell: samples, peaks and the machine's trace."""
    gpu_index = find_gpu(watched.during, watched.gpu_uuid)
    start_s, end_s = measurement.timed[0].start_s, measurement.timed[-1].end_s
    seen = tuple(reading for reading in watched.during if reading.at_s >= start_s)
    during = _but_of_the_probe(seen, end_s, measurement.probed_to_s or end_s)
    is_over = measurement.metered is None and measurement.sustained is None
    sustained_from_s = math.inf if is_over else end_s
    shares = _throttle_share(during, gpu_index, start_s, sustained_from_s)
    extrapolation = _extrapolation(request, watched.header, measurement)
    others = _others(watched, measurement.spent)
    samples, missing = _samples(measurement, watched, gpu_index)
    energy, why_no_energy = _whole_energy(measurement, watched, gpu_index)
    if energy is None:
        missing["energy"] = why_no_energy
    if loaded is None:
        missing["load_s"] = "the model was already loaded"
    missing |= {name: why for name, why in UNTOLD.items() if getattr(measurement, name) is None}
    if judged is not None and judged.quality is None:
        missing["quality"] = judged.reason
    if not first_of_shape:
        missing["first_call_s"] = "not the first call of this shape"
    return Cell(
        **_common(request, watched, others),
        status="ok",
        visits=(Visit(started_utc=watched.started_utc, calls=len(samples)),),
        labels=_labels(watched, others, shares, extrapolated=extrapolation is not None),
        stop_reason=measurement.stop_reason,
        extrapolation=extrapolation,
        num_steps=measurement.num_steps,
        throttle_share=shares,
        sustained=measurement.sustained,
        speed=measurement.speed,
        compile_s=measurement.compile_s,
        notes=(*(note[:LONGEST_NOTE] for note in measurement.notes), *_still_words(seen)),
        attention=attention,
        ceiling=loaded.ceiling if loaded else None,
        gpu_index=gpu_index,
        load_s=loaded.load_s if loaded else None,
        first_call_s=measurement.warmup_s[0] if first_of_shape else None,
        warmup_s=measurement.warmup_s,
        machine_speed=() if measurement.machine_speed is None else (measurement.machine_speed,),
        samples=samples,
        memory=_with_readings(measurement.memory, during, watched.idle, gpu_index),
        energy=energy,
        quality=judged.quality if judged else None,
        trace=to_trace(seen, start_s, apart_s=sustained_from_s),
        missing=missing,
    )


def _but_of_the_probe(
    seen: tuple[Reading, ...], calls_to_s: float, probed_to_s: float
) -> tuple[Reading, ...]:
    """Return the readings of a cell: its machine's own speed is looked at after its timed calls."""
    return tuple(one for one in seen if one.at_s <= calls_to_s or one.at_s >= probed_to_s)


def _throttle_share(
    during: tuple[Reading, ...], gpu_index: int | None, start_s: float, sustained_from_s: float
) -> dict[str, float]:
    """Return the shares, timed and sustained calls weighing as long as each of them lasted.

    Of the latter fewer readings may be kept.
    """
    timed, sustained = split(during, sustained_from_s)
    if gpu_index is None or not sustained:
        return throttle_share(timed, gpu_index)
    timed_s, sustained_s = sustained_from_s - start_s, sustained[-1].at_s - sustained_from_s
    return joined_shares(
        [
            (throttle_share(timed, gpu_index), timed_s),
            (throttle_share(sustained, gpu_index), sustained_s),
        ]
    )


def _still_words(during: tuple[Reading, ...]) -> tuple[str, ...]:
    """Return in words that the machine was not looked at for long while calls ran, if so."""
    longest_s = max((reading.gap_s or 0.0 for reading in during), default=0.0)
    if longest_s < STILL_S:
        return ()
    words = f"nobody looked at the machine for {longest_s:.0f} s while calls ran: it slept, or this"
    return (f"{words} program was stopped; a call may hold that time",)


def _common(request: Request, watched: Watched, others: OtherLoad) -> dict[str, Any]:
    return {
        "cell_id": watched.header.cell_id(request),
        "request": request,
        "order": watched.order,
        "started_utc": watched.started_utc,
        "before": watched.before,
        "others": others,
    }


def _others(watched: Watched, spent: Sequence[CpuSpent]) -> OtherLoad:
    cores = watched.header.machine.cores_logical
    return other_load(watched.during, spent, watched.gpu_others, cores)


def _labels(
    watched: Watched, others: OtherLoad, shares: dict[str, float], *, extrapolated: bool
) -> tuple[Label, ...]:
    machine = watched.header.machine
    holds: dict[Label, bool] = {
        "extrapolated": extrapolated,
        "emulated": watched.header.plan.emulated_memory_mib is not None,
        "throttled": is_throttled(shares),
        "contended": is_contended(watched.before, machine.cores_logical, others) is not None,
        "on battery": watched.before.on_battery is True,
    }
    return tuple(label for label, is_so in holds.items() if is_so)


def _extrapolation(
    request: Request, header: Header, measurement: Measurement
) -> Extrapolation | None:
    """Return how the total is had; `None` where every step was timed, as some pipelines insist."""
    measured = cut(request, header.plan.measured_steps)
    if measured is None or len(measurement.timed[0].step_s) != measured:
        return None
    steps = measurement.num_steps or request.steps
    return Extrapolation(measured_steps=measured, rule=RULE.format(measured=measured, steps=steps))


def _samples(
    measurement: Measurement, watched: Watched, gpu_index: int | None
) -> tuple[tuple[Sample, ...], dict[str, str]]:
    """Return the samples, and why the first of them without an energy has none."""
    samples, missing = [], {}
    for timed in measurement.timed:
        energy, why = _energy(watched, gpu_index, timed.start_s, timed.end_s)
        if energy is None:
            missing["energy_j"] = why
        samples.append(
            Sample(
                wall_s=timed.wall_s,
                stages=timed.stages,
                step_s=timed.step_s,
                energy_j=energy and energy.total_j,
                audio_s=timed.audio_s,
                first_audio_s=timed.first_audio_s,
                start_s=timed.start_s - measurement.timed[0].start_s,
            )
        )
    return tuple(samples), missing


def _whole_energy(
    measurement: Measurement, watched: Watched, gpu_index: int | None
) -> tuple[Energy | None, str]:
    """Return the energy of the timed calls together, or of those made for it alone, or why none."""
    metered = measurement.metered
    if metered is None:
        timed = measurement.timed
        return _energy(watched, gpu_index, timed[0].start_s, timed[-1].end_s)
    energy, why = _energy(watched, gpu_index, metered.start_s, metered.end_s)
    return energy and energy.model_copy(update={"calls": metered.calls}), why


def find_gpu(
    readings: tuple[Reading, ...],
    gpu_uuid: str | None,
    cards: Callable[[], Sequence[GpuInfo]] = tuple,
) -> int | None:
    """Return NVML's index of the GPU with that UUID; its order is not torch's.

    `cards` is asked where no reading has it: while the driver hangs, a short stretch has none.
    """
    if gpu_uuid is None:
        return None
    seen = [gpu for reading in readings for gpu in reading.gpus]
    found = [gpu.index for gpu in seen if same_gpu(gpu.uuid, gpu_uuid)]
    found = found or [card.index for card in cards() if same_gpu(card.uuid, gpu_uuid)]
    return found[0] if found else None


def _energy(
    watched: Watched, gpu_index: int | None, start_s: float, end_s: float
) -> tuple[Energy | None, str]:
    if watched.header.plan.device == "mps":
        return None, ROOT_ONLY
    if gpu_index is None and watched.gpu_uuid is not None:
        return None, "the driver does not show the GPU that the cell ran on"
    found, why = measure_energy(
        watched.during,
        gpu_index,
        start_s,
        end_s,
        watched.idle,
        power_reach_s=power_reach_s(card_numbered(gpu_index, watched.header)),
    )
    return (None if found is None else Energy(**found.model_dump())), why


def _with_readings(
    memory: Memory, during: tuple[Reading, ...], idle: tuple[Reading, ...], gpu_index: int | None
) -> Memory:
    """Add NVML's memory, and the sampled resident set where no exact peak is had."""
    resident = [r.host.rss_mib for r in during if r.host.rss_mib is not None]
    if memory.rss_mib is None and resident:
        missing = {name: why for name, why in memory.missing.items() if name != "rss_mib"}
        memory = memory.model_copy(update={"rss_mib": max(resident), "missing": missing})
    return with_gpu_memory(memory, during, idle, gpu_index)


def with_gpu_memory(
    memory: Memory, during: tuple[Reading, ...], idle: tuple[Reading, ...], gpu_index: int | None
) -> Memory:
    """Return the memory with NVML's peak, and what it read before and after."""
    update: dict[str, Any] = {}
    missing = dict(memory.missing)
    looks = {
        "nvml_used_mib": during,
        "nvml_idle_mib": idle[-1:],
        "nvml_idle_after_mib": during[-1:],
    }
    for name, readings in looks.items():
        used_mib = None if gpu_index is None else peak_nvml_mib(readings, gpu_index)
        if used_mib is not None:
            update[name] = used_mib
            missing.pop(name, None)
        else:
            missing[name] = NO_GPU_USED if gpu_index is None else "NVML gave no reading in time"
    return memory.model_copy(update={**update, "missing": missing})
