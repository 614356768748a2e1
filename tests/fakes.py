"""Factories of records: each takes what a test is about and fills in the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffusion_bench.records import (
    Estimate,
    GpuTrace,
    ImageRequest,
    Memory,
    Quality,
    Share,
    Stages,
    Trace,
    VoiceQuality,
    VoiceRequest,
    VoiceStages,
)
from diffusion_bench.reports.schema import (
    PROTOCOL_VERSION,
    Ceiling,
    Cell,
    GpuCard,
    Header,
    Machine,
    Plan,
    Report,
    Sample,
    Software,
)
from diffusion_bench.reports.store import to_line

NO_GPU = "no NVIDIA GPU: the driver is not installed"


def make_header(
    *,
    cells: Sequence[ImageRequest] = (),
    gpu: str | None = None,
    torch: str = "2.11.0",
    cpu: str = "Test CPU",
    protocol_version: int = PROTOCOL_VERSION,
    repeats: int = 3,
    memory_mib: float | None = 12282.0,
) -> Header:
    """Return a header; `gpu` names the card it was measured on, `None` is the CPU."""
    cards = (GpuCard(index=0, name=gpu, memory_total_mib=memory_mib),) if gpu else ()
    return Header(
        protocol_version=protocol_version,
        tool_version="0.1.0",
        report_id="00112233",
        created_utc="2026-01-02T03:04:05Z",
        machine=Machine(
            os="Linux 6.1",
            architecture="x86_64",
            cpu=cpu,
            cores_physical=2,
            cores_logical=4,
            ram_mib=16000.0,
            gpus=cards,
            no_gpu=None if gpu else NO_GPU,
        ),
        software=Software(python="3.11.7", torch=torch, diffusers="0.42.0", torch_threads=2),
        plan=Plan(
            name="test",
            device="cuda:0" if gpu else "cpu",
            warmups=1,
            repeats=repeats,
            cells=tuple(cells),
        ),
    )


def make_sample(wall_s: float, steps: int, step_s: Sequence[float] | None = None) -> Sample:
    """Return a repeat of `wall_s` seconds: a tenth each for text and decoder, the rest steps."""
    stages = Stages(
        text_encoder_s=wall_s * 0.1, denoising_s=wall_s * 0.8, decoder_s=wall_s * 0.1, other_s=0.0
    )
    every = tuple(step_s) if step_s is not None else (wall_s * 0.8 / steps,) * steps
    return Sample(wall_s=wall_s, stages=stages, step_s=every)


def make_trace(seconds: int = 10, gpu: str | None = None) -> Trace:
    """Return readings five times a second, without GPU unless one is named."""
    at_s = tuple(index / 5 for index in range(5 * seconds))
    wave = tuple(0.5 + 0.5 * math.sin(at) for at in at_s)
    card = GpuTrace(
        index=0,
        name=gpu,
        utilization_percent=tuple(100 * value for value in wave),
        memory_used_mib=tuple(4000 + 2000 * value for value in wave),
        power_w=tuple(None if index == 7 else 50 + 200 * wave[index] for index in range(len(wave))),
        temperature_c=tuple(45 + 20 * value for value in wave),
    )
    return Trace(
        at_s=at_s,
        cpu_percent=tuple(50 + 40 * value for value in wave),
        ram_used_mib=tuple(3000.0 for _ in at_s),
        rss_mib=tuple(900 + 100 * value for value in wave),
        gpus=(card,) if gpu else (),
        no_gpu=None if gpu else NO_GPU,
    )


def make_cell(
    *,
    wall_s: Sequence[float] = (1.0, 1.1, 0.9),
    status: str = "ok",
    message: str = "",
    rss_mib: float | None = 800.0,
    nvml_used_mib: float | None = None,
    step_s: Sequence[float] | None = None,
    trace: Trace | None = None,
    order: int = 0,
    ceiling: Ceiling | None = None,
    **request: Any,
) -> Cell:
    """Return a cell with a sample for each of `wall_s`; other names are fields of its request.

    A cell that is not "ok" has no samples.
    """
    asked = ImageRequest(**{"prompt": "a cat", **request})
    values = {"rss_mib": rss_mib, "nvml_used_mib": nvml_used_mib}
    missing = {name: NO_GPU for name in Memory.model_fields if name != "missing"}
    missing = {name: why for name, why in missing.items() if values.get(name) is None}
    walls = wall_s if status == "ok" else ()
    return Cell.model_validate(
        {
            "cell_id": asked.workload_id(),
            "request": asked,
            "order": order,
            "started_utc": "2026-01-02T03:04:06Z",
            "status": status,
            "message": message,
            "stop_reason": "fixed count" if status == "ok" else None,
            "samples": tuple(make_sample(wall, asked.steps, step_s) for wall in walls),
            "memory": Memory(**values, missing=missing),
            "trace": trace or Trace(),
            "ceiling": ceiling,
        }
    )


def make_report(*cells: Cell, source: str = "report.jsonl", **header: Any) -> Report:
    """Return a report of those cells, planned in their order; other names go to `make_header`."""
    plan = make_header(cells=[cell.request for cell in cells], **header)
    return Report(header=plan, cells=cells, source=source)


def write_report(path: Path, *cells: Cell) -> Path:
    """Write the file of a report of those cells, planned in their order; return its path."""
    header = make_header(cells=[cell.request for cell in cells])
    path.write_bytes(b"".join(map(to_line, (header, *cells))))
    return path


def make_sweep_cells(gpu: str | None = None, speed: float = 1.0) -> list[Cell]:
    """Return the cells of a sweep over sampler, steps, resolution and batch, two of them failed."""
    cells = []
    for side in (64, 128, 256):
        for batch in (1, 4):
            for sampler in ("ddim", "ddpm"):
                for steps in (10, 20, 50, 100):
                    step_s = 0.01 * (side / 64) ** 1.5 * batch**0.8 / speed
                    step_s *= 1.05 if sampler == "ddpm" else 1.0
                    base = 0.1 + step_s * steps
                    failed = side == 256 and batch == 4 and sampler == "ddpm" and steps >= 50
                    cells.append(
                        make_cell(
                            wall_s=[base * (1 + 0.02 * k) for k in range(5)],
                            step_s=[step_s * (1 + 0.1 * math.sin(k)) for k in range(steps)],
                            status="oom" if failed else "ok",
                            message="out of memory: 2.1 GiB asked, 1.0 GiB free" if failed else "",
                            sampler=sampler,
                            steps=steps,
                            width=side,
                            height=side,
                            batch=batch,
                            rss_mib=700 + side * batch * 0.9,
                            nvml_used_mib=2000 + side * batch * 4.0 if gpu else None,
                            trace=make_trace(gpu=gpu) if steps == 100 else None,
                            order=len(cells),
                            ceiling=None if gpu else Ceiling(gflops=100.0, copy_gbs=10.0),
                        )
                    )
    return cells


def make_quality() -> Quality:
    """Return what a scorer found in 100 pictures; two figures could not be had."""
    return Quality(
        scorer="scorer",
        scorer_digest="sha256:00",
        prompts="captions",
        pictures=100,
        caption_score=Estimate(value=0.8, low=0.7, high=0.9, n=100),
        objects=Share(right=90, n=100),
        background=Share(right=100, n=100),
        relation=Share(right=17, n=34),
        frechet=Estimate(value=12.5, low=11.0, high=14.0, n=100),
        reference="300 scenes",
        missing={"count": "nothing to count", "diversity": "one of each"},
    )


def make_voice_quality(**changes: Any) -> VoiceQuality:
    """Return what was measured of 8 candidates, with changed fields."""
    figure = {"low": 0.1, "high": 0.9, "n": 8}
    fields = {
        "candidates": 8,
        "unwarned": Share(right=7, n=8),
        "timbre_similarity": Estimate(value=0.8, **figure),
        "pitch_error_semitones": Estimate(value=0.25, **figure),
        "mel_distance_db": Estimate(value=0.5, **figure),
        "seeds_apart_db": Estimate(value=0.75, **figure),
        "against_steps": 100,
    }
    return VoiceQuality(**fields | changes)


def make_spoken_cell(seconds: float = 1.0, **request: Any) -> Cell:
    """Return a cell of speech of three calls; names are fields of its request."""
    asked = VoiceRequest(**{"text": "one word more", **request})
    cell = make_cell(wall_s=[seconds] * 3, steps=asked.steps)
    stages = VoiceStages(
        text_s=0, voice_encoder_s=0, prior_s=0, denoising_s=seconds, vocoder_s=0, other_s=0
    )
    spoken = {"stages": stages, "audio_s": 2.0, "first_audio_s": seconds}
    samples = tuple(sample.model_copy(update=spoken) for sample in cell.samples)
    changes = {"request": asked, "cell_id": asked.workload_id(), "samples": samples}
    return cell.model_copy(update=changes)
