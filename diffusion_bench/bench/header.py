"""The first line of a report: the machine, the software and the plan."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime

from diffusion_bench import __version__
from diffusion_bench.backends.model_facts import model_facts
from diffusion_bench.backends.voice.facts import voice_model_facts
from diffusion_bench.bench.sweep import Sweep
from diffusion_bench.bench.worker_messages import Ready
from diffusion_bench.hardware.machine import describe_machine, describe_software
from diffusion_bench.hardware.matching import same_gpu
from diffusion_bench.hardware.sensors import GpuInfo, Sensor, uuid_hash
from diffusion_bench.records import Request, VoiceRequest
from diffusion_bench.reports.privacy import without_home
from diffusion_bench.reports.schema import GpuCard, Header, Machine, ModelFacts, Plan, Software


def make_header(
    sweep: Sweep,
    ready: Ready,
    sensor: Sensor,
    *,
    cells: Sequence[Request] | None = None,
    models: tuple[ModelFacts, ...] | None = None,
) -> Header:
    """Return the header of a report that is about to be measured by a worker that is up.

    `cells` are those of the plan where they are not the sweep's own. `models` are told where they
    are not to be looked at, for which the hub is asked of those that are not here.
    """
    requests = sweep.requests()
    return Header(
        tool_version=__version__,
        report_id=uuid.uuid4().hex[:12],
        created_utc=utc_now(),
        machine=_machine(sensor),
        software=_software(ready),
        plan=Plan(
            name=sweep.name,
            description=sweep.description,
            device=ready.device,
            gpu_uuid_hash=_gpu_uuid_hash(ready, sensor),
            warmups=sweep.warmups,
            repeats=sweep.repeats,
            rounds=sweep.rounds,
            stop=sweep.stop,
            measured_steps=sweep.measured_steps,
            time_limit_s=sweep.time_limit_s,
            emulated_memory_mib=sweep.emulated_memory_mib,
            sustain_s=sweep.sustain_s,
            quality=sweep.judging and without_home(sweep.judging),
            devices=sweep.devices,
            models=_models(requests) if models is None else models,
            cells=requests if cells is None else tuple(cells),
        ),
    )


def utc_now() -> str:
    """Return the time now as ISO 8601 in UTC, to the second."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _models(cells: tuple[Request, ...]) -> tuple[ModelFacts, ...]:
    spoken = {cell.model for cell in cells if isinstance(cell, VoiceRequest)}
    return tuple(
        voice_model_facts(name) if name in spoken else model_facts(name)
        for name in dict.fromkeys(cell.model for cell in cells)
    )


def _gpu_uuid_hash(ready: Ready, sensor: Sensor) -> str | None:
    """Return the hash of the worker's GPU as the driver writes its UUID; torch writes another."""
    uuids = [gpu.uuid for gpu in sensor.cards()]
    same = [uuid for uuid in uuids if uuid is not None and same_gpu(uuid, ready.gpu_uuid)]
    if same:
        return uuid_hash(same[0])
    if ready.gpu_uuid is None or None in uuids:  # a card that tells none may be the one
        return None
    return uuid_hash(ready.gpu_uuid)


def _machine(sensor: Sensor) -> Machine:
    seen = describe_machine(sensor)
    return Machine(
        os=seen.os,
        architecture=seen.architecture,
        cpu=seen.cpu,
        cores_physical=seen.cores_physical,
        cores_logical=seen.cores_logical,
        ram_mib=seen.ram_mib,
        gpus=tuple(_card(gpu) for gpu in seen.gpus),
        no_gpu=seen.no_gpu,
    )


def _card(gpu: GpuInfo) -> GpuCard:
    return GpuCard(
        index=gpu.index,
        name=gpu.name or "unknown",
        uuid_hash=uuid_hash(gpu.uuid) if gpu.uuid else None,
        memory_total_mib=gpu.memory_total_mib,
        power_limit_w=gpu.power_limit_w,
        power_limit_default_w=gpu.power_limit_default_w,
        pcie_generation=gpu.pcie_generation,
        pcie_width=gpu.pcie_width,
        display_active=gpu.display_active,
        driver=gpu.driver,
        power_method=gpu.methods.get("power_w"),
        memory_method=gpu.methods.get("memory_used_mib"),
        ecc_enabled=gpu.ecc_enabled,
        mig_enabled=gpu.mig_enabled,
    )


def _software(ready: Ready) -> Software:
    seen = describe_software()
    return Software(
        python=seen.python,
        torch=seen.torch,
        cuda=ready.cuda,
        diffusers=seen.diffusers,
        transformers=seen.transformers,
        torch_threads=ready.torch_threads,
        flags=ready.flags,
    )
