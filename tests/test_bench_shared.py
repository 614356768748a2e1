"""Several devices at once, for real: two processes on the processor, a tiny model, one clock."""

from __future__ import annotations

import os
import signal
import sys
from contextlib import closing
from pathlib import Path

import pytest
from processes import has_ended
from tiny_models import save_tiny_sd
from warm_workers import running

from diffusion_bench.bench.limit import run_limit
from diffusion_bench.bench.runner import Progress, run_sweep
from diffusion_bench.bench.sweep import Sweep, parse_sweep, sweep_of
from diffusion_bench.bench.worker_process import WorkerFailed
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import Report
from diffusion_bench.reports.shared import summarise_shared
from diffusion_bench.reports.store import ReportRefused
from diffusion_bench.reports.unfinished import finished_ids

pytestmark = [
    pytest.mark.usefixtures("own_cache", "warm_workers", "short_rests"),
    pytest.mark.skipif(sys.platform != "linux", reason="kills another process"),
    pytest.mark.timeout(1200),  # ten workers, one after the other
]

TEXT = """name = "pair"
repeats = 2
[axes]
model = ["{model}"]
sampler = ["ddim"]
steps = [20]
batch = [3]
[devices]
names = ["cpu", "cpu"]
"""


class Interrupted:
    """A sweep that was closed after its first cell, and went on: its report then and at the end."""

    def __init__(self, path: Path, sweep: Sweep) -> None:
        self.path, self.sweep = path, sweep
        self.events: list[Progress] = []
        self.began: Report | None = None
        self.ended: Report | None = None


@pytest.fixture(scope="module")
def text(tmp_path_factory: pytest.TempPathFactory) -> str:
    return TEXT.format(model=save_tiny_sd(tmp_path_factory.mktemp("model")))


@pytest.fixture(scope="module")
def ran(text: str, tmp_path_factory: pytest.TempPathFactory) -> Interrupted:
    path = tmp_path_factory.mktemp("pair") / "pair.jsonl"
    ran = Interrupted(path, parse_sweep(text))
    with closing(run_sweep(ran.sweep, path)) as events:
        for progress in events:
            ran.events.append(progress)
            if progress.shared is not None:
                break
    assert not running()  # closing it ends both workers
    ran.began = read_report(path)
    ran.events += run_sweep(sweep_of(ran.began.header.plan), path, resume=True)
    ran.ended = read_report(path)
    return ran


@pytest.fixture(scope="module")
def killed(text: str, tmp_path_factory: pytest.TempPathFactory) -> Report:
    """Return the report of jobs of which the second is killed in its second start.

    It is stopped before that, since its few steps may else be done before it is killed.
    """
    path = tmp_path_factory.mktemp("killed") / "killed.jsonl"
    sweep = parse_sweep(text + 'share = ["jobs"]\n')
    second: int | None = None
    for progress in run_sweep(sweep, path):
        if progress.kind == "repeated" and second is None:
            second = running()[-1].pid
            os.kill(second, signal.SIGSTOP)
        elif progress.kind == "heartbeat" and second is not None and not has_ended(second):
            os.kill(second, signal.SIGKILL)
    return read_report(path)


def test_every_share_is_a_cell_with_a_job_a_device(ran: Interrupted) -> None:
    assert ran.ended is not None
    jobs, batch = ran.ended.shared
    assert ran.ended.cells == ()
    assert (jobs.share, batch.share) == ("jobs", "batch")
    assert [cell.status for cell in (jobs, batch)] == ["ok", "ok"]
    assert [(job.batch, job.seed) for job in jobs.jobs] == [(3, 0), (3, 0)]
    assert [(job.batch, job.seed) for job in batch.jobs] == [(2, 0), (1, 2)]
    assert (jobs.pictures, batch.pictures) == (6, 3)
    for cell in (jobs, batch):
        assert "one processor" in cell.labels
        assert all(cell.trace.rss_mib)  # of a process that was there all the while
        for job in cell.jobs:
            assert len(job.alone_s) == len(job.begin_s) == len(job.end_s) == 2
            assert job.memory.rss_mib
            assert job.memory.missing["nvml_used_mib"]
            assert "all jobs" in job.missing["energy"]
            assert job.load_s


def test_devices_begin_together_and_work_at_the_same_time(ran: Interrupted) -> None:
    assert ran.ended is not None
    for cell in ran.ended.shared:
        for begins, ends in zip(
            zip(*(job.begin_s for job in cell.jobs), strict=True),
            zip(*(job.end_s for job in cell.jobs), strict=True),
            strict=True,
        ):
            assert max(begins) < 5.0  # told a quarter of a second before
            assert max(begins) < min(ends)


def test_what_counts_is_from_the_common_start_to_the_last_end(ran: Interrupted) -> None:
    assert ran.ended is not None
    for cell in ran.ended.shared:
        first, second = cell.jobs
        assert cell.wall_s == tuple(map(max, zip(first.end_s, second.end_s, strict=True)))
        found = summarise_shared(cell)
        assert found is not None
        middle = sum(cell.wall_s) / 2
        assert found.images_per_hour == pytest.approx(3600 * cell.pictures / middle)
        alone = [3600 * 3 / (sum(job.alone_s) / 2) for job in cell.jobs]
        assert found.alone_per_hour == pytest.approx(alone)
        assert found.efficiency == pytest.approx(found.images_per_hour / sum(alone))


def test_an_interrupted_sweep_goes_on_with_the_share_that_is_missing(ran: Interrupted) -> None:
    assert ran.began is not None
    assert ran.ended is not None
    assert len(ran.began.shared) == 1
    assert ran.ended.shared[0] == ran.began.shared[0]
    kinds = [progress.kind for progress in ran.events]
    assert kinds.count("cell_started") == 2
    assert "skipped" in kinds
    assert finished_ids(ran.ended) == set(ran.ended.header.planned_ids())
    last = ran.events[-1]
    assert (last.kind, last.num_done, last.num_cells) == ("done", 2, 2)


def test_a_sweep_of_other_devices_is_another_sweep(ran: Interrupted, text: str) -> None:
    with pytest.raises(ReportRefused, match=r"devices"):
        list(run_sweep(parse_sweep(text + 'share = ["jobs"]\n'), ran.path, resume=True))


def test_a_killed_job_is_a_result_that_names_the_device_and_keeps_the_others(
    killed: Report,
) -> None:
    (cell,) = killed.shared
    first, second = cell.jobs
    assert (cell.status, first.status, second.status) == ("crashed", "ok", "crashed")
    assert cell.message.startswith("cpu, job 2 of 2: the worker was killed")
    assert len(first.alone_s) == len(second.alone_s) == 2
    assert len(first.end_s) == 2
    assert len(second.end_s) == 1
    assert cell.wall_s == ()
    assert summarise_shared(cell) is None
    assert finished_ids(killed) == {cell.cell_id}


def test_a_machine_without_the_devices_refuses_in_one_line(text: str, tmp_path: Path) -> None:
    path = tmp_path / "cards.jsonl"
    asked = parse_sweep(text.replace('["cpu", "cpu"]', '["cpu", "cuda:97"]'))
    with pytest.raises(WorkerFailed) as caught:
        list(run_sweep(asked, path))
    words = str(caught.value)
    assert words.startswith("this sweep measures on cpu and cuda:97 at once; device 'cuda:97'")
    assert "usable: " in words
    assert "\n" not in words
    assert not path.exists()


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        (("repeats = 2", "measured_steps = 5"), "leave out measured_steps"),
        (("repeats = 2", "rounds = 2\nsustain_s = 3"), "leave out sustain_s, rounds"),
        (("batch = [3]", "batch = [4, 1]"), "a batch of 1 cannot be split over 2 devices"),
    ],
)
def test_what_several_devices_cannot_measure_is_refused(text: str, change, complaint) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_sweep(text.replace(*change))


def test_a_limit_is_of_one_device(text: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="on one device"):
        list(run_limit(parse_sweep(text), tmp_path / "limit.jsonl", "batch"))
