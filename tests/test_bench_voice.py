"""Speech in sweeps and reports: the same plan, worker, report and charts as pictures."""

from __future__ import annotations

import csv
import io
import json
import sys
from pathlib import Path

import pytest
from tiny_echo import save_tiny_echo

from diffusion_bench.backends.device import CACHE_VARIABLE
from diffusion_bench.bench.axes import Axes, SpeedAxes, VoiceAxes
from diffusion_bench.bench.limit import run_limit
from diffusion_bench.bench.measure import cut
from diffusion_bench.bench.runner import run_sweep
from diffusion_bench.bench.sweep import parse_sweep, read_sweep, sweep_of
from diffusion_bench.charts.page import to_html
from diffusion_bench.charts.real_time import real_time_figure, real_time_numbers, real_time_table
from diffusion_bench.records import ImageRequest, Speed, VoiceRequest
from diffusion_bench.reports.compare import compare
from diffusion_bench.reports.doctor import examine_report
from diffusion_bench.reports.export import to_csv
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.stats import summarise

pytestmark = pytest.mark.usefixtures("warm_workers", "short_rests")

ROOT = Path(__file__).parents[1]
TEXTS = ("The river was quiet.", "Nobody knew why the old clock had stopped.")


def voice_sweep(model: str = "echo", **axes: object):
    lines = {"sampler": ["ddim", "ddpm"], "steps": [2, 4], "text": list(TEXTS), **axes}
    body = "\n".join(f"{key} = {json.dumps(value)}" for key, value in lines.items())
    return parse_sweep(f'name = "v"\nrepeats = 5\n[voice_axes]\nmodel = ["{model}"]\n{body}')


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    """Return the report of a real sweep of a tiny model, by a real worker process."""
    if sys.platform != "linux":
        pytest.skip("the tiny model's folder is a POSIX path in TOML")
    folder = tmp_path_factory.mktemp("voice")
    model = save_tiny_echo(folder / "echo")
    path = folder / "report.jsonl"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))  # a lock of its own
        patch.setenv("OMP_NUM_THREADS", "1")
        for _ in run_sweep(voice_sweep(str(model)), path):
            pass
    return read_report(path)


def test_the_sweep_in_the_repository_is_of_speech_and_alternates_the_samplers():
    cells = read_sweep(ROOT / "benchmarks" / "voice_ddpm_vs_ddim.toml").requests()
    assert all(isinstance(cell, VoiceRequest) for cell in cells)
    assert [cell.sampler for cell in cells[:4]] == ["ddim", "ddpm", "ddim", "ddpm"]
    assert {cell.batch for cell in cells} == {1, 4}
    assert len({cell.text for cell in cells}) == 2


def test_every_axis_of_speech_is_a_field_of_a_request_and_has_a_place_in_the_order():
    for axes, request in ((VoiceAxes, VoiceRequest), (Axes, ImageRequest)):
        # Each option of a speed is an axis that sets it in the speeds, which have their place.
        options = set(SpeedAxes.model_fields) if axes is Axes else set()
        assert options <= set(Speed.model_fields)
        assert set(axes.ORDER) == set(axes.model_fields) - options
        assert set(axes.ORDER) - {"resolution"} <= set(request.model_fields)


def test_a_bad_value_of_an_axis_is_told_in_one_line():
    with pytest.raises(ValueError, match="no word to say") as caught:
        voice_sweep(text=["..."])
    assert "\n" not in str(caught.value)
    with pytest.raises(ValueError, match=r"voice_axes\.sampler"):
        voice_sweep(sampler=["euler"])


def test_eta_is_for_ddim_only():
    cells = voice_sweep(eta=[0.0, 0.5], text=["Hi there."], steps=[2]).requests()
    assert [(cell.sampler, cell.eta) for cell in cells] == [
        ("ddim", 0.0),
        ("ddpm", 0.0),
        ("ddim", 0.5),
    ]


def test_speech_is_never_cut_short():
    assert cut(VoiceRequest(text="Hi.", steps=1000), 20) is None


def test_a_limit_is_not_looked_for_in_speech(tmp_path):
    with pytest.raises(ValueError, match="sweeps of pictures, not of speech"):
        list(run_limit(voice_sweep(), "batch", tmp_path / "limit.jsonl"))


def test_a_plan_of_speech_can_be_resumed_from_its_report(report):
    sweep = sweep_of(report.header.plan)
    assert sweep.requests() == report.header.plan.cells
    assert sweep.voice_axes is not None
    assert sweep.voice_axes.text == TEXTS


def test_every_cell_of_speech_is_measured_with_its_stages_and_seconds_of_sound(report):
    assert [cell.status for cell in report.cells] == ["ok"] * 8
    for cell in report.cells:
        for sample in cell.samples:
            assert len(sample.step_s) == cell.request.steps
            assert sample.audio_s > 0
            assert 0 < sample.first_audio_s <= sample.wall_s
            stages = sum(seconds for _, seconds in sample.stages)
            assert stages == pytest.approx(sample.wall_s, rel=0.02, abs=2e-3)
            assert sample.stages.voice_encoder_s > 0


def test_the_real_time_factor_is_work_over_sound(report):
    for cell in report.cells:
        found = summarise(cell)
        assert found.images_per_s is None
        assert found.real_time_factor == pytest.approx(found.median_s / found.audio_s)
        assert found.audio_s == pytest.approx(cell.samples[0].audio_s)


def test_the_first_cell_tells_what_loading_costs(report):
    first = min(report.cells, key=lambda cell: cell.order)
    assert first.load_s > 0
    assert first.first_call_s > 0
    revision = report.header.plan.models[0].revision
    assert revision.startswith("sha256:")


def test_the_doctor_finds_nothing_implausible(report):
    assert [f.title for f in examine_report(report) if f.level == "problem"] == []


def test_a_report_of_speech_is_exported_with_its_own_columns(report):
    rows = list(csv.DictReader(io.StringIO(to_csv([report]))))
    assert len(rows) == 8
    assert {row["resolution"] for row in rows} == {"4 words", "8 words"}
    assert all(float(row["real_time_factor"]) > 0 for row in rows)
    assert all(row["images_per_s"] == "" for row in rows)
    assert all(float(row["vocoder_s"]) > 0 for row in rows)
    markdown = to_markdown([report])
    assert "real-time factor" in markdown
    assert "images/s" not in markdown


def test_two_reports_of_speech_are_compared_cell_by_cell(report):
    rows = compare([report, report])
    assert len(rows) == 8
    assert {row.verdict for row in rows} <= {"same", "cannot tell"}


def test_the_chart_of_real_time_factors_has_every_cell_and_a_table(report):
    numbers = real_time_numbers([report])
    assert len(numbers) == 4  # two samplers, two texts
    assert [point.steps for point in numbers[0].points] == [2, 4]
    figure = real_time_figure(numbers)
    assert len([trace for trace in figure.data if trace.x is not None and len(trace.x) == 2]) == 4
    assert "real-time factor" in figure.layout.yaxis.title.text
    header, rows = real_time_table(numbers)
    assert len(rows) == 8
    assert len(header) == len(rows[0])


def test_a_page_of_speech_has_its_chart_and_one_of_pictures_has_not(report):
    page = to_html([report])
    assert "Real-time factor" in page
    assert "Throughput" not in page


def test_pictures_have_no_chart_of_real_time_factors():
    old = read_report(ROOT / "tests" / "data" / "report_format_1.jsonl")
    assert real_time_numbers([old]) == []
    assert "Throughput" in to_html([old])
