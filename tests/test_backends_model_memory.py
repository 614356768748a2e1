"""Whether a model fits: the tiers' prediction against what is free, in the numbers it rests on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
import torch

from diffusion_bench.backends.catalog import ModelEntry, catalog, find_model
from diffusion_bench.backends.counting.networks import configurations
from diffusion_bench.backends.model_memory import (
    FreeMemory,
    MemoryAsked,
    ModelRoom,
    counted_as,
    free_memory,
    model_room,
)
from diffusion_bench.tiers.memory import CONTEXT_MIB, memory_of

XL = "stabilityai/stable-diffusion-xl-base-1.0"
SHAPE = {"width": 1024, "height": 1024, "precision": "fp16"}


def room(gib: float, *, ram_gib: float = 64, device: str = "cuda:0", model: str = XL) -> ModelRoom:
    free = FreeMemory(device=device, device_mib=gib * 1024, ram_mib=ram_gib * 1024)
    return model_room(find_model(model), MemoryAsked(**SHAPE), free)


def test_the_verdict_goes_from_fits_over_offload_to_no_as_memory_shrinks() -> None:
    verdicts = [room(gib).verdict for gib in (80, 24, 12, 8.5, 2)]
    assert verdicts == ["fits", "fits", "fits with offload", "fits with offload", "does not fit"]


def test_the_numbers_are_those_of_the_tiers_and_stand_in_the_words() -> None:
    need = memory_of(XL, **SHAPE, batch=1, guided=True)
    found = room(24)
    assert (found.low_mib, found.need_mib, found.high_mib) == (
        need.low_mib,
        need.peak_mib,
        need.high_mib,
    )
    gib = need.peak_mib / 1024
    assert found.words.startswith(f"fits: about {gib:.1f} GiB (")
    assert found.words.endswith("predicted, 24.0 GiB free on cuda:0")
    assert found.basis == need.basis


def test_offload_is_named_and_needs_less() -> None:
    whole, offloaded = room(24), room(12)
    assert offloaded.offload == ("model offload",)
    assert offloaded.words.startswith("fits with offload (model offload): about ")
    assert offloaded.high_mib <= 12 * 1024 < whole.high_mib


def test_offload_that_the_machines_memory_cannot_hold_is_no_offload_and_says_so() -> None:
    found = room(12, ram_gib=4)
    assert found.verdict != "fits with offload"
    assert (
        "; offload would take 6.5 GiB of the machine's memory, of which 3.2 can be" in found.words
    )


def test_a_cpu_has_no_context_to_pay_and_nowhere_to_offload() -> None:
    need = memory_of(XL, **SHAPE, batch=1, guided=True)
    found = room(64, device="cpu")
    assert found.need_mib == pytest.approx(need.peak_mib - CONTEXT_MIB)
    assert room(12, device="cpu").verdict in ("tight", "does not fit")
    assert room(2, device="cpu").verdict == "does not fit"


def test_every_model_of_the_catalog_can_be_told_at_its_own_size() -> None:
    free = FreeMemory(device="cuda:0", device_mib=1e6, ram_mib=1e6)
    for entry in catalog().values():
        asked = MemoryAsked(width=entry.side, height=entry.side, precision="bf16")
        assert model_room(entry, asked, free).verdict == "fits", entry.name


def test_what_cannot_be_told_has_its_reason() -> None:
    unknown = room(24, model="owner/name")
    assert unknown.verdict == "cannot tell"
    assert unknown.need_mib is None
    assert "its networks are none that were counted" in unknown.words
    free = FreeMemory(device="cuda:0", device_mib=1e6, ram_mib=1e6)
    odd = MemoryAsked(width=1028, height=1024)
    assert "multiples of 8 pixels" in model_room(find_model(XL), odd, free).words


def save_denoiser(folder: Path, **changed: object) -> ModelEntry:
    """Save the settings of a fine-tuned SDXL, without weights."""
    config = {**configurations()["sdxl"].denoiser.config, "_class_name": "UNet2DConditionModel"}
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text('{"_class_name": "StableDiffusionXLPipeline"}')
    (folder / "unet" / "config.json").write_text(json.dumps({**config, **changed}))
    return find_model(str(folder))


def test_a_folder_of_a_counted_models_networks_is_counted_as_it(tmp_path: Path) -> None:
    entry = save_denoiser(tmp_path, sample_size=96)
    assert counted_as(entry) == "sdxl"
    assert entry.side == 768


def test_a_folder_of_other_networks_is_not(tmp_path: Path) -> None:
    assert counted_as(save_denoiser(tmp_path, layers_per_block=3)) is None


def test_a_folder_is_not_counted_by_what_it_is_called(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save_denoiser(tmp_path / "sdxl", layers_per_block=3)
    assert counted_as(find_model("sdxl")) is None


def test_free_memory_of_a_cpu_is_the_machines() -> None:
    free = free_memory("cpu")
    assert free.device_mib == free.ram_mib
    assert 0 < free.ram_mib <= psutil.virtual_memory().total / 2**20


def test_apples_gpu_has_what_the_machine_has_left_and_metal_recommends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gib = 2**30
    monkeypatch.setattr(torch.mps, "current_allocated_memory", lambda: 2 * gib)
    monkeypatch.setattr(torch.mps, "driver_allocated_memory", lambda: 3 * gib)
    machine = SimpleNamespace(available=5 * gib)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: machine)
    for most_gib, free_gib in ((12, 6), (4, 2), (1, 0)):  # a GiB is held for the next model
        monkeypatch.setattr(torch.mps, "recommended_max_memory", lambda most=most_gib: most * gib)
        free = free_memory("mps")
        assert (free.device_mib, free.ram_mib) == (free_gib * 1024, 5 * 1024)
