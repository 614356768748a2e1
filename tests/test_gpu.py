"""What only a machine with an NVIDIA GPU can show: `python -m pytest -m gpu`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.records import Generation, ImageRequest
from diffusion_bench.reports.read import read_report

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch can use no CUDA device"),
]


@pytest.fixture(scope="module")
def backend() -> ImageBackend:
    return ImageBackend.load("pictogram", device="cuda")


def pixels(generation: Generation) -> np.ndarray:
    return np.stack([np.asarray(image, dtype=int) for image in generation.images])


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_events_on_the_stream_time_every_step_and_stage(
    backend: ImageBackend, sampler: str
) -> None:
    request = ImageRequest(prompt="a cat", sampler=sampler, steps=20, batch=4)
    backend.generate(request)
    generation = backend.generate(request)
    assert len(generation.step_s) == 20
    assert min(generation.step_s) > 0
    stages = generation.stages
    assert stages.denoising_s > max(stages.text_encoder_s, stages.decoder_s) > 0
    total = stages.text_encoder_s + stages.denoising_s + stages.decoder_s + stages.other_s
    assert total == pytest.approx(generation.wall_s, rel=0.02)


def test_the_gpu_draws_what_the_cpu_draws(backend: ImageBackend) -> None:
    request = ImageRequest(prompt="a cat on a blue background")
    on_cpu = ImageBackend.load("pictogram", device="cpu").generate(request)
    assert np.abs(pixels(backend.generate(request)) - pixels(on_cpu)).mean() < 3


def test_the_same_request_gives_the_same_picture(backend: ImageBackend) -> None:
    for sampler in ("ddim", "ddpm"):
        request = ImageRequest(prompt="a cat", sampler=sampler, seed=3)
        one, two = (pixels(backend.generate(request)) for _ in range(2))
        assert np.array_equal(one, two)


def test_peak_memory_grows_with_the_batch(backend: ImageBackend) -> None:
    peaks = [
        backend.generate(ImageRequest(prompt="a cat", steps=2, batch=batch)).memory
        for batch in (1, 32)
    ]
    assert 0 < (peaks[0].torch_allocated_mib or 0) < (peaks[1].torch_allocated_mib or 0)


def test_a_sweep_measures_memory_and_energy_of_the_card_it_ran_on(tmp_path: Path) -> None:
    sweep = parse_sweep(
        'name = "gpu"\nrepeats = 3\n[axes]\nsteps = [250]\nsampler = ["ddim"]\nbatch = [16]'
    )
    for _ in run_sweep(sweep, tmp_path / "gpu.jsonl", device="cuda"):
        pass
    (cell,) = read_report(tmp_path / "gpu.jsonl").cells
    assert cell.status == "ok", cell.message
    assert cell.memory.nvml_used_mib, cell.memory.missing
    assert cell.memory.nvml_used_mib >= (cell.memory.torch_reserved_mib or 0)
    assert cell.energy, cell.missing
    assert cell.trace.gpus[0].power_w


def test_a_cell_too_large_for_the_card_is_a_row_and_the_next_one_is_measured(
    tmp_path: Path,
) -> None:
    sweep = parse_sweep(
        'name = "oom"\nrepeats = 1\n[axes]\nsampler = ["ddim"]\nsteps = [1]\nbatch = [64]\n'
        "resolution = [4096, 64]"
    )
    for _ in run_sweep(sweep, tmp_path / "oom.jsonl", device="cuda"):
        pass
    statuses = [cell.status for cell in read_report(tmp_path / "oom.jsonl").cells]
    assert statuses == ["oom", "ok"]
