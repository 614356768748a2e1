"""The quality of speech in a sweep: the bundled model, measured after what is timed."""

from __future__ import annotations

import csv
import io
import json
import sys
from typing import Any

import numpy as np
import pytest
import torch

from diffusion_bench.audio.speech_measures import judge_speech
from diffusion_bench.backends.device import CACHE_VARIABLE
from diffusion_bench.backends.voice import quality
from diffusion_bench.backends.voice.measuring import measure_candidate
from diffusion_bench.backends.voice.quality import NO_RECORDING, measure_voice_quality
from diffusion_bench.backends.voice.synthesis import VoiceBackend
from diffusion_bench.backends.voice.voices import find_voice
from diffusion_bench.bench.estimate import TimedRequest, judging_s
from diffusion_bench.bench.measure import Effort
from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.sweep import parse_sweep, sweep_of
from diffusion_bench.bench.worker import Worker
from diffusion_bench.bench.worker_messages import Command
from diffusion_bench.charts.quality import quality_figure, quality_numbers, quality_table
from diffusion_bench.records import (
    QualityPlan,
    Share,
    Speech,
    VoiceQuality,
    VoiceQualityPlan,
    VoiceRequest,
)
from diffusion_bench.reports.doctor import examine_report
from diffusion_bench.reports.export import to_csv
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import Report
from diffusion_bench.ui.plans import read_plan

pytestmark = pytest.mark.usefixtures("warm_workers", "short_rests")

TEXT = "The river was quiet that morning."
REQUEST = VoiceRequest(text=TEXT, steps=2, seed=5)
PLAN = VoiceQualityPlan(candidates=3, batch=2, against_steps=12)
SWEEP = f"""name = "v"
repeats = 2
rounds = 2
[voice_axes]
sampler = ["ddim", "ddpm"]
steps = [2, 6]
text = ["{TEXT}"]
temperature = [1.0]
[voice_quality]
candidates = 3
against_steps = 12
"""


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report of a real sweep of the bundled model, by a real worker process."""
    if sys.platform == "win32":
        pytest.skip("workers of tests are POSIX processes")
    folder = tmp_path_factory.mktemp("judged")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        for _ in run_sweep(parse_sweep(SWEEP), folder / "report.jsonl", device="cpu"):
            pass
    return read_report(folder / "report.jsonl")


@pytest.fixture(scope="module")
def echo() -> VoiceBackend:
    return VoiceBackend.load("echo", device="cpu")


def found_of(report: Report, sampler: str, steps: int) -> VoiceQuality:
    (found,) = (
        cell.quality
        for cell in report.cells
        if (cell.request.sampler, cell.request.steps) == (sampler, steps)
    )
    assert isinstance(found, VoiceQuality)
    return found


def test_every_cell_has_what_is_heard_in_it_and_its_samples_are_as_without(report: Report) -> None:
    assert report.header.plan.quality == VoiceQualityPlan(candidates=3, against_steps=12)
    for cell in report.cells:
        assert (cell.status, len(cell.samples), len(cell.visits)) == ("ok", 2, 2)
        assert all(len(sample.step_s) == cell.request.steps for sample in cell.samples)
        found = found_of(report, cell.request.sampler, cell.request.steps)
        assert found.timbre_similarity is not None
        assert found.timbre_similarity.value > 0.8  # two speakers: half of the pairs are below 0
        assert found.pitch_error_semitones is not None
        assert found.pitch_error_semitones.value < 0.7
        assert found.unwarned is not None
        assert found.unwarned.n == 3


def test_more_steps_of_ddim_are_nearer_to_the_most_and_ddpm_has_no_parallel(report: Report) -> None:
    two, six = (found_of(report, "ddim", steps).mel_distance_db for steps in (2, 6))
    assert two is not None
    assert six is not None
    apart = found_of(report, "ddim", 6).seeds_apart_db
    assert apart is not None
    assert 0 < six.value < two.value / 1.5
    assert six.value < apart.value / 2
    ddpm = found_of(report, "ddpm", 6)
    assert ddpm.mel_distance_db is ddpm.seeds_apart_db is None
    assert "draws noise at each step" in ddpm.missing["mel_distance_db"]


def test_it_is_in_every_table_export_and_chart_and_the_doctor_has_nothing_against_it(
    report: Report,
) -> None:
    row = next(csv.DictReader(io.StringIO(to_csv([report]))))
    assert float(row["quality_timbre_similarity"]) > 0.8
    assert (row["quality_candidates"], row["quality_against_steps"]) == ("3", "12")
    assert "timbre similarity 0." in to_markdown([report])
    numbers = quality_numbers([report])
    points = {(line.sampler, point.steps) for line in numbers for point in line.points}
    assert points == {(sampler, steps) for sampler in ("ddim", "ddpm") for steps in (2, 6)}
    figure = quality_figure(numbers)
    assert "timbre similarity" in figure.layout.yaxis.title.text
    assert figure.layout.xaxis.title.text == "seconds a candidate"
    assert quality_table(numbers)[0][2] == "seconds a candidate"
    assert any(point.on_front for line in numbers for point in line.points)
    told = [found for found in examine_report(report) if found.level in ("problem", "note")]
    assert [found for found in told if "quality" in found.title] == []


def test_a_report_of_it_is_gone_on_with_as_it_began(report: Report) -> None:
    assert sweep_of(report.header.plan) == parse_sweep(SWEEP)
    bare = parse_sweep(SWEEP.partition("[voice_quality]")[0])
    assert bare.requests() == report.header.plan.cells  # judged or not, it is the same work


def test_the_figures_are_the_means_of_the_candidates_spoken_one_by_one(echo: VoiceBackend) -> None:
    voice = find_voice("ada", "echo")
    found = measure_voice_quality(echo, REQUEST, voice, PLAN)
    alone = [
        echo.generate(REQUEST.model_copy(update={"seed": seed}), voice).candidate(0)
        for seed in range(3)  # whatever the seed of the cell
    ]
    each = [judge_speech(one, 16_000, TEXT, reference=voice) for one in alone]
    similar = np.mean([one.timbre_similarity for one in each])
    off = np.mean([abs(one.pitch_semitones) for one in each])
    assert found.timbre_similarity is not None
    assert found.pitch_error_semitones is not None
    assert found.timbre_similarity.value == pytest.approx(similar, abs=1e-4)
    assert found.pitch_error_semitones.value == pytest.approx(off, abs=1e-3)
    assert (found.timbre_similarity.n, found.missing) == (3, {})


def test_a_pitch_that_is_off_to_either_side_is_off(
    echo: VoiceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    pitches = iter([-1.0, 1.0, 0.5])

    def off(*given: Any) -> Any:
        measured = measure_candidate(*given)
        return measured and measured.model_copy(update={"pitch_semitones": next(pitches)})

    monkeypatch.setattr(quality, "measure_candidate", off)
    found = measure_voice_quality(
        echo, REQUEST, find_voice("ada", "echo"), VoiceQualityPlan(candidates=3)
    )
    assert found.pitch_error_semitones is not None
    assert found.pitch_error_semitones.value == pytest.approx(2.5 / 3)


@pytest.mark.parametrize("count", [2, 3, 8])
def test_an_interval_of_few_candidates_holds_the_mean_as_often_as_it_says(count: int) -> None:
    chance = np.random.default_rng(count)
    found = [quality._mean(chance.normal(5.0, 0.5, count).tolist()) for _ in range(400)]
    held = [one is not None and one.low <= 5.0 <= one.high for one in found]
    assert 0.92 < np.mean(held) < 0.98
    assert quality._mean([5.0]) is None


def test_an_interval_has_no_values_that_its_figure_cannot_have() -> None:
    near, alike = quality._mean([0.1, 0.4]), quality._mean([0.9, 0.99], -1.0, 1.0)
    assert near is not None
    assert (near.low, near.high > 1) == (0.0, True)
    assert alike is not None
    assert (alike.high, alike.low < 0.9) == (1.0, True)


def test_a_candidate_that_stops_early_is_none_without_a_warning(
    echo: VoiceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = echo.generate

    def second_stops(request: VoiceRequest, voice: Any) -> Speech:
        speech = generate(request, voice)
        stops = request.seed + np.arange(request.batch) == 1
        lengths = np.where(stops, np.array(speech.lengths) // 2, speech.lengths)
        return speech.model_copy(update={"lengths": tuple(lengths.tolist())})

    monkeypatch.setattr(echo, "generate", second_stops)
    plan = VoiceQualityPlan(candidates=3, batch=2)
    found = measure_voice_quality(echo, REQUEST, find_voice("ada", "echo"), plan)
    assert found.unwarned == Share(right=2, n=3)


def test_a_voice_without_its_recording_has_no_figure_against_it_but_one_from_more_steps(
    echo: VoiceBackend,
) -> None:
    state = echo.encode(find_voice("ada", "echo"))
    found = measure_voice_quality(echo, REQUEST, state, PLAN)
    assert found.timbre_similarity is found.pitch_error_semitones is None
    assert found.missing["timbre_similarity"] == NO_RECORDING
    assert found.mel_distance_db is not None


def test_speech_of_other_lengths_has_no_distance_and_keeps_its_other_figures(
    echo: VoiceBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    generate = echo.generate

    def shorter(request: VoiceRequest, voice: Any) -> Speech:
        speech = generate(request, voice)
        cut = 256 if request.steps == PLAN.against_steps else 0
        return speech.model_copy(update={"lengths": tuple(n - cut for n in speech.lengths)})

    monkeypatch.setattr(echo, "generate", shorter)
    found = measure_voice_quality(echo, REQUEST, find_voice("ada", "echo"), PLAN)
    assert "no frame has its counterpart" in found.missing["mel_distance_db"]
    assert found.timbre_similarity is not None


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"sampler": "ddim", "eta": 1.0}, "draws noise"),
        ({"sampler": "ddpm"}, "draws noise"),
        ({"sampler": "native"}, "draws noise"),
        ({"steps": 12}, "it has 12 steps itself"),
        ({"sampler": "unipc"}, ""),
    ],
)
def test_only_a_sampler_that_draws_no_noise_has_a_parallel_in_more_steps(
    changes: dict[str, Any], why: str
) -> None:
    request = VoiceRequest.model_validate(REQUEST.model_dump() | changes)
    told = PLAN.why_no_parallel(request)
    assert why in told
    assert bool(told) == bool(why)
    assert "against_steps" in VoiceQualityPlan().why_no_parallel(REQUEST)


def test_it_begins_when_the_measurement_has_been_told_and_only_in_the_last_round(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    said: list[Any] = []
    monkeypatch.setattr("diffusion_bench.bench.worker._send", lambda _, event: said.append(event))
    worker = Worker("cpu", sys.stdout)
    first = Effort(warmups=1, repeats=2, calls=1)
    plan = VoiceQualityPlan(candidates=2, batch=1)
    worker.obey(Command(request=REQUEST, effort=first, quality=plan))
    assert [type(event).__name__ for event in said] == ["Loaded", "Alive", "Repeated", "Measured"]
    del said[:]
    last = first.model_copy(update={"done_s": (0.1,), "warmups": 0})
    worker.obey(Command(request=REQUEST, effort=last, quality=plan))
    kinds = [type(event).__name__ for event in said]
    assert kinds == ["Repeated", "Measured", "Repeated", "Repeated", "Judged"]
    assert said[-1].quality.candidates == 2
    # A voice that has gone meanwhile is a reason; the measurement has been told.
    gone = REQUEST.model_copy(update={"voice": "nobody"})
    judged = worker._judge(Command(request=gone, effort=last, quality=plan), 1)
    assert judged.quality is None
    assert "unknown voice 'nobody'" in judged.reason


def test_the_time_it_takes_is_that_of_its_candidates_and_of_those_in_more_steps() -> None:
    known = [TimedRequest(REQUEST, 1.0)]
    twos = 3 / 2 * 2.0  # calls of two candidates each; those in more steps have six times as many
    alone = PLAN.model_copy(update={"against_steps": None})
    assert judging_s([REQUEST], alone, known) == pytest.approx(twos, rel=0.01)
    assert judging_s([REQUEST], PLAN, known) == pytest.approx(7 * twos, rel=0.01)


@pytest.mark.parametrize(
    ("spoilt", "message"),
    [
        (SWEEP.replace("candidates = 3", "candidates = 1"), r"voice_quality\.candidates"),
        (SWEEP.replace("candidates = 3", "pictures = 3"), "pictures is no setting"),
        (SWEEP.replace("[voice_quality]", "[quality]"), "candidates is no setting"),
        (SWEEP.partition("[voice_quality]")[0] + "[quality]\n", r"its table is \[voice_quality\]"),
        ('name = "a"\n[voice_quality]\n', r"its table is \[quality\]"),
    ],
)
def test_a_table_that_is_not_of_the_sweeps_kind_is_told_in_one_line(
    spoilt: str, message: str
) -> None:
    with pytest.raises(ValueError, match=message) as refused:
        parse_sweep(spoilt)
    assert "\n" not in str(refused.value)


def test_visitors_of_a_shared_app_have_no_speech_judged() -> None:
    with pytest.raises(ValueError, match="shared: a sweep may not say something to judge"):
        read_plan(SWEEP, shared=True)


def test_a_plan_of_pictures_and_one_of_speech_are_told_apart_in_json() -> None:
    command = Command(request=REQUEST, effort=Effort(warmups=1, repeats=1))
    for plan in (QualityPlan(), VoiceQualityPlan()):
        line = command.model_copy(update={"quality": plan}).model_dump_json()
        assert Command.model_validate_json(line).quality == plan
        assert type(Command.model_validate(json.loads(line)).quality) is type(plan)


def test_measuring_leaves_torch_as_it_was(echo: VoiceBackend) -> None:
    before = torch.get_rng_state()
    measure_voice_quality(echo, REQUEST, find_voice("ada", "echo"), PLAN)
    assert torch.equal(before, torch.get_rng_state())
