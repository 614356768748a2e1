from __future__ import annotations

import json
from contextlib import closing
from types import SimpleNamespace

import pytest
from fakes import make_cell, make_report
from huggingface_hub import constants
from tiny_echo import save_tiny_echo

from diffusion_bench.backends.engine import Engine
from diffusion_bench.bench.cell_run import FORGOTTEN_S
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.hardware.machine import MachineInfo
from diffusion_bench.hardware.sensors import GpuInfo
from diffusion_bench.hardware.state import IDLE_S
from diffusion_bench.records import BUNDLED_MODEL
from diffusion_bench.reports.schema import Extrapolation
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.plans import (
    SMALLEST_SWEEP,
    Planning,
    duration_s,
    known_times,
    read_plan,
    sweep_files,
    sweep_text,
)
from diffusion_bench.ui.report_files import ReportFolder

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
HERE = MachineInfo(os="Linux", architecture="x86_64", cpu="Test CPU", cores_logical=4, ram_mib=1e4)


def test_every_sweep_that_comes_with_the_project_can_be_chosen():
    assert next(iter(sweep_files())) == "quick.toml"
    for name in sweep_files():
        assert read_plan(sweep_text(name), shared=False).requests()


def test_a_guest_may_run_the_quick_sweep_and_none_that_keeps_the_machine_for_hours():
    assert read_plan(sweep_text("quick.toml"), shared=True).requests()
    with pytest.raises(ValueError, match="steps 1000 is too much for a shared app"):
        read_plan(sweep_text("ddpm_vs_ddim.toml"), shared=True)
    with pytest.raises(ValueError, match="may not sustain its cells"):
        read_plan('name = "x"\nsustain_s = 9\n[axes]\nsteps = [2]', shared=True)
    with pytest.raises(ValueError, match=r"240 calls at most.*2000 \(2 cells, 999 repeats"):
        read_plan('name = "x"\nrepeats = 999\n[axes]\nsteps = [2]', shared=True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("time_limit_s = 86400\n[axes]\nsteps = [2]", r"1800 s at most \(time_limit_s\)"),
        ("[axes]\npacked = [true]", "speeds of its list only: plain, auto"),
        ("[axes]\nsteps = [2]\n" + "#" * 20_000, "a sweep has 20000 characters at most"),
        (f"[axes]\nseed = {list(range(501))}", "has more than 1000 cells"),
        ("[axes]\nspeed = ['plain', 'bf16']", "speeds of its list only: plain, auto"),
        ("[axes]\nresolution = [1024]\nsteps = [250]\nbatch = [4]", "is 3.0 times that"),
    ],
)
def test_a_guests_sweep_keeps_its_time_guard_its_speeds_and_its_share_of_work(text, said):
    assert read_plan(f'name = "x"\n{text}', shared=False)
    with pytest.raises(ValueError, match=said):
        read_plan(f'name = "x"\n{text}', shared=True)


def test_the_work_of_a_guests_sweep_is_that_of_the_steps_that_are_run():
    text = 'name = "x"\nmeasured_steps = 20\n[axes]\nresolution = [1024]\nsteps = [250]'

    assert read_plan(text, shared=True)
    with pytest.raises(ValueError, match="as 8 pictures of 1048576 pixels in 250 steps, and this"):
        read_plan(text.replace("20", "250") + "\nbatch = [4]", shared=True)


def test_a_name_that_is_not_offered_reads_no_file():
    with pytest.raises(ValueError, match="no sweep"):
        sweep_text("../pyproject.toml")


def test_a_sweep_of_an_unknown_model_is_refused_before_it_runs():
    text = SMALLEST_SWEEP + 'model = ["nowhere"]\n'

    with pytest.raises(ValueError, match="unknown model 'nowhere'"):
        read_plan(text, shared=False)


def test_visitors_cannot_sweep_a_model_of_their_own():
    text = SMALLEST_SWEEP + 'model = ["somebody/something"]\n'

    assert read_plan(text, shared=False)
    with pytest.raises(ValueError, match="models of its list only"):
        read_plan(text, shared=True)


def test_only_this_machines_times_and_one_kind_of_device_are_used():
    gpu = GpuInfo(index=0, name="RTX")
    newest = make_report(make_cell(wall_s=[1.0]))
    elsewhere = make_report(make_cell(wall_s=[9.0]), cpu="Another CPU")
    on_gpu = make_report(make_cell(wall_s=[0.1]), gpu="RTX")

    assert [t.wall_s for t in known_times([newest, elsewhere, on_gpu], HERE)] == [1.0]
    with_gpu = HERE.model_copy(update={"gpus": (gpu,)})
    assert [t.wall_s for t in known_times([newest, on_gpu], with_gpu)] == [0.1]
    plan = on_gpu.header.plan.model_copy(update={"device": "cpu"})
    header = on_gpu.header.model_copy(update={"plan": plan})
    its_cpu = make_report(make_cell(wall_s=[5.0])).model_copy(update={"header": header})
    assert [t.wall_s for t in known_times([its_cpu, on_gpu], with_gpu)] == [5.0]


def test_the_duration_counts_repeats_and_warmups():
    sweep = parse_sweep('name = "x"\nrepeats = 4\nwarmups = 2\n[axes]\nsampler=["ddim"]\nsteps=[6]')
    timed = known_times([make_report(make_cell(wall_s=[6.0], steps=6))], HERE)

    # 4 repeats of 6 s, 2 warm-ups of 3 of the 6 steps, and a look at the quiet machine
    assert duration_s(sweep, timed, on_gpu=False) == pytest.approx(4 * 6 + 2 * 3 + IDLE_S)
    two = sweep.model_copy(update={"axes": sweep.axes.model_copy(update={"steps": (6, 7)})})
    on = two.model_copy(update={"sustain_s": 60.0})
    apart_s = duration_s(on, timed, on_gpu=False) - duration_s(two, timed, on_gpu=False)
    assert apart_s == pytest.approx(2 * 60), "each of its cells is sustained"
    assert duration_s(sweep, [], on_gpu=False) is None


def test_each_round_of_a_cell_has_its_warmups_and_rests_and_longer_ones_on_a_card() -> None:
    text = 'name = "x"\nrepeats = 4\nwarmups = 2\nrounds = 3\n[axes]\nsampler=["ddim"]\nsteps=[6]'
    sweep = parse_sweep(text)
    on_gpu = make_report(make_cell(wall_s=[6.0], steps=6), gpu="RTX")
    there = HERE.model_copy(update={"gpus": (GpuInfo(index=0, name="RTX"),)})
    timed = known_times([on_gpu], there)

    calls_s = 4 * 6 + 3 * 2 * 3
    assert duration_s(sweep, timed, on_gpu=False) == pytest.approx(calls_s + 3 * IDLE_S)
    on_card_s = calls_s + 3 * (IDLE_S + FORGOTTEN_S)
    assert duration_s(sweep, timed, on_gpu=True) == pytest.approx(on_card_s)
    # Nobody visits a cell more often than it has calls.
    many = sweep.model_copy(update={"rounds": 100})
    most_s = 4 * (6 + 2 * 3 + IDLE_S)
    assert duration_s(many, timed, on_gpu=False) == pytest.approx(most_s)


def test_a_plan_on_a_card_tells_the_rests_of_the_card() -> None:
    reports = SimpleNamespace(measured_with=lambda cpu: [make_report(make_cell(wall_s=[1.0]))])
    text = 'name = "x"\nrepeats = 100\nrounds = 100\n[axes]\nsampler = ["ddim"]\nsteps = [20]'
    told = {
        device: Planning(
            SimpleNamespace(device=device), None, reports, lambda: HERE, shared=False
        ).describe(text)
        for device in ("cpu", "cuda:0")
    }
    assert "about 2 min 45 s," in told["cpu"], told
    assert "about 4 min 45 s," in told["cuda:0"], told


def test_a_guests_warmups_count_in_every_round() -> None:
    text = 'name = "x"\nrepeats = 90\nwarmups = 2\nrounds = 90\n[axes]\nsampler=["ddim"]\nsteps=[2]'
    assert read_plan(text.replace("rounds = 90", "rounds = 1"), shared=True)
    with pytest.raises(ValueError, match=r"this one makes 270 \(1 cells, 90 repeats, 180 warm-ups"):
        read_plan(text, shared=True)


def test_the_duration_is_of_the_steps_that_are_run_and_of_what_is_sustained():
    long = parse_sweep(
        'name = "x"\nrepeats = 4\nmeasured_steps = 6\nsustain_s = 60\n'
        '[axes]\nsampler = ["ddim"]\nsteps = [1000]'
    )
    # A report whose cell of 1000 steps was timed on six of them: a second a step.
    extrapolation = Extrapolation(measured_steps=6, rule="the others at their pace")
    cell = make_cell(wall_s=[6.0], step_s=[1.0] * 6, steps=1000)
    cell = cell.model_copy(update={"extrapolation": extrapolation})

    timed = known_times([make_report(cell)], HERE)
    assert duration_s(long, timed, on_gpu=False) == pytest.approx(4 * 6 + 3 + IDLE_S + 60)


def test_a_probe_finds_how_long_without_a_report(tmp_path):
    with closing(Jobs()) as jobs:
        planning = Planning(Engine("cpu"), jobs, ReportFolder(tmp_path), lambda: HERE, shared=False)
        assert "press Estimate" in planning.describe(SMALLEST_SWEEP)
        last = [line for line in planning.probe(SMALLEST_SWEEP) if line][-1]

    assert last.startswith("4 cells, 3 repeats each: about ")
    assert "a probe of a few steps" in last


def spoken(model="echo", **axes):
    """Return the text of a small sweep of speech; names are axes."""
    lines = {"text": ["Good morning."], "steps": [2, 3], "model": [str(model)], **axes}
    body = "\n".join(f"{name} = {json.dumps(values)}" for name, values in lines.items())
    return f'name = "speech"\nrepeats = 2\n[voice_axes]\nsampler = ["ddim"]\n{body}\n'


def test_the_sweep_of_speech_can_be_chosen_and_says_what_it_will_do(tmp_path):
    with closing(Jobs()) as jobs:
        planning = Planning(Engine("cpu"), jobs, ReportFolder(tmp_path), lambda: HERE, shared=False)
        said = planning.describe(sweep_text("voice_ddpm_vs_ddim.toml"))

    assert said.startswith("40 cells, 6 repeats or more each")


def test_visitors_sweep_no_speech_of_another_model_voice_or_size(tmp_path):
    assert read_plan(spoken(), shared=True).requests()
    for changed, said in (
        ({"model": str(tmp_path)}, "voice models of its list only"),
        ({"voice": ["eve"]}, "sample voices only"),
        ({"voice": ["reference:0123456789abcdef"]}, "sample voices only"),
        ({"steps": [1000]}, "steps 1000 is too much"),
        ({"text": ["a" * 700]}, "too long for a shared app"),
        ({"vocoder": ["native", "some/body"]}, "vocoders of its list only"),
        ({"text": ["a" * 600], "steps": [250], "batch": [1, 3, 4]}, "as 8 texts of 600 characters"),
    ):
        with pytest.raises(ValueError, match=said):
            read_plan(spoken(**changed), shared=True)


@pytest.mark.parametrize(
    "text",
    [
        SMALLEST_SWEEP + f'model = ["{BUNDLED_MODEL}", "{SD15}"]\n',
        spoken("csm"),
    ],
    ids=["pictures", "speech"],
)
def test_visitors_sweep_no_model_that_would_have_to_be_fetched(text, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))

    assert read_plan(text, shared=False)
    with pytest.raises(ValueError, match="not on this machine, and guests cannot fetch it"):
        read_plan(text, shared=True)


@pytest.mark.slow
def test_a_probe_of_speech_finds_how_long(tmp_path):
    text = spoken(save_tiny_echo(tmp_path / "echo").as_posix())
    with closing(Jobs()) as jobs:
        reports = ReportFolder(tmp_path / "reports")
        planning = Planning(Engine("cpu"), jobs, reports, lambda: HERE, shared=False)
        last = [line for line in planning.probe(text) if line][-1]

    assert last.startswith("2 cells, 2 repeats each: about ")
    assert "a probe of a few steps" in last


def test_a_plan_counts_the_pictures_that_are_drawn_to_be_judged() -> None:
    text = 'name = "x"\nrepeats = 5\n[axes]\nsampler = ["ddim"]\nsteps = [10]\n'
    cell = make_cell(wall_s=[2.0, 2.0], steps=10)
    timed = known_times([make_report(cell)], HERE)
    plain = duration_s(parse_sweep(text), timed, on_gpu=False)
    to_judge = parse_sweep(text + "[quality]\npictures = 30\n")
    judged = duration_s(to_judge, timed, on_gpu=False)
    assert plain is not None
    assert judged == pytest.approx(plain + 30 * 2.0)


def test_visitors_of_a_shared_app_have_no_pictures_judged() -> None:
    text = 'name = "x"\n[axes]\nsteps = [2]\n[quality]\n'
    assert read_plan(text, shared=False).quality is not None
    with pytest.raises(ValueError, match="shared: a sweep may not draw pictures to judge"):
        read_plan(text, shared=True)
