"""From what was measured and what the sampler saw to the row that the report keeps."""

from __future__ import annotations

from typing import Any

import pytest

from diffusion_bench.bench.cells import NO_GPU_USED, failed_cell, find_gpu, measured_cell
from diffusion_bench.bench.measure import Measurement, Timed
from diffusion_bench.bench.worker import Failed
from diffusion_bench.records import (
    GpuReading,
    HostReading,
    ImageRequest,
    Memory,
    Reading,
    Stages,
)
from diffusion_bench.reports.schema import Cell

REQUEST = ImageRequest(prompt="a cat", steps=2)
STARTED = "2026-01-02T03:04:05Z"
OURS, OTHER = "GPU-ours", "GPU-other"


def reading(at_s: float, rss_mib: float = 500.0, used_mib: float | None = None) -> Reading:
    """Return a look at a machine with two cards: NVML's first is not the one in use."""
    gpus = ()
    if used_mib is not None:
        gpus = (
            GpuReading(index=0, uuid=OTHER, memory_used_mib=9999.0, power_w=999.0),
            GpuReading(index=1, uuid=OURS, memory_used_mib=used_mib, power_w=100.0),
        )
    return Reading(at_s=at_s, host=HostReading(rss_mib=rss_mib, cpu_percent=50.0), gpus=gpus)


def timed(start_s: float, end_s: float) -> Timed:
    wall_s = end_s - start_s
    stages = Stages(text_encoder_s=0, denoising_s=wall_s, decoder_s=0, other_s=0)
    return Timed(
        start_s=start_s, end_s=end_s, wall_s=wall_s, stages=stages, step_s=(wall_s / 2,) * 2
    )


def cell(memory: Memory | None = None, **settings: Any) -> Cell:
    measurement = Measurement(
        warmup_s=(3.0, 1.0),
        timed=(timed(10.0, 12.0), timed(12.0, 14.0)),
        memory=memory or Memory(missing={"rss_mib": "no peak here", "nvml_used_mib": "not yet"}),
    )
    usual = {
        "readings": tuple(reading(at_s) for at_s in (8.0, 10.0, 11.0, 12.0, 13.0, 14.0)),
        "idle": None,
        "gpu_uuid": None,
        "load_s": None,
        "first_of_shape": False,
    }
    return measured_cell(REQUEST, 4, STARTED, measurement, **{**usual, **settings})


def test_a_failure_is_a_row_with_its_status_its_message_and_a_reason_for_every_gap() -> None:
    row = failed_cell(REQUEST, 3, STARTED, Failed(status="oom", message="2 GiB asked"))
    assert (row.status, row.message, row.order) == ("oom", "2 GiB asked", 3)
    assert row.cell_id == REQUEST.workload_id()
    assert not row.samples
    assert set(row.memory.missing) == set(Memory.model_fields) - {"missing"}
    assert set(row.missing) == {"samples", "trace", "load_s", "first_call_s", "energy"}


def test_every_repeat_is_a_sample_and_warm_ups_are_none() -> None:
    row = cell()
    assert [sample.wall_s for sample in row.samples] == [2.0, 2.0]
    assert [sample.step_s for sample in row.samples] == [(1.0, 1.0), (1.0, 1.0)]
    assert row.warmup_s == (3.0, 1.0)
    assert (row.cell_id, row.status, row.order) == (REQUEST.workload_id(), "ok", 4)


def test_load_and_first_call_are_told_once_and_otherwise_their_absence_is() -> None:
    first = cell(load_s=7.0, first_of_shape=True)
    assert (first.load_s, first.first_call_s) == (7.0, 3.0)
    assert not {"load_s", "first_call_s"} & set(first.missing)
    later = cell()
    assert (later.load_s, later.first_call_s) == (None, None)
    assert {"load_s", "first_call_s"} <= set(later.missing)


def test_the_trace_begins_with_the_first_timed_call() -> None:
    assert cell().trace.at_s == (0.0, 1.0, 2.0, 3.0, 4.0)


def test_a_card_is_found_by_its_uuid_not_by_its_place() -> None:
    seen = (reading(0.0), reading(1.0, used_mib=1.0))
    assert find_gpu(seen, OURS) == 1
    assert find_gpu(seen, "GPU-third") is None
    assert find_gpu(seen, None) is None


def test_memory_and_energy_are_those_of_the_card_in_use() -> None:
    used = {8.0: 7000.0, 10.0: 1000.0, 11.0: 3000.0, 12.0: 2000.0, 13.0: 2000.0, 14.0: 1000.0}
    row = cell(
        readings=tuple(reading(at_s, used_mib=mib) for at_s, mib in used.items()),
        idle=reading(7.0, used_mib=400.0),
        gpu_uuid=OURS,
    )
    assert row.memory.nvml_used_mib == 3000.0  # the warm-up's 7000 is not of the timed calls
    assert row.memory.nvml_idle_mib == 400.0
    assert [sample.energy_j for sample in row.samples] == pytest.approx([200.0, 200.0])
    assert not {"nvml_used_mib", "nvml_idle_mib"} & set(row.memory.missing)
    assert row.energy is not None
    assert (row.energy.total_j, row.energy.window_s) == pytest.approx((400.0, 4.0))
    assert row.energy.method
    assert not {"energy", "energy_j"} & set(row.missing)


def test_without_a_card_its_figures_are_missing_with_a_reason_also_where_another_card_is() -> None:
    for readings in ((reading(11.0),), (reading(11.0, used_mib=5.0),)):
        row = cell(readings=readings)
        assert row.memory.nvml_used_mib is None
        assert row.memory.missing["nvml_used_mib"] == NO_GPU_USED
        assert row.memory.missing["nvml_idle_mib"] == NO_GPU_USED
        assert row.missing["energy"] == row.missing["energy_j"] == NO_GPU_USED
        assert row.energy is None
        assert all(sample.energy_j is None for sample in row.samples)


def test_an_exact_peak_is_kept_and_the_sampled_one_stands_in_where_there_is_none() -> None:
    seen = (reading(8.0, rss_mib=900.0), reading(11.0, rss_mib=600.0), reading(12.0, rss_mib=550.0))
    sampled = cell(readings=seen).memory
    assert sampled.rss_mib == 600.0
    assert "rss_mib" not in sampled.missing
    assert cell(Memory(rss_mib=650.0), readings=seen).memory.rss_mib == 650.0
    blind = cell(readings=()).memory
    assert (blind.rss_mib, blind.missing["rss_mib"]) == (None, "no peak here")
