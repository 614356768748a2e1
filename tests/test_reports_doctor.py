"""The doctor of reports: silent on what was measured, one finding for each thing that is not so."""

from __future__ import annotations

import random
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from fakes import NO_GPU, make_cell, make_header, make_report, make_trace

from diffusion_bench.hardware.trace import to_trace
from diffusion_bench.records import (
    BUNDLED_SIDE,
    HostReading,
    MachineState,
    Memory,
    OtherLoad,
    Reading,
    Trace,
    VoiceRequest,
    VoiceStages,
)
from diffusion_bench.reports.doctor import examine_report
from diffusion_bench.reports.fits import fit_lines
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import (
    PROTOCOL_VERSION,
    Cell,
    Energy,
    Extrapolation,
    GpuCard,
    Report,
    Sample,
)

GPU = "NVIDIA L4"
SILENT = {"text_s": 0.0, "voice_encoder_s": 0.0, "other_s": 0.0}


def measured_cell(steps: int = 20, order: int = 0, **changes: Any) -> Cell:
    """Return a cell as a clock would give it, no two times equal."""
    rng = random.Random(steps)
    cell = make_cell(
        wall_s=[0.1 + 0.01 * steps + rng.random() / 100 for _ in range(5)], steps=steps
    )
    samples = []
    for sample in cell.samples:
        shares = [1 + rng.random() / 10 for _ in range(steps)]
        scale = sample.stages.denoising_s / sum(shares)
        samples.append(sample.model_copy(update={"step_s": tuple(s * scale for s in shares)}))
    fields = {"samples": tuple(samples), "order": order, "missing": {"energy": NO_GPU}, **changes}
    return cell.model_copy(update=fields)


def limited_report(*cells: Cell) -> Report:
    """Return a report of a card that may draw 72 W."""
    report = make_report(*cells, gpu=GPU)
    card = GpuCard(index=0, name=GPU, memory_total_mib=24_000.0, power_limit_w=72.0)
    machine = report.header.machine.model_copy(update={"gpus": (card,)})
    return report.model_copy(
        update={"header": report.header.model_copy(update={"machine": machine})}
    )


def energy(power_w: float, seconds: float = 10.0, **fields: Any) -> Energy:
    return Energy(total_j=power_w * seconds, window_s=seconds, method="counter", **fields)


def titles(report: Report, *levels: str) -> list[str]:
    found = examine_report(report)
    return [finding.title for finding in found if not levels or finding.level in levels]


def test_energy_of_calls_made_for_it_alone_is_held_against_those_calls():
    """Two seconds of calls after visits that took longer together, or too few of them."""
    cell = measured_cell(10, 0)
    calls_s = sum(sample.wall_s for sample in cell.samples)
    each_s = calls_s / len(cell.samples)
    for calls, is_short in ((1, False), (3, True)):
        found = energy(50.0, seconds=1.1 * each_s, calls=calls)
        told = titles(make_report(measured_cell(10, 0, energy=found, missing={})), "problem")
        assert any("shorter than its calls" in title for title in told) is is_short


def test_calls_made_for_energy_alone_may_be_as_fast_as_the_fastest_timed_one():
    """A neighbour slowed the visits before the last one, beside which they were made."""
    walls = (0.070, 0.071, 0.069, 0.072, 0.050, 0.0501)
    for window_s, is_short in ((2.01, False), (1.5, True)):
        found = energy(50.0, seconds=window_s, calls=40)
        cell = make_cell(wall_s=walls).model_copy(update={"energy": found})
        told = titles(make_report(cell), "problem")
        assert any("shorter than its calls" in title for title in told) is is_short


def test_a_report_as_it_is_measured_has_nothing_against_it():
    cells = [measured_cell(steps, order) for order, steps in enumerate((10, 20, 40))]
    report = make_report(*cells).model_copy(update={"fits": fit_lines(cells)})
    (found,) = examine_report(report)
    assert (found.level, found.title) == ("ok", "nothing implausible in 3 cells")


def test_a_real_report_has_no_problem():
    report = read_report(Path(__file__).parent / "data" / "report_format_1.jsonl")
    assert titles(report, "problem", "warning") == []
    assert "metrics are absent without a reason" not in titles(report)


def one_sample(**changes: Any) -> dict[str, Any]:
    """Return a change of a cell that changes its second sample."""
    samples = list(measured_cell().samples)
    samples[1] = samples[1].model_copy(update=changes)
    return {"samples": tuple(samples)}


BUSY = MachineState(cpu_percent=80.0, missing={})
GAP = tuple(i / 5 for i in range(20)) + tuple(9 + i / 5 for i in range(20))
ODD = {
    "zero energy": ({"energy": energy(0.0)}, "zero or negative"),
    "zero energy of a sample": (one_sample(energy_j=0.0), "zero or negative"),
    "power": ({"energy": energy(80.0)}, "more power than the card"),
    "power of the moment": (
        {"energy": energy(50.0), "before": MachineState(gpu_power_limit_w=40.0)},
        "more power than the card",
    ),
    "net": ({"energy": energy(50.0, idle_power_w=10.0, net_j=470.0)}, "does not follow"),
    "net without idle": ({"energy": energy(50.0, net_j=470.0)}, "does not follow"),
    "window": ({"energy": energy(50.0, seconds=0.5)}, "shorter than its calls"),
    "stages": (one_sample(wall_s=9.0), "do not add up"),
    "steps": (one_sample(step_s=(0.5,) * 20), "do not add up"),
    "too few steps": (one_sample(step_s=(0.04,) * 5), "number of steps"),
    "label": ({"labels": ("extrapolated",)}, "labels that contradict"),
    "rule": (
        {"extrapolation": Extrapolation(measured_steps=20, rule="x")},
        "labels that contradict",
    ),
    "emulated": ({"labels": ("emulated",)}, "labels that contradict"),
    "equal": ({"samples": measured_cell().samples[:1] * 5}, "too equal"),
    "no sample": ({"samples": ()}, "without what their status needs"),
    "busy": ({"before": BUSY}, "spoils it"),
    "busy GPU": ({"before": MachineState(gpu_utilization_percent=80.0)}, "spoils it"),
    "beside": ({"others": OtherLoad(cpu_percent=40.0)}, "spoils it"),
    "beside on the GPU": ({"others": OtherLoad(gpu_processes=1)}, "spoils it"),
    "throttled": ({"labels": ("throttled",)}, "spoils it"),
    "gap": ({"trace": Trace(at_s=GAP)}, "gaps in the readings"),
    "unexplained": ({"memory": Memory()}, "without a reason"),
    "early": ({"started_utc": "2020-01-01T00:00:00Z"}, "before the report was begun"),
}


@pytest.mark.parametrize(("change", "says"), ODD.values(), ids=ODD)
def test_what_cannot_be_so_or_spoils_a_cell_is_found(change, says):
    usual = {"energy": energy(50.0), "missing": {}}
    sound = limited_report(measured_cell(**usual), measured_cell(10, 1, **usual))
    assert titles(sound) == ["nothing implausible in 2 cells"]
    odd = limited_report(measured_cell(**{**usual, **change}), measured_cell(10, 1, **usual))
    assert [title for title in titles(odd) if says in title]


def test_one_disturbance_is_told_once_with_all_that_was_seen_of_it():
    load = OtherLoad(cpu_percent=40.0, gpu_processes=2)
    cell = measured_cell(labels=("contended", "throttled"), before=BUSY, others=load)
    (told,) = [each for each in examine_report(make_report(cell)) if each.level == "warning"]
    assert "throttled, before it processor" in told.detail
    assert "beside it processor 40 % taken by others and 2 other processes" in told.detail
    assert "contended" not in told.detail  # which says no more than the rest
    alone = measured_cell(labels=("contended",), others=OtherLoad(cpu_percent=15.0))
    (told,) = [each for each in examine_report(make_report(alone)) if each.level == "warning"]
    assert told.detail.endswith("contended")


def test_two_milliseconds_may_be_lacking_of_a_call_however_short():
    def lacking(gap_s: float) -> list[str]:
        (sample, *_) = make_cell(wall_s=(0.02,), steps=4).samples
        short = sample.model_copy(update={"wall_s": 0.02 + gap_s})
        return titles(make_report(measured_cell(4, samples=(short,))), "problem")

    assert lacking(0.0015) == []
    assert lacking(0.0025) == ["steps and stages do not add up to the call"]


def test_a_module_may_draw_more_than_its_gpu_is_limited_to():
    module = measured_cell(energy=energy(80.0, scope="module"), missing={})
    assert titles(limited_report(module)) == ["nothing implausible in 1 cells"]


def test_a_sweep_that_was_slowed_by_a_cell_off_the_line_and_a_changed_line_are_found():
    cells = [measured_cell(steps, order) for order, steps in enumerate((10, 20, 40, 80))]
    (line,) = fit_lines(cells)
    changed = line.model_copy(update={"per_step_s": line.per_step_s * 1.01})
    report = make_report(*cells).model_copy(update={"fits": (changed,)})
    assert titles(report) == ["1 of 1 stored lines are not those of the samples"]
    slow = [s.model_copy(update={"wall_s": 3 * s.wall_s}) for s in cells[3].samples]
    spilled = cells[3].model_copy(update={"samples": tuple(slow)})
    for gpu, says in ((None, "had to swap memory"), (GPU, "spilled over the GPU's memory")):
        found = examine_report(make_report(*cells[:3], spilled, gpu=gpu))
        (far,) = [f for f in found if f.title == "1 cells are off the line through their steps"]
        assert far.advice == f"they were disturbed, throttled, or {says}"


def test_cells_that_were_not_planned_or_are_absent_are_counted():
    cells = [measured_cell(10), measured_cell(20, 1)]
    header = make_header(cells=[cells[0].request, measured_cell(40).request])
    found = titles(Report(header=header, cells=tuple(cells)))
    assert found == [
        "1 cells are not in the report's plan",
        "1 of 2 planned cells are absent",
    ]


def test_a_protocol_that_this_program_does_not_know_is_said_to_be_newer_or_none():
    def told(version: int) -> list[tuple[str, str]]:
        report = make_report(measured_cell())
        header = report.header.model_copy(update={"protocol_version": version})
        found = examine_report(report.model_copy(update={"header": header}))
        return [(one.level, one.title) for one in found if "protocol" in one.title]

    newer = f"measured by protocol {PROTOCOL_VERSION + 1}, which is newer than this program"
    assert told(PROTOCOL_VERSION + 1) == [("warning", newer)]
    assert told(0) == [("problem", "measured by protocol 0, which there never was")]
    assert told(PROTOCOL_VERSION) == told(1) == []


def test_a_report_that_ends_between_rounds_says_which_cells_have_calls_to_come():
    ended, partial = measured_cell(10), measured_cell(20, 1, stop_reason=None)
    found = titles(make_report(ended, partial))
    assert found == ["1 of 2 cells have calls still to come"]
    assert titles(make_report(ended)) == ["nothing implausible in 1 cells"]


def test_a_clock_that_was_set_back_and_a_place_taken_twice_are_found():
    late = measured_cell(10, 0, started_utc="2026-01-02T04:00:00Z")
    found = titles(make_report(late, measured_cell(20, 1), measured_cell(40, 1)))
    assert found == [
        "1 cells started before the one they follow",
        "1 places in the order are taken twice",
    ]


def test_a_cell_that_failed_in_a_later_round_accuses_no_other_of_a_clock_set_back():
    """It keeps its place of the first round, and older reports give it the time of its failure."""
    failed = measured_cell(10, 0, status="failed", message="lost", samples=(), stop_reason=None)
    failed = failed.model_copy(update={"started_utc": "2026-01-02T04:00:00Z"})
    report = make_report(failed, measured_cell(20, 1))
    plan = report.header.plan.model_copy(update={"rounds": 2})
    in_rounds = report.header.model_copy(update={"plan": plan})
    assert titles(report.model_copy(update={"header": in_rounds})) == [
        "nothing implausible in 2 cells"
    ]
    assert titles(report) == ["1 cells started before the one they follow"]


def test_a_cell_that_was_tried_again_accuses_no_other_of_a_clock_set_back():
    """It has its place in the plan and its new time; its line stands behind the others."""
    again = measured_cell(10, 0, started_utc="2026-01-02T04:00:00Z")
    assert titles(make_report(measured_cell(20, 1), again)) == ["nothing implausible in 2 cells"]


def test_frames_of_a_voice_that_are_no_steps_of_a_denoiser_do_not_contradict_the_call():
    """Models that speak frame by frame take steps outside of the denoising, or have none."""
    said = VoiceRequest(text="a word")
    stages = VoiceStages(prior_s=0.9, denoising_s=0.0, vocoder_s=0.1, **SILENT)
    for frame_s, found in ((0.3, []), (0.5, ["steps and stages do not add up to the call"])):
        sample = Sample(wall_s=1.0, stages=stages, step_s=(frame_s,) * 3, audio_s=2.0)
        spoken = {"request": said, "cell_id": said.workload_id(), "samples": (sample,)}
        assert titles(make_report(measured_cell(**spoken)), "problem") == found


def test_the_worst_comes_first_and_one_finding_names_the_first_of_many_cells():
    cells = [measured_cell(steps, i, before=BUSY, samples=()) for i, steps in enumerate((10, 20))]
    found = examine_report(make_report(*cells))
    assert [finding.level for finding in found] == ["problem", "warning"]
    assert found[0].detail == (
        f"ddim, 10 steps, {BUNDLED_SIDE}x{BUNDLED_SIDE}, batch 1: "
        "ended well without a sample (and 1 more cells)"
    )


def test_a_trace_that_was_watched_all_the_time_has_no_gap():
    assert "gaps in the readings of the hardware" not in titles(
        make_report(measured_cell(trace=make_trace(60)))
    )


def test_a_search_for_a_limit_has_no_plan_so_one_that_was_stopped_has_no_problem():
    cells = tuple(measured_cell(steps, order) for order, steps in enumerate((10, 20)))
    assert titles(Report(header=make_header(), cells=cells)) == ["nothing implausible in 2 cells"]


def test_readings_of_sustained_calls_far_apart_by_plan_are_no_gap_and_none_at_all_is_one():
    """Timed calls of 0.5 s in all, at 20 Hz; then a look every 6 s."""
    timed = tuple(0.05 * look for look in range(11))
    calls = tuple(
        sample.model_copy(update={"wall_s": 0.1, "start_s": 0.1 * place})
        for place, sample in enumerate(measured_cell().samples)
    )

    def gaps(*later_s: float) -> list[str]:
        cell = measured_cell(samples=calls, trace=Trace(at_s=(*timed, *later_s)))
        return [title for title in titles(make_report(cell)) if "gaps" in title]

    assert gaps(6.0, 12.0, 18.0, 24.0) == []
    assert gaps(6.0, 12.0, 18.0, 240.0) == ["gaps in the readings of the hardware"]


def test_a_gap_is_as_long_as_nobody_looked_though_the_trace_has_a_point_in_it():
    """1.8 s without a reading; two halves of it would be short enough to pass."""
    at_s = [i / 5 for i in range(20)]
    times = [*at_s, *(at_s[-1] + 1.8 + each for each in at_s)]
    readings = [
        Reading(
            at_s=at,
            host=HostReading(rss_mib=900.0),
            gap_s=at - before if at - before > 0.3 else None,
        )
        for before, at in pairwise([times[0], *times])
    ]
    trace = to_trace(readings, 0.0)
    assert len(trace.at_s) == len(times) + 1
    (found,) = examine_report(make_report(measured_cell(trace=trace)))
    assert found.title == "gaps in the readings of the hardware"
    assert "1.80 s without a reading, usually 0.20 s" in found.detail


@pytest.mark.parametrize(
    ("from_s", "to_s", "usual_s"), [(0.0, 1.0, "0.05"), (2.0, 3.0, "0.05"), (0.0, 3.0, "")]
)
def test_calls_before_the_first_and_after_the_last_reading_are_a_gap(from_s, to_s, usual_s):
    """Three calls of a second each; a report may be cut, or a sensor fail and never come back."""
    calls = tuple(
        sample.model_copy(update={"wall_s": 1.0, "start_s": float(place)})
        for place, sample in enumerate(measured_cell().samples[:3])
    )
    looks = tuple(from_s + 0.05 * look for look in range(round((to_s - from_s) / 0.05) + 1))
    report = make_report(measured_cell(samples=calls, trace=Trace(at_s=looks)))
    found = [f.detail for f in examine_report(report) if "gaps" in f.title]
    if not usual_s:
        assert found == []
    else:
        assert f"2.00 s without a reading, usually {usual_s} s" in found[0]


@pytest.mark.parametrize("field", ["load_s", "first_call_s", "compile_s", "warmup_s"])
def test_no_report_has_a_load_or_a_warm_up_of_less_than_no_time(field):
    cell = measured_cell().model_dump()
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        Cell.model_validate({**cell, field: (-5.0,) if field == "warmup_s" else -5.0})
