from __future__ import annotations

import time
from contextlib import closing
from pathlib import Path

import gradio as gr
import pytest
from fakes import make_header
from huggingface_hub import constants
from tiny_echo import save_tiny_echo
from ui_server import busy_device, is_free, wait_until
from warm_workers import running

from diffusion_bench.backends.catalog import find_model
from diffusion_bench.backends.downloads import Fetching
from diffusion_bench.backends.downloads import Progress as Download
from diffusion_bench.backends.engine import Engine
from diffusion_bench.bench.runner import Progress
from diffusion_bench.bench.worker_process import WorkerProcess
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import StopRule
from diffusion_bench.reports.store import ReportWriter
from diffusion_bench.ui.benchmark import CANCELLED, CANCELLED_EARLY, _to_handler, to_updates
from diffusion_bench.ui.giving_up import Cancel
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.report_files import ReportFolder
from diffusion_bench.ui.sweeping import CHARTS, Sweeping, describe

pytestmark = pytest.mark.usefixtures("warm_workers")

SD15 = "stable-diffusion-v1-5/stable-diffusion-v1-5"
SWEEP = 'name = "tiny"\nrepeats = 2\n[axes]\nsampler = ["ddim"]\nsteps = [2, 3, 200]\n'


@pytest.fixture
def folder(tmp_path):
    return ReportFolder(tmp_path / "reports")


@pytest.fixture
def make_sweeping(folder, tmp_path):
    (tmp_path / "outbox").mkdir()
    outbox = Outbox(tmp_path / "outbox")
    with closing(Jobs()) as jobs:
        yield lambda shared: Sweeping(Engine("cpu"), jobs, outbox, folder, shared=shared)


@pytest.fixture
def sweeping(make_sweeping):
    return make_sweeping(shared=False)


@pytest.fixture
def empty_hub_cache(monkeypatch, tmp_path):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


def write_unfinished(folder, **changed):
    """Write a report without its one cell and return its name; names are of request or plan."""
    asked = {name: value for name, value in changed.items() if name in ImageRequest.model_fields}
    header = make_header(cells=[ImageRequest(prompt="a cat", **asked)])
    of_plan = {name: value for name, value in changed.items() if name not in asked}
    plan = header.plan.model_copy(update=of_plan)
    path = folder.new_path("begun", "2026-01-02T03:04:05Z")
    with ReportWriter.create(path, header.model_copy(update={"plan": plan})):
        return path.name


def test_a_cancelled_sweep_frees_the_device_and_can_be_gone_on_with(sweeping, folder):
    views = sweeping.run(SWEEP.replace("200", "1000"))
    seen = next(view for view in views if view.table and len(view.table["data"]) == 2)
    views.close()
    wait_until(is_free, "the device is free", limit_s=10)

    assert len(seen.figures) == 3
    (name,) = folder.unfinished()
    before = {cell.cell_id: cell for cell in folder.read(name).cells}
    assert len(before) == 2
    views = sweeping.resume(name)
    resumed = next(view for view in views if view.status and "2 of 3 cells done" in view.status)
    views.close()
    assert (resumed.done, resumed.total) == (2, 3)
    assert len(resumed.table["data"]) == 2, "what is there already is shown at once"
    assert {cell.cell_id: cell for cell in folder.read(name).cells} == before
    wait_until(is_free, "the device is free", limit_s=10)


def test_a_sweep_cancelled_while_its_process_starts_ends_it_and_leaves_no_report(
    sweeping, folder, monkeypatch
):
    monkeypatch.setattr(WorkerProcess, "hear", lambda self, timeout_s: time.sleep(timeout_s))
    wanted = Cancel()
    shown = _to_handler(sweeping.run, wanted)(text=SWEEP)
    wait_until(lambda: next(shown) and running(), "the process is starting")
    wanted.cancel()
    assert list(shown)[-1][1] == CANCELLED_EARLY

    # The worker is up by now, or would be: nothing takes up what was given up.
    wait_until(lambda: not running(), "the process has ended", limit_s=10)
    monkeypatch.undo()
    wait_until(is_free, "the device is free", limit_s=10)
    assert folder.names() == []


def test_a_cancel_says_of_what_is_measured_that_it_is_saved(sweeping, folder):
    wanted = Cancel()
    shown = _to_handler(sweeping.run, wanted)(text=SWEEP.replace("2, 3, 200", "2, 1000"))
    next(told for told in shown if "1 of 2 cells done" in str(told[1]))
    wanted.cancel()
    assert list(shown)[-1][1] == CANCELLED
    wait_until(is_free, "the device is free", limit_s=10)
    assert len(folder.unfinished()) == 1


def test_what_is_there_of_another_run_goes_when_a_runs_turn_has_come_and_not_before(sweeping):
    views = sweeping.run(SWEEP)
    first = to_updates(next(views))
    begun = to_updates(next(view for view in views if view.table))
    views.close()

    assert first[2:] == (gr.skip(),) * 6
    *_, report, page = begun[:4]
    assert [(one.value, one.interactive) for one in (report, page)] == [(None, False)] * 2
    assert begun[4:7] == (None,) * 3
    assert begun[7]["data"] == []


def test_a_cancel_of_a_download_does_not_say_that_anything_is_saved(sweeping, monkeypatch):
    def fetch(*given, **named):
        download = Download(done_mib=10.0, total_mib=30.0)
        now = Fetching(model=find_model(SD15), progress=download)
        while True:
            yield Progress(kind="fetching", num_cells=0, num_done=0, fetching=now)
            time.sleep(0.1)

    monkeypatch.setattr("diffusion_bench.ui.sweeping.run_sweep", fetch)
    wanted = Cancel()
    shown = _to_handler(sweeping.run, wanted)(text=SWEEP)
    next(told for told in shown if "10 MiB of 30 MiB" in str(told[1]))
    wanted.cancel()
    assert list(shown)[-1][1] == CANCELLED_EARLY


def test_a_sweep_ends_with_its_report_on_disk_and_both_downloads(sweeping, folder):
    sweeping._engine.backend(BUNDLED_MODEL, "fp32")
    with busy_device():
        views = sweeping.run(SWEEP.replace(", 200", ""))
        waiting = next(view for view in views if view.status and "Waiting" in view.status)
        assert waiting.figures is None

    last = list(views)[-1]

    (name,) = folder.names()
    report = read_report(folder.path(name))
    assert [cell.status for cell in report.cells] == ["ok", "ok"]
    assert last.status.startswith("Done: 2 of 2 cells measured.")
    downloads = [Path(file) for file in last.files]
    assert downloads[0].read_bytes() == folder.path(name).read_bytes()
    assert "<html" in downloads[1].read_text()
    assert all(len(figure.data) for figure in last.figures)
    assert folder.unfinished() == []
    assert sweeping._engine._loaded is None, "a copy here would be in the way"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("name = ", "is no TOML file"),
        ('name = "x"\n[axes]\nsteps = [0]', "steps"),
        ('name = "x"\n[axes]\nspeed = [1]', "speed"),
        ('name = "x"\n[axes]\nmodel = ["nowhere"]', "unknown model"),
    ],
)
def test_a_bad_sweep_is_told_and_writes_nothing(sweeping, folder, text, said):
    with pytest.raises(ValueError, match=said):
        next(sweeping.run(text))

    assert folder.names() == []


def test_going_on_with_no_or_an_unknown_report_is_told(sweeping):
    with pytest.raises(ValueError, match="choose the unfinished report"):
        next(sweeping.resume(None))
    with pytest.raises(ValueError, match="there is no report"):
        next(sweeping.resume("../x.jsonl"))


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"steps": 1000}, "steps 1000 is too much for a shared app"),
        ({"model": "some/body"}, "models of its list only"),
        ({"model": SD15}, "guests cannot fetch it"),
        ({"repeats": 500}, "240 calls at most"),
        ({"stop": StopRule()}, "may not go on until it is steady"),
        ({"sustain_s": 60.0}, "may not sustain its cells"),
        ({"time_limit_s": 86400.0}, "a call may take 1800 s at most"),
        ({"speed": "packed"}, "speeds of its list only"),
        ({"steps": 250, "width": 1024, "height": 1024, "repeats": 50}, "as much work as 8"),
    ],
)
@pytest.mark.usefixtures("empty_hub_cache")
def test_a_guest_cannot_go_on_with_what_only_the_owner_may_begin(
    make_sweeping, folder, changed, said
):
    name = write_unfinished(folder, **changed)
    before = folder.path(name).read_bytes()

    with pytest.raises(ValueError, match=said):
        next(make_sweeping(shared=True).resume(name))

    assert folder.path(name).read_bytes() == before
    assert next(make_sweeping(shared=False).resume(name)).done == 0


def test_a_guest_can_go_on_with_what_a_guest_may_begin(make_sweeping, folder):
    assert next(make_sweeping(shared=True).resume(write_unfinished(folder))).done == 0


def test_the_status_says_cell_repeat_and_time_left():
    request = ImageRequest(prompt="a", steps=20, batch=4, width=64, height=64)
    progress = Progress(
        kind="repeated", num_cells=8, num_done=3, request=request, repeat=2, remaining_s=75.0
    )

    assert describe(progress) == (
        "3 of 8 cells done; now ddim, 20 steps, 64x64, batch 4; repeat 2 measured; "
        "about 1 min 15 s left."
    )


def test_the_status_of_a_sweep_in_rounds_counts_visits_too():
    progress = Progress(kind="heartbeat", num_cells=8, num_done=0, rounds=3, visits_done=5)
    assert describe(progress) == "0 of 8 cells done and 5 of 24 visits to them."


@pytest.mark.slow
def test_a_sweep_of_speech_shows_its_real_time_factor_in_chart_and_table(
    sweeping, folder, tmp_path
):
    model = save_tiny_echo(tmp_path / "echo").as_posix()
    text = (
        'name = "speech"\nrepeats = 2\n[voice_axes]\n'
        f'model = ["{model}"]\nsteps = [2, 3]\ntext = ["Good morning."]\nsampler = ["ddim"]\n'
    )

    last = list(sweeping.run(text))[-1]

    assert last.status.startswith("Done: 2 of 2 cells measured.")
    factors = last.figures[CHARTS.index("throughput")]
    assert "real-time" in str(factors.layout.yaxis.title.text).lower()
    assert next(list(line.x) for line in factors.data if line.x is not None) == [2, 3]
    column = last.table["headers"].index("real-time factor")
    assert all(float(row[column]) > 0 for row in last.table["data"])
    assert "real-time factor" in Path(last.files[1]).read_text().lower()
