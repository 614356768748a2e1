"""A sweep that is killed at any moment goes on where it stopped: the command itself, for real."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
from processes import has_ended, wait_until

from diffusion_bench.bench.sweep import read_sweep
from diffusion_bench.reports.read import read_report

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")

ROOT = Path(__file__).parents[1]
LIMIT_S = 120.0
WORKER_DIES_WITHIN_S = 3.0

# Some ten cells of half a second: a kill falls into one, or between two.
PLAN = 'name = "killed"\nrepeats = 3\n[axes]\nsteps = [4, 5, 6, 7, 8]\n'


class Sweeping:
    """A sweep command in a process group of its own."""

    def __init__(self, plan: Path, report: Path, *options: str) -> None:
        command = [sys.executable, "-m", "diffusion_bench", "sweep", str(plan)]
        self.process = subprocess.Popen(
            [*command, "--out", str(report), "--device", "cpu", *options],
            cwd=ROOT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            # Under a shell's `&` these tests, and so the command, would ignore it.
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
        )

    def workers(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)

    def wait_for_cells(self, report: Path, more_than: int) -> None:
        assert wait_until(lambda: num_lines(report) > more_than + 1, LIMIT_S)
        assert self.process.poll() is None, "the plan is too short for a kill to interrupt it"

    def end_by(self, send: Callable[[int, int], None], number: int) -> tuple[int, str]:
        """Send a signal; return exit code and standard error once the workers are gone too."""
        workers = self.workers()
        send(self.process.pid, number)
        _, complaint = self.process.communicate(timeout=LIMIT_S)
        # No orphan goes on computing.
        assert wait_until(
            lambda: all(has_ended(worker.pid) for worker in workers), WORKER_DIES_WITHIN_S
        )
        return self.process.returncode, complaint


def num_lines(report: Path) -> int:
    return report.read_bytes().count(b"\n") if report.exists() else 0


def whole_lines(report: Path) -> bytes:
    data = report.read_bytes() if report.exists() else b""
    return data[: data.rfind(b"\n") + 1]


@pytest.mark.slow
def test_a_sweep_killed_at_random_resumes_and_has_every_cell_once(tmp_path: Path) -> None:
    chance = random.Random(20)
    plan, report = tmp_path / "plan.toml", tmp_path / "report.jsonl"
    plan.write_text(PLAN, encoding="utf-8")

    # While it starts: there may be no report yet.
    sweeping = Sweeping(plan, report)
    time.sleep(chance.uniform(0, 4))
    sweeping.end_by(os.kill, signal.SIGKILL)

    # In the middle: the command alone, then it and its worker, then by Ctrl-C as a terminal does.
    for send, number in (
        (os.kill, signal.SIGKILL),
        (os.killpg, signal.SIGKILL),
        (os.killpg, signal.SIGINT),
    ):
        before = whole_lines(report)
        sweeping = Sweeping(plan, report, "--resume")
        sweeping.wait_for_cells(report, more_than=max(0, before.count(b"\n") - 1))
        time.sleep(chance.uniform(0, 0.8))
        code, complaint = sweeping.end_by(send, number)
        assert whole_lines(report).startswith(before)
        if number == signal.SIGINT:
            assert (code, complaint) == (130, "interrupted\n")

    before = whole_lines(report)
    last = Sweeping(plan, report, "--resume")
    output, complaint = last.process.communicate(timeout=LIMIT_S)
    assert last.process.returncode == 0, complaint
    assert report.read_bytes().startswith(before)
    asked = [request.workload_id() for request in read_sweep(plan).requests()]
    lines = report.read_text(encoding="utf-8").splitlines()
    assert len(lines) == 1 + len(asked)  # once each, also before a reader takes the last
    found = read_report(report)
    assert [cell.cell_id for cell in found.cells] == asked
    assert {cell.status for cell in found.cells} == {"ok"}  # a kill is no cell's failure
    assert found.notes == ()
    assert f"report: {report}" in output
