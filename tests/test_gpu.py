"""What only a machine with an NVIDIA GPU can show: `python -m pytest -m gpu`."""

from __future__ import annotations

import subprocess
import sys
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
import torch

from diffusion_bench.backends.images import ImageBackend
from diffusion_bench.bench.limit import run_limit
from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.bench.worker_process import WorkerFailed
from diffusion_bench.hardware.facts import gather_facts
from diffusion_bench.hardware.matching import match_torch
from diffusion_bench.hardware.sensors import open_sensor
from diffusion_bench.records import BUNDLED_MODEL, Generation, ImageRequest
from diffusion_bench.reports.read import read_report

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="torch can use no CUDA device"),
]


@pytest.fixture(scope="module")
def backend() -> ImageBackend:
    return ImageBackend.load(BUNDLED_MODEL, device="cuda")


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
    on_cpu = ImageBackend.load(BUNDLED_MODEL, device="cpu").generate(request)
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
    # The card's memory before the cell and after it; and whether the allocator was ever short.
    assert cell.memory.nvml_idle_mib is not None, cell.memory.missing  # 0 of a card at rest
    assert cell.memory.nvml_idle_after_mib, cell.memory.missing
    assert cell.memory.alloc_retries == 0
    assert cell.before is not None
    assert cell.before.gpu_power_w, cell.before.missing
    assert cell.before.other_gpu_processes is not None or "other_gpu_processes" in (
        cell.before.missing
    )
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
    too_large, small = read_report(tmp_path / "oom.jsonl").cells
    assert (too_large.status, small.status) == ("oom", "ok")
    assert too_large.stage in ("denoising", "decoder")
    assert too_large.asked_mib is not None
    assert too_large.asked_mib > 100


def test_an_emulated_card_refuses_what_it_would_not_hold_and_says_that_it_is_none(
    tmp_path: Path,
) -> None:
    sweep = parse_sweep(
        'name = "small"\nrepeats = 1\nemulated_memory = "1GiB"\n[axes]\nsampler = ["ddim"]\n'
        "steps = [2]\nbatch = [1, 64]\nresolution = [64, 512]"
    )
    for _ in run_sweep(sweep, tmp_path / "small.jsonl", device="cuda"):
        pass
    report = read_report(tmp_path / "small.jsonl")
    assert report.header.plan.emulated_memory_mib == 1024.0
    by_size = {(cell.request.width, cell.request.batch): cell for cell in report.cells}
    assert by_size[64, 1].status == "ok", by_size[64, 1].message
    assert (by_size[64, 1].memory.torch_reserved_mib or 0) <= 1024.0
    assert by_size[512, 64].status == "oom"
    assert all("emulated" in cell.labels for cell in report.cells)


def test_more_memory_than_the_card_has_cannot_be_emulated(tmp_path: Path) -> None:
    sweep = parse_sweep('name = "large"\nemulated_memory = "900TiB"')
    with pytest.raises(WorkerFailed, match="cannot emulate"):
        list(run_sweep(sweep, tmp_path / "large.jsonl", device="cuda"))


def test_an_allocator_that_is_short_of_memory_says_how_often() -> None:
    """What is cached for one shape must go before another fits under the cap."""
    cap_mib = 600.0
    program = (
        "from diffusion_bench.backends.device import cap_memory\n"
        "from diffusion_bench.backends.images import ImageBackend\n"
        "from diffusion_bench.records import BUNDLED_MODEL, ImageRequest\n"
        "import torch\n"
        f"cap_memory('cuda', {cap_mib})\n"
        "filler = [torch.empty(2**20, device='cuda') for _ in range(110)]\n"
        "del filler\n"  # 440 MiB stay with the allocator, in blocks of 4
        "backend = ImageBackend.load(BUNDLED_MODEL, device='cuda')\n"
        "request = ImageRequest(prompt='a cat', steps=1, batch=16, width=128, height=128)\n"
        "memory = backend.generate(request).memory\n"
        f"assert memory.torch_reserved_mib <= {cap_mib}, memory\n"
        "print(memory.alloc_retries)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 0


def test_the_largest_batch_that_an_emulated_card_holds_is_found(tmp_path: Path) -> None:
    sweep = parse_sweep(
        'name = "edge"\nemulated_memory = "2GiB"\n[axes]\nsampler = ["ddim"]\nsteps = [1]\n'
        "resolution = [256]"
    )
    for _ in run_limit(sweep, tmp_path / "edge.jsonl", "batch", device="cuda"):
        pass
    report = read_report(tmp_path / "edge.jsonl")
    (limit,) = report.limits
    statuses = {cell.request.batch: cell.status for cell in report.cells}
    assert limit.largest_fit is not None
    assert limit.smallest_misfit == limit.largest_fit + 1
    assert statuses[limit.largest_fit] == "ok"
    assert statuses[limit.smallest_misfit] == "oom"


def test_a_cut_call_on_a_gpu_times_each_of_its_steps_and_its_decoder(
    backend: ImageBackend,
) -> None:
    request = ImageRequest(prompt="a cat", sampler="ddpm", steps=1000)
    backend.generate(request, stop_after=3)
    cut = backend.generate(request, stop_after=5)
    assert len(cut.step_s) == 5
    assert min(cut.step_s) > 0
    assert cut.stages.decoder_s > 0


SMI_FIELDS = {
    "name": "name",
    "uuid": "uuid",
    "memory.total": "memory_total_mib",
    "power.limit": "power_limit_w",
    "power.default_limit": "power_limit_default_w",
    "pcie.link.gen.max": "pcie_generation",
    "pcie.link.width.max": "pcie_width",
    "driver_version": "driver",
    "ecc.mode.current": "ecc_enabled",
    "mig.mode.current": "mig_enabled",
    "display_active": "display_active",
}


def test_every_card_is_what_nvidia_smi_says_it_is() -> None:
    """It is a reader of the same library, written by others."""
    command = ["nvidia-smi", f"--query-gpu={','.join(SMI_FIELDS)}", "--format=csv,noheader,nounits"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    with closing(open_sensor()) as sensor:
        cards = [card for card in sensor.cards() if card.parent_index is None]
    for card, line in zip(cards, said.strip().splitlines(), strict=True):
        for field, text in zip(SMI_FIELDS.values(), line.split(", "), strict=True):
            value = getattr(card, field)
            if "N/A" in text or "Not Supported" in text:
                assert value is None, field
            elif isinstance(value, bool):
                assert value == (text == "Enabled"), field
            elif isinstance(value, float):
                assert value == pytest.approx(float(text), abs=1), field
            else:
                assert str(value) == text, field


def test_torchs_devices_are_found_among_the_drivers_by_uuid() -> None:
    with closing(open_sensor()) as sensor:
        devices = gather_facts(sensor).torch_says.devices
        found, reasons = match_torch(devices, sensor.cards())
        names = {card.index: card.name for card in sensor.cards()}
    assert reasons == {}
    assert [names[found[device.index]] for device in devices] == [d.name for d in devices]


def test_the_energy_counter_of_a_card_that_has_one_moves_within_half_a_second() -> None:
    with closing(open_sensor()) as sensor:
        for reading in sensor.read():
            if reading.energy_j is not None:
                assert reading.energy_update_s is not None
                assert 0 < reading.energy_update_s <= 0.25
