"""From what was measured and what the sampler saw to the row that the report keeps."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import make_header

from diffusion_bench.bench.cells import (
    NO_GPU_USED,
    Watched,
    failed_cell,
    find_gpu,
    measured_cell,
)
from diffusion_bench.bench.measure import Measurement, Timed
from diffusion_bench.bench.worker_messages import Failed, Loaded
from diffusion_bench.hardware.apple import ROOT_ONLY
from diffusion_bench.hardware.sensors import GpuInfo
from diffusion_bench.records import (
    GpuReading,
    HostReading,
    ImageRequest,
    MachineState,
    Memory,
    Reading,
    SpeedProbe,
    Stages,
)
from diffusion_bench.reports.schema import Cell, GpuCard, Header, ModelFacts, Sustained

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


def timed(start_s: float, end_s: float, steps: int = 2) -> Timed:
    wall_s = end_s - start_s
    stages = Stages(text_encoder_s=0, denoising_s=wall_s, decoder_s=0, other_s=0)
    step_s = (wall_s / steps,) * steps
    return Timed(start_s=start_s, end_s=end_s, wall_s=wall_s, stages=stages, step_s=step_s)


def header(**plan: Any) -> Header:
    made = make_header(cells=[REQUEST])
    return made.model_copy(update={"plan": made.plan.model_copy(update=plan)})


def watched(**seen: Any) -> Watched:
    """Return what was seen of a cell, its place 4; a machine at rest without a card if not told."""
    usual = {
        "header": header(),
        "order": 4,
        "started_utc": STARTED,
        "before": MachineState(cpu_percent=1.0),
        "idle": (),
        "during": tuple(reading(at_s) for at_s in (8.0, 10.0, 11.0, 12.0, 13.0, 14.0)),
        "gpu_uuid": None,
    }
    return Watched(**{**usual, **seen})


def cell(
    memory: Memory | None = None,
    *,
    probed_to_s: float | None = None,
    request: ImageRequest = REQUEST,
    steps: int = 2,
    loaded: Loaded | None = None,
    first_of_shape: bool = False,
    machine_speed: SpeedProbe | None = None,
    sustained: Sustained | None = None,
    notes: tuple[str, ...] = (),
    **seen: Any,
) -> Cell:
    measurement = Measurement(
        warmup_s=(3.0, 1.0),
        timed=(timed(10.0, 12.0, steps), timed(12.0, 14.0, steps)),
        stop_reason="stable",
        memory=memory or Memory(missing={"rss_mib": "no peak here", "nvml_used_mib": "not yet"}),
        machine_speed=machine_speed,
        probed_to_s=probed_to_s,
        sustained=sustained,
        notes=notes,
    )
    return measured_cell(
        request,
        watched(**seen),
        measurement,
        loaded=loaded,
        attention="AttnProcessor2_0",
        first_of_shape=first_of_shape,
    )


def failed(**seen: Any) -> Cell:
    failure = Failed(status="oom", message="2 GiB asked", stage="decoder", asked_mib=2048.0)
    return failed_cell(REQUEST, watched(**seen), failure)


def test_what_the_machine_did_by_itself_is_kept_or_why_nobody_looked() -> None:
    looked = SpeedProbe(work="some blocks", before_s=(0.1,))
    assert cell(machine_speed=looked).machine_speed == (looked,)
    blind = cell()
    assert blind.machine_speed == ()
    assert "no probe under a cap of memory" in blind.missing["machine_speed"]
    assert failed().missing["machine_speed"] == "the cell was not measured"


def test_a_failure_is_a_row_with_its_status_its_message_and_a_reason_for_every_gap() -> None:
    row = failed()
    assert (row.status, row.message, row.order) == ("oom", "2 GiB asked", 4)
    assert (row.stage, row.asked_mib) == ("decoder", 2048.0)
    assert row.cell_id == REQUEST.workload_id()
    assert not row.samples
    assert set(row.memory.missing) == set(Memory.model_fields) - {"missing"}
    assert {"samples", "trace", "load_s", "first_call_s", "energy"} <= set(row.missing)


def test_the_identity_of_a_cell_measured_or_failed_is_of_the_models_revision() -> None:
    known = header(models=(ModelFacts(name=REQUEST.model, revision="sha256:1"),))
    for row in (cell(header=known), failed(header=known)):
        assert row.cell_id == known.cell_id(REQUEST) != REQUEST.workload_id()


def test_what_the_machine_did_before_is_kept_and_what_it_should_not_have_done_is_a_label() -> None:
    busy = MachineState(cpu_percent=90.0, on_battery=True, missing={"gpu_power_w": "no GPU"})
    for row in (cell(before=busy), failed(before=busy)):
        assert row.before is not None
        assert row.before.model_dump() == busy.model_dump()
        assert row.labels == ("contended", "on battery")
    assert cell().labels == failed().labels == ()


def test_a_card_slowed_by_heat_labels_the_cell_and_only_while_its_calls_were_timed() -> None:
    def at(at_s: float, reasons: tuple[str, ...]) -> Reading:
        gpu = GpuReading(index=0, uuid=OURS, throttle_reasons=reasons)
        return Reading(at_s=at_s, host=HostReading(), gpus=(gpu,))

    hot, cool = ("hw_thermal",), ()
    slowed = cell(gpu_uuid=OURS, during=(at(10, hot), at(11, cool), at(12, hot), at(13, cool)))
    assert slowed.labels == ("throttled",)
    assert slowed.throttle_share == {"hw_thermal": 0.5}
    assert cell(gpu_uuid=OURS, during=(at(8, hot), at(11, cool))).labels == ()


def test_sustained_calls_weigh_as_long_as_they_last_and_thin_no_reading_of_timed_ones() -> None:
    """Four seconds of timed calls, all hot, looked at 20 times a second; 36 s after it, cool."""

    def at(at_s: float, reasons: tuple[str, ...]) -> Reading:
        gpu = GpuReading(index=0, uuid=OURS, throttle_reasons=reasons)
        return Reading(at_s=at_s, host=HostReading(), gpus=(gpu,))

    hot = [at(10 + 0.05 * look, ("hw_thermal",)) for look in range(80)]
    cool = [at(14 + 0.018 * look, ()) for look in range(1, 2001)]
    on = Sustained(at_s=(0.0,), wall_s=(36.0,))
    for seldom in (1, 40):
        row = cell(gpu_uuid=OURS, during=(*hot, *cool[::-seldom][::-1]), sustained=on)
        assert row.throttle_share == pytest.approx({"hw_thermal": 0.1})
        assert sum(at_s < 4 for at_s in row.trace.at_s) == 80
    assert len(row.trace.at_s) == 130


def test_what_a_look_at_the_machines_own_speed_holds_is_no_part_of_the_cells_peak() -> None:
    """The look comes after the calls, holds memory of its own, and takes seconds of a slow card."""
    used = {10.0: 1000.0, 13.0: 2000.0, 14.2: 5000.0, 15.0: 5000.0, 15.5: 1200.0}
    seen = tuple(reading(at_s, used_mib=mib) for at_s, mib in used.items())
    row = cell(during=seen, gpu_uuid=OURS, probed_to_s=15.3)
    assert (row.memory.nvml_used_mib, row.memory.nvml_idle_after_mib) == (2000.0, 1200.0)
    assert len(row.trace.at_s) == len(seen), "the doctor takes a hole for a gap"


def test_emulated_memory_labels_every_row_whatever_came_of_it() -> None:
    capped = header(emulated_memory_mib=8192.0)
    assert cell(header=capped).labels == failed(header=capped).labels == ("emulated",)


def test_a_cell_of_fewer_steps_than_asked_is_extrapolated_and_says_by_which_rule() -> None:
    some = header(measured_steps=4)
    long = REQUEST.model_copy(update={"steps": 1000})
    row = cell(header=some, request=long, steps=4)
    assert row.labels == ("extrapolated",)
    assert row.extrapolation is not None
    assert row.extrapolation.measured_steps == 4
    assert "4 of 1000 steps" in row.extrapolation.rule
    # Where all its steps were timed it is not, whatever the plan allowed.
    for whole in (cell(header=some), cell(header=some, request=long, steps=1000)):
        assert (whole.extrapolation, whole.labels) == (None, ())


def test_every_repeat_is_a_sample_and_warm_ups_are_none() -> None:
    row = cell()
    assert [sample.wall_s for sample in row.samples] == [2.0, 2.0]
    assert [sample.start_s for sample in row.samples] == [0.0, 2.0]
    assert [sample.step_s for sample in row.samples] == [(1.0, 1.0), (1.0, 1.0)]
    assert row.warmup_s == (3.0, 1.0)
    assert (row.cell_id, row.status, row.order) == (REQUEST.workload_id(), "ok", 4)
    assert (row.stop_reason, row.attention) == ("stable", "AttnProcessor2_0")


def test_a_note_of_any_length_costs_no_cell() -> None:
    assert cell(notes=("short", "long " * 200)).notes == ("short", ("long " * 200)[:500])


def test_load_and_first_call_are_told_once_and_otherwise_their_absence_is() -> None:
    first = cell(loaded=Loaded(load_s=7.0, attention="any"), first_of_shape=True)
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
    instance = GpuReading(index=2, parent_index=0, uuid=OURS.replace("GPU-", "MIG-"))
    split = reading(0.0, used_mib=1.0).model_copy(update={"gpus": (instance,)})
    assert find_gpu((split,), OURS) == 2  # torch writes an instance's UUID as a card's


def test_a_card_is_found_though_its_driver_hung_while_nobody_could_look() -> None:
    card = GpuInfo(index=1, uuid=OURS, name="RTX 4090")
    assert find_gpu((), OURS) is None
    assert find_gpu((), OURS, lambda: (card,)) == 1
    assert find_gpu((), "GPU-third", lambda: (card,)) is None
    assert find_gpu((), None, lambda: (card,)) is None


def test_memory_and_energy_are_those_of_the_card_in_use() -> None:
    used = {8.0: 7000.0, 10.0: 1000.0, 11.0: 3000.0, 12.0: 2000.0, 13.0: 2000.0, 14.0: 1200.0}
    row = cell(
        during=tuple(reading(at_s, used_mib=mib) for at_s, mib in used.items()),
        idle=(reading(6.5, used_mib=900.0), reading(7.0, used_mib=400.0)),
        gpu_uuid=OURS,
    )
    assert row.memory.nvml_used_mib == 3000.0  # the warm-up's 7000 is not of the timed calls
    assert row.memory.nvml_idle_mib == 400.0  # the last look before the cell
    assert row.memory.nvml_idle_after_mib == 1200.0  # the last of all
    assert [sample.energy_j for sample in row.samples] == pytest.approx([200.0, 200.0])
    assert not {"nvml_used_mib", "nvml_idle_mib"} & set(row.memory.missing)
    assert row.energy is not None
    assert (row.energy.total_j, row.energy.window_s) == pytest.approx((400.0, 4.0))
    assert row.energy.method
    assert not {"energy", "energy_j"} & set(row.missing)


def test_an_energy_of_mean_powers_is_less_sure_than_one_of_fresh_ones() -> None:
    def unsure_j(power_method: str) -> float:
        machine = header().machine
        cards = tuple(GpuCard(index=i, name="A", power_method=power_method) for i in (0, 1))
        told = header().model_copy(update={"machine": machine.model_copy(update={"gpus": cards})})
        seen = tuple(reading(8.0 + 0.5 * look, used_mib=1.0) for look in range(15))
        energy = cell(header=told, during=seen, gpu_uuid=OURS).energy
        assert energy is not None
        assert energy.total_j == pytest.approx(400.0)
        return float(energy.uncertainty_j or 0.0)

    assert unsure_j("instant") == pytest.approx(2 * 0.1 * 100 + 20)
    assert unsure_j("average") == pytest.approx(2 * 1.0 * 100 + 20)


def test_without_a_card_its_figures_are_missing_with_a_reason_also_where_another_card_is() -> None:
    for readings in ((reading(11.0),), (reading(11.0, used_mib=5.0),)):
        row = cell(during=readings)
        assert row.memory.nvml_used_mib is None
        assert row.memory.missing["nvml_used_mib"] == NO_GPU_USED
        assert row.memory.missing["nvml_idle_mib"] == NO_GPU_USED
        assert row.missing["energy"] == row.missing["energy_j"] != ""
        assert row.energy is None
        assert all(sample.energy_j is None for sample in row.samples)


def test_on_a_processor_the_energy_is_its_own_counters() -> None:
    def at(at_s: float) -> Reading:
        return Reading(at_s=at_s, host=HostReading(package_energy_j=5.0 + 30 * at_s))

    row = cell(during=tuple(at(9.5 + 0.5 * index) for index in range(11)))
    assert row.energy is not None
    assert (row.energy.scope, row.energy.window_s) == ("cpu package", pytest.approx(4.0))
    assert row.energy.total_j == pytest.approx(120.0)


def test_on_apples_gpu_the_energy_is_missing_for_its_own_reason() -> None:
    def at(at_s: float) -> Reading:
        return Reading(at_s=at_s, host=HostReading(package_energy_j=5.0 + 30 * at_s))

    seen = tuple(at(9.5 + 0.5 * index) for index in range(11))
    row = cell(header=header(device="mps"), during=seen)
    assert row.energy is None  # the processor's is not the GPU's
    assert row.missing["energy"] == row.missing["energy_j"] == ROOT_ONLY


def test_a_card_that_the_driver_does_not_show_has_not_the_processors_energy() -> None:
    def at(at_s: float) -> Reading:
        return Reading(at_s=at_s, host=HostReading(package_energy_j=5.0 + 30 * at_s))

    row = cell(during=tuple(at(9.5 + 0.5 * index) for index in range(11)), gpu_uuid=OURS)
    assert row.energy is None
    assert row.missing["energy"] == row.missing["energy_j"]
    assert row.missing["energy"] == "the driver does not show the GPU that the cell ran on"


def test_an_exact_peak_is_kept_and_the_sampled_one_stands_in_where_there_is_none() -> None:
    seen = (reading(8.0, rss_mib=900.0), reading(11.0, rss_mib=600.0), reading(12.0, rss_mib=550.0))
    sampled = cell(during=seen).memory
    assert sampled.rss_mib == 600.0
    assert "rss_mib" not in sampled.missing
    assert cell(Memory(rss_mib=650.0), during=seen).memory.rss_mib == 650.0
    blind = cell(during=()).memory
    assert (blind.rss_mib, blind.missing["rss_mib"]) == (None, "no peak here")


def test_a_machine_that_slept_while_calls_ran_is_noted_and_a_late_look_is_not() -> None:
    def after(gap_s: float, at_s: float = 13.0) -> tuple[str, ...]:
        late = reading(at_s).model_copy(update={"gap_s": gap_s})
        return cell(during=(reading(9.0), late, reading(14.0))).notes

    (note,) = after(3600.0)
    assert note.startswith("nobody looked at the machine for 3600 s while calls ran")
    assert after(2.0) == after(3600.0, at_s=9.9) == ()
