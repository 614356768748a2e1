"""A sweep as it runs: trouble is a row, the report can be resumed, and the end leaves nothing."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest
from processes import has_ended
from warm_workers import running

from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.backends.device import DeviceBusy, hold_device
from diffusion_bench.bench import setup
from diffusion_bench.bench.runner import Progress, run_sweep
from diffusion_bench.bench.setup import CPU_INTERVAL_S
from diffusion_bench.bench.sweep import Sweep, parse_sweep, sweep_of
from diffusion_bench.bench.worker_process import WorkerFailed, WorkerProcess
from diffusion_bench.hardware.sensors import NoGpu
from diffusion_bench.records import BUNDLED_MODEL, ImageRequest
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import Cell, StopRule
from diffusion_bench.reports.stats import totals
from diffusion_bench.reports.unfinished import finished_ids

pytestmark = [
    pytest.mark.skipif(sys.platform != "linux", reason="limits another process's memory"),
    pytest.mark.usefixtures("own_cache", "warm_workers", "short_rests"),
]

SMALL = parse_sweep('name = "small"\nrepeats = 2\n[axes]\nsteps = [2]\nsampler = ["ddim"]')


class HandPicked(Sweep):
    """A sweep of cells that are no product of axes."""

    cells: tuple[ImageRequest, ...]

    def requests(self) -> tuple[ImageRequest, ...]:
        return self.cells


class Ran:
    """A sweep that has run: its report's path, its events, and the worker of each cell."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.events: list[Progress] = []
        self.workers: list[int] = []

    @property
    def cells(self) -> tuple[Cell, ...]:
        return read_report(self.path).cells


def never(*_: object) -> None:
    raise AssertionError("a worker was started")


def worker() -> psutil.Process:
    (found,) = running()
    return found


def again(ran: Ran) -> HandPicked:
    """Return the sweep that ran, to be resumed."""
    plan = read_report(ran.path).header.plan
    names = ("name", "warmups", "repeats", "measured_steps", "cells")
    return HandPicked(**{name: getattr(plan, name) for name in names})


def flow_matching_model(folder: Path) -> Path:
    """Return the bundled model with another scheduler, as the newest models have."""
    shutil.copytree(MODELS_FOLDER / BUNDLED_MODEL, folder)
    index = json.loads((folder / "model_index.json").read_text())
    index["scheduler"] = ["diffusers", "FlowMatchEulerDiscreteScheduler"]
    (folder / "model_index.json").write_text(json.dumps(index))
    settings = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000}
    (folder / "scheduler" / "scheduler_config.json").write_text(json.dumps(settings))
    return folder


def broken_model(folder: Path) -> Path:
    """Return a model folder that is known for one and cannot be loaded."""
    folder.mkdir()
    (folder / "model_index.json").write_text("broken")
    return folder


@pytest.fixture(scope="module")
def troubled(tmp_path_factory: pytest.TempPathFactory) -> Ran:
    """Run a sweep of which four cells go wrong, each in its own way, and five do not."""
    import resource

    folder = tmp_path_factory.mktemp("troubled")
    usual = {"prompt": "a cat", "steps": 2}
    small = usual | {"width": 64, "height": 64}
    broken = broken_model(folder / "broken")
    flow = flow_matching_model(folder / "flow")
    sweep = HandPicked(
        name="troubled",
        repeats=2,
        measured_steps=3,
        cells=(
            ImageRequest(**usual, model=str(broken)),
            ImageRequest(**usual, model=str(flow)),
            ImageRequest(**usual, seed=1),  # its worker is killed
            ImageRequest(**usual, width=4096, height=4096, batch=64),  # finds no memory
            ImageRequest(**small),
            ImageRequest(**small, sampler="ddpm"),
            ImageRequest(**small, batch=2),
            ImageRequest(**small | {"steps": 3}),
            ImageRequest(**small | {"steps": 30}),
        ),
    )
    ran = Ran(folder / "report.jsonl")
    for progress in run_sweep(sweep, ran.path, device="cpu"):
        ran.events.append(progress)
        request = progress.request
        if progress.kind == "cell_started":
            ran.workers.append(worker().pid)
            if request.width == 4096:
                some_mib = worker().memory_info().vms + 2**30
                resource.prlimit(worker().pid, resource.RLIMIT_AS, (some_mib, some_mib))
        if progress.kind == "heartbeat" and request.seed == 1 and running():
            os.kill(worker().pid, signal.SIGKILL)
    return ran


def test_a_cell_that_goes_wrong_is_a_row_with_its_message(troubled: Ran) -> None:
    broken, flow, killed, too_large, *rest = troubled.cells
    assert (broken.status, flow.status) == ("failed", "failed")
    assert broken.message.startswith("model ")
    assert "cannot be loaded" in broken.message
    assert "flow matching" in flow.message
    assert (killed.status, too_large.status) == ("crashed", "oom")
    assert killed.message.startswith("the worker was killed from outside; the system counts no")
    assert "can't allocate memory" in too_large.message
    assert too_large.stage is not None
    assert too_large.asked_mib is not None
    assert too_large.asked_mib > 0
    assert [cell.stage for cell in (broken, flow, killed)] == ["load", "load", None]
    assert [cell.status for cell in rest] == ["ok"] * 5
    assert [cell.order for cell in troubled.cells] == list(range(9))


def test_after_a_cell_that_went_wrong_the_sweep_goes_on_with_a_new_worker(troubled: Ran) -> None:
    troubles, fine = troubled.workers[:4], troubled.workers[4:]
    assert len({*troubles, fine[0]}) == 5
    assert len(set(fine)) == 1  # small cells of one model share theirs


def test_load_and_first_calls_are_kept_where_they_were_paid(troubled: Ran) -> None:
    first, same_shape, other_shape, *_ = troubled.cells[4:]
    assert first.load_s is not None
    assert (same_shape.load_s, other_shape.load_s) == (None, None)
    assert first.first_call_s == first.warmup_s[0]
    assert same_shape.first_call_s is None
    assert other_shape.first_call_s == other_shape.warmup_s[0]
    for cell in troubled.cells[4:]:
        for name in ("load_s", "first_call_s"):
            assert (getattr(cell, name) is None) == (name in cell.missing), name


def test_a_measured_cell_has_its_samples_its_memory_and_what_the_machine_did(troubled: Ran) -> None:
    for cell in troubled.cells[4:]:
        assert len(cell.samples) == 2
        assert len(cell.warmup_s) == 1
        steps = min(cell.request.steps, 3)
        assert all(len(sample.step_s) == steps for sample in cell.samples)
        assert cell.stop_reason == "fixed count"
        assert cell.attention
        assert cell.before is not None
        assert cell.before.cpu_percent is not None
        assert cell.memory.rss_mib is not None
        assert 100 < cell.memory.rss_mib < 20_000
        # Seen to the end, however short the cell: the last look comes after it.
        assert cell.trace.at_s[-1] >= sum(sample.wall_s for sample in cell.samples)
        assert min(cell.trace.at_s) >= 0
        # No oftener: each look takes the model's own time.
        assert len(cell.trace.at_s) <= cell.trace.at_s[-1] / CPU_INTERVAL_S + 3
        assert all(rss > 100 for rss in cell.trace.rss_mib if rss is not None)


def test_a_watcher_hears_of_every_cell_and_repeat_and_how_many_are_done(troubled: Ran) -> None:
    events = [event for event in troubled.events if event.kind != "starting"]
    kinds = [event.kind for event in events]
    assert (kinds[0], kinds[-1]) == ("ready", "done")
    assert (kinds.count("cell_started"), kinds.count("cell")) == (9, 9)
    assert kinds.count("repeated") == 5 * 2
    done = [event.num_done for event in events]
    assert done == sorted(done)
    assert [event.num_done for event in troubled.events if event.kind == "cell"] == [*range(1, 10)]
    assert {event.num_cells for event in events} == {9}


def test_the_time_left_is_told_when_it_is_known_and_is_nothing_at_the_end(troubled: Ran) -> None:
    left = [event.remaining_s for event in troubled.events if event.kind == "cell"]
    assert left[:4] == [None] * 4  # nothing was timed yet
    assert 0 < left[5] < left[4] < 60
    assert left[8] == 0


def test_a_long_cell_is_timed_on_some_of_its_steps_and_says_so(troubled: Ran) -> None:
    *shorter, long = troubled.cells[4:]
    assert [cell.extrapolation for cell in shorter] == [None] * 4
    assert long.extrapolation is not None
    assert long.extrapolation.measured_steps == 3
    assert "extrapolated" in long.labels
    assert min(totals(long)) > max(sample.wall_s for sample in long.samples)


def test_a_line_over_the_steps_is_kept_at_the_end_of_a_sweep_that_has_three(troubled: Ran) -> None:
    report = read_report(troubled.path)
    (fit,) = report.fits
    assert fit.points == 3
    assert json.loads(troubled.path.read_bytes().splitlines()[-1])["kind"] == "fit"


def test_resuming_a_finished_sweep_measures_nothing_and_changes_nothing(
    troubled: Ran, tmp_path: Path
) -> None:
    path = tmp_path / "report.jsonl"
    shutil.copy(troubled.path, path)
    events = list(run_sweep(again(troubled), path, resume=True, device="cpu"))
    *starting, skipped, done = events
    assert {event.kind for event in starting} == {"starting"}
    assert (skipped.kind, skipped.num_done, done.kind) == ("skipped", 9, "done")
    assert path.read_bytes() == troubled.path.read_bytes()


def test_a_cell_that_failed_is_tried_again_where_asked_and_no_line_is_lost(tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    for progress in run_sweep(SMALL, path, device="cpu"):
        if progress.kind == "heartbeat" and running():
            os.kill(worker().pid, signal.SIGKILL)
    before = path.read_bytes()
    assert [cell.status for cell in read_report(path).cells] == ["crashed"]

    list(run_sweep(SMALL, path, resume=True, device="cpu"))
    assert path.read_bytes() == before

    list(run_sweep(SMALL, path, retry=True, device="cpu"))
    assert path.read_bytes().startswith(before)
    assert [cell.status for cell in read_report(path).cells] == ["ok"]


def test_resuming_skips_what_is_there_and_measures_the_rest(troubled: Ran, tmp_path: Path) -> None:
    path = tmp_path / "report.jsonl"
    # The line over the steps and the last two cells are not there yet.
    before = b"".join(troubled.path.read_bytes().splitlines(keepends=True)[:-3])
    path.write_bytes(before)
    asked = again(troubled).requests()
    resumed = list(run_sweep(again(troubled), path, resume=True, device="cpu"))
    first = next(event for event in resumed if event.kind != "starting")
    assert (first.kind, first.num_done) == ("skipped", 7)
    assert [event.request for event in resumed if event.kind == "cell_started"] == [*asked[-2:]]
    assert path.read_bytes().startswith(before)
    report = read_report(path)
    assert [(cell.request, cell.order) for cell in report.cells] == [
        (request, order) for order, request in enumerate(asked)
    ]
    assert len(report.fits) == 1


def test_a_report_of_another_plan_is_refused_with_every_difference(
    troubled: Ran, tmp_path: Path
) -> None:
    path = tmp_path / "report.jsonl"
    shutil.copy(troubled.path, path)
    other = again(troubled).model_copy(
        update={
            "repeats": 5,
            "warmups": 3,
            "measured_steps": None,
            "stop": StopRule(noise=0.01),
            "cells": (),
        }
    )
    with pytest.raises(ValueError, match="holds another sweep, so it cannot be resumed") as caught:
        list(run_sweep(other, path, resume=True, device="cpu"))
    for words in (
        "plan.repeats (2 in the file, 5 now)",
        "plan.warmups (1 in the file, 3 now)",
        "plan.cells (9 in the file, 0 now, not the same)",
        "plan.measured_steps (3 in the file, not set now)",
        "plan.stop (not set in the file, {'noise': 0.01",
    ):
        assert words in str(caught.value)
    assert path.read_bytes() == troubled.path.read_bytes()


def test_a_report_of_another_machine_or_an_existing_one_is_refused(
    troubled: Ran, tmp_path: Path
) -> None:
    path = tmp_path / "report.jsonl"
    header = json.loads(troubled.path.read_bytes().splitlines()[0])
    header["machine"]["cpu"] = "Another CPU"
    header["software"]["torch"] = "1.0"
    header["software"]["flags"]["float32_matmul_precision"] = "medium"
    path.write_text(json.dumps(header) + "\n")
    before = path.read_bytes()
    with pytest.raises(ValueError, match=r"machine\.cpu \(Another CPU in the file, .* now\)") as e:
        list(run_sweep(again(troubled), path, resume=True, device="cpu"))
    assert "software.torch (1.0 in the file" in str(e.value)
    assert "float32_matmul_precision (medium in the file, highest now)" in str(e.value)
    with pytest.raises(ValueError, match="exists; use --resume or another name"):
        list(run_sweep(again(troubled), path, device="cpu"))
    assert path.read_bytes() == before
    assert not running()


def test_a_device_in_use_is_said_and_no_report_is_begun(tmp_path: Path) -> None:
    with hold_device("cpu"), pytest.raises(DeviceBusy, match="cpu is busy"):
        next(run_sweep(SMALL, tmp_path / "report.jsonl", device="cpu"))  # no worker starts for it
    with pytest.raises(WorkerFailed, match="cannot be used here"):
        list(run_sweep(SMALL, tmp_path / "report.jsonl", device="cuda:99"))
    assert not list(tmp_path.iterdir())
    assert not running()


@pytest.mark.parametrize("text", ["", '[devices]\nnames = ["cpu", "cpu"]'], ids=["one", "two"])
def test_a_device_in_use_that_nobody_named_is_said_before_torch_is_imported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    monkeypatch.setattr(setup, "likely_device", lambda sensor: "cpu")
    monkeypatch.setattr(WorkerProcess, "__init__", never)
    sweep = parse_sweep(f'name = "a"\n[axes]\nsteps = [2]\nbatch = [2]\n{text}')
    with hold_device("cpu"), pytest.raises(DeviceBusy, match="cpu is busy"):
        next(run_sweep(sweep, tmp_path / "report.jsonl"))
    assert not list(tmp_path.iterdir())


def test_a_device_that_is_taken_while_the_worker_starts_is_not_shared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The look before holds nothing, so that what it found may have changed."""
    with ExitStack() as other:

        def fetch(*_: object, **__: object) -> Iterator[Progress]:
            other.enter_context(hold_device("cpu"))
            yield setup.STARTING

        monkeypatch.setattr(setup, "fetch", fetch)
        with pytest.raises(DeviceBusy, match="cpu is busy"):
            list(run_sweep(SMALL, tmp_path / "report.jsonl", device="cpu"))
    assert not list(tmp_path.iterdir())
    assert not running()


@pytest.mark.parametrize(
    ("build", "reason", "here", "device"),
    [
        ({}, "no driver", {}, "cpu"),
        ({}, None, {}, "cpu"),  # with a card, and pip's own torch on Windows
        ({"cuda": "13.0"}, "no driver", {}, "cpu"),
        ({"cuda": "13.0"}, None, {}, "cuda"),
        ({"hip": "7.0"}, None, {}, "cuda"),
        ({"cuda": "13.0"}, None, {"visible": ""}, None),
        ({}, None, {"system": "Darwin"}, "mps"),
    ],
)
def test_the_device_that_torch_prefers_is_guessed_without_it(
    monkeypatch: pytest.MonkeyPatch,
    build: dict[str, str],
    reason: str | None,
    here: dict[str, str],
    device: str | None,
) -> None:
    monkeypatch.setattr(setup, "torch_build", build.get)
    monkeypatch.setattr(setup.platform, "system", lambda: here.get("system", "Linux"))
    for name in setup.HIDING:
        monkeypatch.delenv(name, raising=False)
    if "visible" in here:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", here["visible"])
    sensor = NoGpu("")
    sensor.reason = reason
    assert setup.likely_device(sensor) == device


def test_a_sweep_that_may_wait_says_so_and_starts_when_the_device_is_free(tmp_path: Path) -> None:
    events = run_sweep(SMALL, tmp_path / "report.jsonl", device="cpu", wait_s=60)
    with hold_device("cpu"):
        kinds = [next(progress.kind for progress in events if progress.kind != "starting")]
        kinds.append(next(events).kind)
        assert kinds == ["waiting", "waiting"]
        assert not list(tmp_path.iterdir())
    kinds = [progress.kind for progress in events]
    assert kinds[0] in ("waiting", "starting")
    assert kinds[-1] == "done"
    assert len(read_report(tmp_path / "report.jsonl").cells) == 1


@pytest.mark.parametrize("last", [False, True], ids=["while it starts", "before the report"])
def test_giving_up_while_the_worker_starts_ends_it_and_leaves_no_report(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, last: bool
) -> None:
    up = threading.Event()
    hear = WorkerProcess.hear
    monkeypatch.setattr(
        WorkerProcess, "hear", lambda self, timeout_s: hear(self, 60) if up.is_set() else None
    )
    events = run_sweep(SMALL, tmp_path / "report.jsonl", device="cpu")
    assert next(events).kind == "starting"
    process = worker()
    if last:
        up.set()
        assert next(events).kind == "starting"
        with pytest.raises(DeviceBusy), hold_device("cpu"):
            pass
    events.close()
    with hold_device("cpu"):
        assert has_ended(process.pid)
    assert not list(tmp_path.iterdir())


def test_closing_a_run_ends_its_worker_before_it_frees_the_device(tmp_path: Path) -> None:
    """Closed in another thread than it ran in, as by a web server: whoever waits finds memory."""
    events = run_sweep(SMALL, tmp_path / "report.jsonl", device="cpu")
    for progress in events:
        if progress.kind == "heartbeat":
            break
    process = worker()
    seen_at_release: list[bool] = []

    def wait_for_device() -> None:
        while True:
            try:
                with hold_device("cpu"):
                    seen_at_release.append(process.is_running())
                    return
            except DeviceBusy:
                pass

    waiting = threading.Thread(target=wait_for_device)
    waiting.start()
    closing_thread = threading.Thread(target=events.close)
    closing_thread.start()
    closing_thread.join()
    waiting.join(10)
    assert seen_at_release == [False]
    assert not running()
    assert not read_report(tmp_path / "report.jsonl").cells


def test_a_report_that_spells_the_home_folder_out_is_gone_on_with_as_it_began(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As versions wrote it that did not write `~`; what is added must be readable with it."""
    monkeypatch.setenv("HOME", str(MODELS_FOLDER))
    short, whole = f"~/{BUNDLED_MODEL}", f"{MODELS_FOLDER}/{BUNDLED_MODEL}"
    path = tmp_path / "report.jsonl"
    told = 'name = "small"\nrepeats = 2\n[axes]\nsteps = [2]\nsampler = ["ddim"]\nmodel = ["{}"]\n'
    sweep = parse_sweep(told.format(whole))
    list(run_sweep(sweep, path, device="cpu"))
    (cell,) = read_report(path).cells
    assert (cell.status, cell.request.model) == ("ok", short)
    header = path.read_bytes().splitlines(keepends=True)[0]
    path.write_bytes(header.replace(short.encode(), whole.encode()))
    list(run_sweep(sweep_of(read_report(path).header.plan), path, resume=True, device="cpu"))
    report = read_report(path)
    assert [(one.status, one.request.model) for one in report.cells] == [("ok", whole)]
    assert finished_ids(report) == set(report.header.planned_ids())
