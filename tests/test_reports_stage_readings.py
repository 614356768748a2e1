"""Readings cut by stage and step: what falls where, and what too few of them cannot say."""

from __future__ import annotations

import math
from collections.abc import Callable
from statistics import stdev
from typing import Any

import pytest
from fakes import make_cell, make_header, make_trace

from diffusion_bench.charts.trace import trace_table
from diffusion_bench.records import GpuTrace, Stages, Trace, VoiceStages
from diffusion_bench.reports.schema import (
    Cell,
    Energy,
    Extrapolation,
    GpuCard,
    Header,
    Sample,
    Visit,
)
from diffusion_bench.reports.stage_readings import NO_GPU_POWER, UNTOLD, Seen, cut_trace, gpu_of
from diffusion_bench.reports.stage_spans import NO_STARTS, SPEECH, stage_spans

TEXT_S, STEP_S, DECODER_S = 1.0, 2.0, 3.0  # of the usual call: 1 + 4 * 2 + 3 = 12 s
STEPS = 4


def sample(start_s: float | None, *, other_s: float = 0.0, step_s: float = STEP_S) -> Sample:
    stages = Stages(
        text_encoder_s=TEXT_S,
        denoising_s=STEPS * step_s,
        decoder_s=DECODER_S,
        other_s=other_s,
    )
    return Sample(
        wall_s=TEXT_S + STEPS * step_s + DECODER_S + other_s,
        stages=stages,
        step_s=(step_s,) * STEPS,
        start_s=start_s,
    )


def gpu_trace(
    seconds: float, power_w: Callable[[float], float], *, every_s: float = 0.05, **columns: Any
) -> Trace:
    at_s = tuple((index + 0.5) * every_s for index in range(round(seconds / every_s)))
    gpu = GpuTrace(
        index=0,
        power_w=tuple(power_w(at) for at in at_s),
        memory_used_mib=tuple(1000.0 + at for at in at_s),
        utilization_percent=tuple(90.0 for _ in at_s),
    )
    return Trace(at_s=at_s, gpus=(gpu.model_copy(update=columns),))


def cell_of(trace: Trace, *samples: Sample, **fields: Any) -> Cell:
    made = make_cell(trace=trace, steps=STEPS)
    return made.model_copy(update={"samples": samples, **fields})


def by_stage(at_s: float) -> float:
    """A card that draws 50 W for text, 100, 110, 120 and 130 in the steps, 200 in the decoder."""
    in_call = at_s % 12.0
    if in_call < TEXT_S:
        return 50.0
    step = int((in_call - TEXT_S) / STEP_S)
    return 100.0 + 10.0 * step if step < STEPS else 200.0


HEADER = make_header(gpu="NVIDIA L4")


def parts(cell: Cell, header: Header = HEADER) -> dict[str, Seen]:
    cut = cut_trace(cell, header)
    every = [*cut.stages, *cut.steps, *((cut.a_step,) if cut.a_step else ())]
    return {part.name: part for part in every}


def test_each_stage_and_each_step_has_the_power_that_was_drawn_in_it_and_its_energy() -> None:
    cell = cell_of(gpu_trace(24.0, by_stage), sample(0.0), sample(12.0))
    found = parts(cell)
    assert {name: part.power_w for name, part in found.items() if "average" not in name} == {
        "text encoder": pytest.approx(50.0),
        "denoising": pytest.approx(115.0),
        "decoder": pytest.approx(200.0),
        **{f"step {k + 1}": pytest.approx(100.0 + 10 * k) for k in range(STEPS)},
    }
    assert found["step 3"].energy_j == pytest.approx(240.0)
    assert found["denoising"].energy_j == pytest.approx(115.0 * 8)
    a_step = found["a step, on average"]
    assert (a_step.seconds, a_step.energy_j) == (pytest.approx(2.0), pytest.approx(230.0))
    assert found["decoder"].calls == 2
    assert found["decoder"].readings == 120


def test_memory_is_the_peak_and_mean_of_the_stage_and_not_of_the_call() -> None:
    found = parts(cell_of(gpu_trace(12.0, by_stage), sample(0.0)))
    assert found["text encoder"].peak_memory_mib == pytest.approx(1000.975)
    assert found["text encoder"].mean_memory_mib == pytest.approx(1000.5)
    assert found["decoder"].peak_memory_mib == pytest.approx(1011.975)
    assert found["decoder"].memory_of == "GPU"


def test_an_energy_is_bounded_by_chance_and_by_the_sensor() -> None:
    steady = parts(cell_of(gpu_trace(12.0, lambda _: 100.0), sample(0.0)))["denoising"]
    assert steady.energy_error_j == pytest.approx(0.05 * 800)
    uneven = parts(cell_of(gpu_trace(12.0, by_stage), sample(0.0)))["denoising"]
    powers = [100.0, 110.0, 120.0, 130.0] * 40
    chance_w = 2 * stdev(powers) / math.sqrt(len(powers))
    assert uneven.energy_error_j == pytest.approx(8 * chance_w + 0.05 * 920)


def test_denoising_that_was_timed_in_part_names_its_steps_here_and_in_the_table() -> None:
    whole = cell_of(gpu_trace(12.0, by_stage), sample(0.0))
    rule = Extrapolation(measured_steps=STEPS, rule="the rest at the measured pace")
    part = whole.model_copy(update={"extrapolation": rule, "num_steps": 50})
    for cell, title in ((whole, "denoising"), (part, "denoising, 4 of 50 steps")):
        cut = cut_trace(cell, HEADER)
        assert [each.title for each in cut.stages] == ["text encoder", title, "decoder"]
        assert {row[0] for row in trace_table([], cut)[1]} >= {title, "a step, on average"}


def test_what_lies_between_the_stages_belongs_to_none() -> None:
    cell = cell_of(gpu_trace(14.0, by_stage), sample(0.0, other_s=0.5))
    spans, reason = stage_spans(cell)
    assert reason == ""
    assert [(span.name, span.start_s, span.end_s) for span in spans] == [
        ("text encoder", 0.0, 1.0),
        ("denoising", 1.5, 9.0),
        ("decoder", 9.5, 12.0),
    ]
    assert parts(cell)["denoising"].seconds == 8.0  # what was timed is what it took


def test_steps_shorter_than_two_looks_are_told_on_average_only() -> None:
    cell = cell_of(
        gpu_trace(12.0, lambda _: 100.0), *(sample(4.32 * k, step_s=0.08) for k in range(2))
    )
    cut = cut_trace(cell, HEADER)
    assert cut.steps == ()
    assert "a step takes 80 ms and the machine was looked at every 50 ms" in cut.no_steps
    assert cut.a_step is not None
    assert cut.a_step.energy_j == pytest.approx(8.0)
    assert cut.a_step.seconds == pytest.approx(0.08)


def test_steps_are_told_apart_whatever_few_readings_there_are_of_sustained_calls() -> None:
    call = gpu_trace(12.0, by_stage)
    later = gpu_trace(12_000.0, lambda _: 300.0, every_s=6.0)
    (gpu,), (gpu_later,) = call.gpus, later.gpus
    joined = {
        name: getattr(gpu, name) + getattr(gpu_later, name)
        for name in ("power_w", "memory_used_mib", "utilization_percent")
    }
    at_s = call.at_s + tuple(12.0 + at for at in later.at_s)
    trace = Trace(at_s=at_s, gpus=(gpu.model_copy(update=joined),))
    found = parts(cell_of(trace, sample(0.0)))
    assert found["step 3"].power_w == pytest.approx(120.0)
    assert found == parts(cell_of(call, sample(0.0)))


def test_a_stage_shorter_than_the_sensors_memory_tells_no_power_and_no_utilisation() -> None:
    """Memory is read as it is now; power of the last 0.1 s; utilisation of the last second."""
    many = [sample(4.2 * k, step_s=0.05) for k in range(5)]
    found = parts(cell_of(gpu_trace(21.0, by_stage, every_s=0.01), *many))
    step = found["step 1"]
    assert step.mean_memory_mib is not None
    assert step.power_w is None
    assert "lasted 0.05 s when read; the sensor tells of the last 0.1 s" in step.missing["energy_j"]
    stage = found["denoising"]
    assert stage.power_w is not None
    assert "the sensor tells of the last 1 s" in stage.missing["utilization_percent"]
    assert found["decoder"].utilization_percent == 90.0


def test_a_power_that_is_the_mean_of_a_second_is_of_no_stage_shorter_than_that() -> None:
    """Equal traces: where each reading is of its moment, the short stage has a power."""

    def decoder(power_method: str | None) -> Seen:
        card = HEADER.machine.gpus[0].model_copy(update={"power_method": power_method})
        machine = HEADER.machine.model_copy(update={"gpus": (card,)})
        short = sample(0.0).model_copy(update={"wall_s": 9.3})
        stages = short.stages.model_copy(update={"decoder_s": 0.3})
        cell = cell_of(gpu_trace(9.3, by_stage), short.model_copy(update={"stages": stages}))
        return parts(cell, HEADER.model_copy(update={"machine": machine}))["decoder"]

    for fresh in (None, "instant"):
        assert decoder(fresh).power_w == pytest.approx(200.0)
    mean = decoder("average")
    assert (mean.power_w, mean.energy_j) == (None, None)
    why = "it lasted 0.3 s when read; the sensor tells of the last 1 s"
    assert mean.missing["power_w"] == mean.missing["energy_j"] == why
    assert mean.peak_memory_mib is not None


def test_two_readings_are_no_mean() -> None:
    found = parts(cell_of(gpu_trace(12.0, by_stage, every_s=0.5), sample(0.0)))["text encoder"]
    assert (found.readings, found.power_w, found.peak_memory_mib) == (2, None, None)
    assert found.missing["power_w"] == "2 of 3 needed readings fell into it"


def test_a_gpu_that_tells_no_power_is_not_said_to_have_been_looked_at_too_seldom() -> None:
    trace = gpu_trace(12.0, by_stage, every_s=0.3)
    silent = trace.gpus[0].model_copy(update={"power_w": (), "utilization_percent": ()})
    told = parts(cell_of(trace.model_copy(update={"gpus": (silent,)}), sample(0.0)))
    for found in told.values():
        assert found.missing["power_w"] == found.missing["utilization_percent"] == UNTOLD
        assert found.mean_memory_mib is not None


def test_readings_that_could_not_be_taken_are_left_out_of_the_mean() -> None:
    trace = gpu_trace(12.0, lambda _: 100.0)
    power_w = tuple(None if at < 4 else 100.0 for at in trace.at_s)
    gpu = trace.gpus[0].model_copy(update={"power_w": power_w})
    found = parts(cell_of(trace.model_copy(update={"gpus": (gpu,)}), sample(0.0)))
    assert found["denoising"].power_w == pytest.approx(100.0)
    assert found["text encoder"].power_w is None
    assert found["text encoder"].mean_memory_mib is not None


def test_only_the_calls_of_the_last_visit_lie_in_the_trace() -> None:
    visits = (
        Visit(started_utc="2026-01-02T03:04:05Z", calls=1),
        Visit(started_utc="2026-01-02T03:05:05Z", calls=1),
    )
    late = cell_of(gpu_trace(12.0, by_stage), sample(0.0), sample(0.0), visits=visits)
    assert parts(late)["decoder"].calls == 1


def test_seconds_are_the_median_of_all_calls_and_readings_of_the_last_visit_say_so() -> None:
    """Two calls of two visits took 2 s a step, the one of the last 6 s: 2 s is what tables show."""
    visits = tuple(
        Visit(started_utc=f"2026-01-02T03:0{minute}:05Z", calls=1) for minute in range(3)
    )
    slow = sample(0.0, step_s=3 * STEP_S)
    cell = cell_of(gpu_trace(28.0, lambda _: 100.0), sample(0.0), sample(0.0), slow, visits=visits)
    found, cut = parts(cell), cut_trace(cell, HEADER)
    assert found["denoising"].seconds == STEPS * STEP_S
    assert found["a step, on average"].seconds == found["step 2"].seconds == STEP_S
    assert found["step 2"].energy_j == pytest.approx(600.0), "of the calls that were read"
    assert cut.readings_of == "the last of 3 visits, 1 of 3 calls"
    assert cut_trace(cell_of(cell.trace, slow, visits=visits[:1]), HEADER).readings_of == ""


def test_a_processor_has_its_own_load_and_memory_and_says_why_it_has_no_energy() -> None:
    trace = make_trace(seconds=12)
    found = parts(cell_of(trace, sample(0.0)), make_header())["decoder"]
    assert found.memory_of == "process"
    assert found.peak_memory_mib is not None
    assert found.utilization_percent is not None
    assert (found.energy_j, found.missing["energy_j"]) == (None, NO_GPU_POWER)


def test_a_stage_on_a_processor_without_a_counter_gives_the_cells_own_reason() -> None:
    why = "only root may read the processor's energy counter"
    cell = cell_of(make_trace(seconds=12), sample(0.0), missing={"energy": why})
    found = parts(cell, make_header())
    assert {part.missing["energy_j"] for part in found.values()} == {why}
    energy = Energy(total_j=240.0, window_s=12.0, method="rapl")
    counted = parts(cell.model_copy(update={"energy": energy}), make_header())
    assert counted["decoder"].missing["energy_j"] == NO_GPU_POWER


def test_a_step_without_a_power_of_its_own_is_given_that_of_all_calls_and_says_so() -> None:
    energy = Energy(total_j=240.0, window_s=12.0, method="rapl", uncertainty_j=12.0)
    cell = cell_of(make_trace(seconds=12), sample(0.0), energy=energy)
    a_step = cut_trace(cell, make_header()).a_step
    assert a_step is not None
    assert a_step.name == "a step, on average, at the power of all calls"
    assert (a_step.power_w, a_step.energy_j) == (20.0, pytest.approx(40.0))
    assert a_step.energy_error_j == pytest.approx(2.0)
    assert "energy_j" not in a_step.missing
    on_gpu = cut_trace(cell_of(gpu_trace(12.0, by_stage), sample(0.0), energy=energy), HEADER)
    assert on_gpu.a_step is not None
    assert on_gpu.a_step.energy_j == pytest.approx(230.0), "the stage's own power comes first"


def test_the_gpu_is_the_one_the_cell_ran_on() -> None:
    first, second = GpuTrace(index=0, name="A"), GpuTrace(index=1, name="B")
    cell = cell_of(Trace(at_s=(0.0,), gpus=(second, first)))
    assert gpu_of(cell, HEADER) == first
    assert gpu_of(cell, make_header()) is None
    # torch's cuda:0 may be the driver's second card
    both = tuple(GpuCard(index=index, name="A") for index in (0, 1))
    machine = HEADER.machine.model_copy(update={"gpus": both})
    header = HEADER.model_copy(update={"machine": machine})
    assert gpu_of(cell.model_copy(update={"gpu_index": 1}), header) == second
    assert gpu_of(cell_of(Trace(at_s=(0.0,), gpus=(second,))), HEADER) == second


SPOKEN = VoiceStages(
    text_s=0.1, voice_encoder_s=0.1, prior_s=0.1, denoising_s=0.1, vocoder_s=0.1, other_s=0.0
)


@pytest.mark.parametrize(
    ("cell", "reason"),
    [
        (make_cell(), "no readings of this cell"),
        (make_cell(trace=make_trace()), NO_STARTS),
        (
            cell_of(make_trace(), Sample(wall_s=0.5, stages=SPOKEN, step_s=(0.1,), start_s=0.0)),
            SPEECH,
        ),
    ],
    ids=["no trace", "an old report", "speech"],
)
def test_a_cell_that_cannot_be_cut_says_why(cell: Cell, reason: str) -> None:
    cut = cut_trace(cell, make_header())
    assert cut.stages == ()
    assert reason in cut.reason


def test_no_reading_counts_twice_where_a_file_says_that_calls_lie_on_each_other() -> None:
    """A thousand calls over a hundred thousand readings were more than memory holds."""
    trace = gpu_trace(12.0, by_stage)
    alone, crowd = cell_of(trace, sample(0.0)), cell_of(trace, *[sample(0.0)] * 50)
    for name, part in parts(crowd).items():
        assert part.readings == parts(alone)[name].readings


def test_a_step_does_not_begin_before_the_one_that_it_follows_has_ended() -> None:
    """What lay between the stages may be less than nothing, by rounding or by somebody's hand."""
    trace = gpu_trace(12.0, by_stage)
    odd, usual = cell_of(trace, sample(0.0, other_s=-5.0)), cell_of(trace, sample(0.0))
    assert parts(odd)["step 4"].readings == parts(usual)["step 4"].readings
