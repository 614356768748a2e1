"""A sweep that is killed at any moment goes on where it stopped: the command itself, for real."""

from __future__ import annotations

import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest
from processes import has_ended, wait_until
from warm_workers import WarmStart

from diffusion_bench.bench.sweep import read_sweep
from diffusion_bench.reports.read import read_report

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

ROOT = Path(__file__).parents[1]
LIMIT_S = 120.0
WORKER_DIES_WITHIN_S = 5.0

# Half a second of looking at the quiet machine, then a call or two of little: a kill falls into
# any of these, or between two cells.
PLAN = 'name = "killed"\nrepeats = 2\n[axes]\nsampler = ["ddim"]\nsteps = [5]\nseed = {seeds}\n'


# What `-m` does, after the lines of a program whose workers start warm.
COMMAND = 'import runpy; runpy.run_module("diffusion_bench", run_name="__main__", alter_sys=True)'


class Sweeping:
    """A sweep command in a session of its own, by which all that it starts is found.

    Its workers start warm where `start` is given; that is then of no other use meanwhile.
    """

    def __init__(self, plan: Path, report: Path, start: WarmStart | None = None) -> None:
        how = ["-c", start.program() + COMMAND] if start else ["-m", "diffusion_bench"]
        command = [sys.executable, *how, "sweep", str(plan), "--resume"]
        self.report, self._start = report, start
        self.before = whole_lines(report)
        self.process = subprocess.Popen(
            [*command, "--out", str(report), "--device", "cpu"],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Under a shell's `&` these tests, and so the command, would ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def alive(self) -> list[int]:
        """Return the processes of the session that have not ended, the command's first."""
        warm = [worker.pid for worker in self._start.at_work()] if self._start else []
        ours = [pid for pid in sorted(psutil.pids()) if self._is_ours(pid) and not has_ended(pid)]
        return ours + warm

    def _is_ours(self, pid: int) -> bool:
        try:
            return os.getsid(pid) == self.process.pid
        except OSError:
            return False

    def wait_for_a_cell(self) -> None:
        """Wait until it has added one to what the report held."""
        lines = max(1, self.before.count(b"\n"))
        assert wait_until(lambda: self._has_ended() or num_lines(self.report) > lines, LIMIT_S)
        assert not self._has_ended(), "the plan is too short for a kill to interrupt it"

    def kill_worker(self) -> bool:
        """Return whether a worker was up; kill it, and wait until the command has noticed."""
        lines = num_lines(self.report)
        workers = [pid for pid in self.alive() if pid != self.process.pid]
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
        if workers:
            assert wait_until(lambda: self._has_ended() or num_lines(self.report) > lines, LIMIT_S)
        return bool(workers)

    def end_by(self, number: int, *, whole: bool = False) -> tuple[int, str]:
        """Send it a signal, or its workers too; return code and standard error once all is gone."""
        for pid in self.alive() if whole else [self.process.pid]:
            with contextlib.suppress(ProcessLookupError):  # a worker that cannot start is its end
                os.kill(pid, number)
        _, complaint = self.process.communicate(timeout=LIMIT_S)
        # No orphan goes on computing.
        assert wait_until(lambda: not self.alive(), WORKER_DIES_WITHIN_S), self.alive()
        return self.process.returncode, complaint

    def _has_ended(self) -> bool:
        return self.process.poll() is not None


def num_lines(report: Path) -> int:
    return report.read_bytes().count(b"\n") if report.exists() else 0


def whole_lines(report: Path) -> bytes:
    data = report.read_bytes() if report.exists() else b""
    return data[: data.rfind(b"\n") + 1]


def statuses(report: Path) -> dict[str, str]:
    """Return the status of each finished cell by its id; fail where one is there twice."""
    rows = [json.loads(line) for line in whole_lines(report).splitlines()]
    cells = [(row["cell_id"], row["status"]) for row in rows if row["kind"] == "cell"]
    assert len(dict(cells)) == len(cells)
    return dict(cells)


def kill_once(sweeping: Sweeping, chance: random.Random, victim: str) -> None:
    """End a sweep by a kill of the victim at a random moment of its start or of its work."""
    at_start = chance.random() < 0.25
    if at_start:
        time.sleep(chance.uniform(0, 5))
    else:
        sweeping.wait_for_a_cell()
        time.sleep(chance.uniform(0, 0.8))
    if victim == "worker":
        assert sweeping.kill_worker() or at_start
    if victim == "interrupt":
        code, complaint = sweeping.end_by(signal.SIGINT, whole=True)
        # Before its first lines run, Python's own traceback is all there is.
        assert code in (130, -signal.SIGINT, 1), complaint
    else:
        code, complaint = sweeping.end_by(signal.SIGKILL, whole=victim == "both")
        if code != -signal.SIGKILL:
            assert (victim, code) == ("worker", 2), complaint
            assert complaint.splitlines()[-1].startswith("error: the worker was killed"), complaint
    assert whole_lines(sweeping.report).startswith(sweeping.before)
    statuses(sweeping.report)


def kill_and_finish(
    folder: Path,
    victims: list[str],
    chance: random.Random,
    cells: int,
    start: WarmStart | None = None,
) -> list[str]:
    """Kill a sweep as often as there are victims, let it end, and return the cells it reports."""
    plan, report = folder / "plan.toml", folder / "report.jsonl"
    plan.write_text(PLAN.format(seeds=list(range(cells))), encoding="utf-8")
    for victim in victims:
        kill_once(Sweeping(plan, report, start), chance, victim)
    last = Sweeping(plan, report, start)
    output, complaint = last.process.communicate(timeout=LIMIT_S + 3 * cells)
    assert last.process.returncode == 0, complaint
    assert report.read_bytes().startswith(last.before)
    found = read_report(report)
    assert found.notes == ()
    asked = [found.header.cell_id(request) for request in read_sweep(plan).requests()]
    ended = statuses(report)
    assert list(ended) == asked
    # The kill of a command is no cell's failure; that of a worker is that of the cell it was at.
    assert set(ended.values()) <= {"ok", "crashed"}
    assert list(ended.values()).count("crashed") <= victims.count("worker")
    assert f"report: {report}" in output
    return list(ended)


@pytest.mark.slow
def test_a_sweep_that_is_terminated_ends_as_by_ctrl_c_and_can_be_gone_on_with(
    tmp_path: Path,
) -> None:
    """By default it would leave a terminal without its cursor, and free the device too early."""
    plan, report = tmp_path / "plan.toml", tmp_path / "report.jsonl"
    plan.write_text(PLAN.format(seeds=[0, 1, 2, 3, 4, 5]), encoding="utf-8")
    sweeping = Sweeping(plan, report)
    sweeping.wait_for_a_cell()
    code, complaint = sweeping.end_by(signal.SIGTERM)
    assert (code, complaint.splitlines()[-1]) == (130, "interrupted")
    assert statuses(report)


@pytest.mark.slow
def test_a_sweep_killed_at_random_resumes_and_has_every_cell_once(
    tmp_path: Path, warm_start: WarmStart
) -> None:
    chance, victims = random.Random(20), ["command", "worker", "both"]
    cells = kill_and_finish(tmp_path, victims, chance, cells=12, start=warm_start)
    assert len(cells) == len(set(cells)) == 12


@pytest.mark.long
@pytest.mark.timeout(3600)
def test_a_sweep_killed_fifty_times_resumes_and_has_every_cell_once(tmp_path: Path) -> None:
    chance = random.Random(50)
    victims = [chance.choice(["command", "worker", "both", "interrupt"]) for _ in range(50)]
    cells = kill_and_finish(tmp_path, victims, chance, cells=150)
    assert len(cells) == len(set(cells)) == 150
