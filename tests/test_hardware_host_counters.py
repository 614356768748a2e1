"""The counters of the host: /proc says what psutil says, and where it cannot psutil is asked."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest
from processes import idle_child

from diffusion_bench.hardware import host_counters
from diffusion_bench.hardware.host_counters import HostCounters, Memory, read_rss_mib
from diffusion_bench.hardware.slow_host import cpu_seconds

on_linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux has these files")

MEMINFO = """MemTotal:        8192 kB
MemFree:         1024 kB
MemAvailable:    6144 kB
Buffers:          512 kB
"""
STAT = """cpu  1000 100 500 7000 400 30 20 50 600 70
cpu0 500 50 250 3500 200 15 10 25 300 35
"""


@pytest.fixture
def child() -> Iterator[subprocess.Popen[bytes]]:
    """A process that lives until its input ends."""
    with idle_child() as process:
        yield process


@pytest.fixture
def proc(tmp_path: Path) -> Path:
    """A folder like /proc."""
    (tmp_path / "meminfo").write_text(MEMINFO)
    (tmp_path / "stat").write_text(STAT)
    return tmp_path


@pytest.fixture
def other_psutil(monkeypatch: pytest.MonkeyPatch) -> None:
    """A psutil whose figures are no file's."""
    memory = SimpleNamespace(total=4 * 2**20, available=2**20)
    monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
    monkeypatch.setattr(host_counters, "cpu_seconds", lambda times: (1.0, 2.0))


OF_PSUTIL = Memory(used_mib=3.0, total_mib=4.0), (1.0, 2.0)


@on_linux
def test_the_files_of_this_machine_say_what_psutil_says() -> None:
    counters = HostCounters()
    told, memory = counters.memory(), psutil.virtual_memory()
    assert told.total_mib == memory.total / 2**20
    assert told.used_mib == pytest.approx((memory.total - memory.available) / 2**20, abs=200)
    busy_s, all_s = counters.cpu_seconds()
    assert (busy_s, all_s) == pytest.approx(cpu_seconds(psutil.cpu_times()), abs=2)


def test_the_figures_are_those_of_the_manual(proc: Path) -> None:
    counters = HostCounters(proc)
    assert counters.memory() == (2.0, 8.0)
    second = os.sysconf("SC_CLK_TCK")
    # Neither a guest's time twice nor the wait for a disk as work.
    assert counters.cpu_seconds() == (1700 / second, 9100 / second)


def test_each_look_reads_anew(proc: Path) -> None:
    counters = HostCounters(proc)
    assert counters.memory().used_mib == 2
    (proc / "meminfo").write_text(MEMINFO.replace("6144", "4096"))
    assert counters.memory().used_mib == 4


@pytest.mark.usefixtures("other_psutil")
@pytest.mark.parametrize(
    ("meminfo", "stat"),
    [
        pytest.param("", "", id="empty"),
        pytest.param("MemTotal: 8192 kB\nMemFree: 1024 kB\n", "cpu 1 2 3\n", id="old kernel"),
        pytest.param(MEMINFO.replace("6144", "9000"), STAT.replace("cpu ", "CPU "), id="container"),
        pytest.param(MEMINFO.replace("6144", "much"), STAT.replace("7000", "x"), id="no numbers"),
        pytest.param(MEMINFO.replace("MemAvail", "MemAvoid"), "\0" * 9, id="other words"),
    ],
)
def test_what_does_not_begin_as_the_manual_says_is_left_to_psutil(
    proc: Path, meminfo: str, stat: str
) -> None:
    (proc / "meminfo").write_text(meminfo)
    (proc / "stat").write_text(stat)
    counters = HostCounters(proc)
    assert (counters.memory(), counters.cpu_seconds()) == OF_PSUTIL
    (proc / "meminfo").write_text(MEMINFO)
    (proc / "stat").write_text(STAT)
    assert (counters.memory(), counters.cpu_seconds()) == OF_PSUTIL  # never of two kinds in a run


@pytest.mark.usefixtures("other_psutil")
@pytest.mark.parametrize("proc", [None, Path("/there is no such folder")], ids=["none", "gone"])
def test_a_system_without_these_files_is_left_to_psutil(proc: Path | None) -> None:
    counters = HostCounters(proc)
    assert (counters.memory(), counters.cpu_seconds()) == OF_PSUTIL


Ask = Callable[[psutil.Process | None], tuple[float | None, str | None]]


@pytest.fixture(params=["held", "psutil"])
def ask(request: pytest.FixtureRequest) -> Ask:
    """Either way to ask for a resident set."""
    return HostCounters().rss_mib if request.param == "held" else read_rss_mib


def test_the_resident_set_is_of_the_process_asked_about(
    ask: Ask, child: subprocess.Popen[bytes]
) -> None:
    process, own = psutil.Process(child.pid), psutil.Process()
    for _ in range(2):  # one after the other, on the same counters
        assert ask(process) == (process.memory_info().rss / 2**20, None)
        assert ask(own)[0] == pytest.approx(own.memory_info().rss / 2**20, abs=20)
    assert ask(None) == (None, "no process was asked about")


@pytest.mark.skipif(sys.platform == "win32", reason="Windows has no zombies")
def test_a_process_that_ended_has_no_resident_set_rather_than_zero(
    ask: Ask, child: subprocess.Popen[bytes]
) -> None:
    process = psutil.Process(child.pid)
    assert ask(process)[0]
    assert child.stdin is not None
    child.stdin.close()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    ended = (None, f"process {child.pid} has ended")
    assert ask(process) == ended  # not yet waited for: the system says 0
    child.wait()
    assert ask(process) == ended


def test_another_process_with_the_same_number_is_not_taken_for_it(
    monkeypatch: pytest.MonkeyPatch, child: subprocess.Popen[bytes]
) -> None:
    process = psutil.Process(child.pid)
    monkeypatch.setattr(process, "is_running", lambda: False)  # what psutil says of such a number
    asked: list[int] = []
    monkeypatch.setattr(process, "memory_info", lambda: asked.append(1) or SimpleNamespace(rss=0))
    assert HostCounters().rss_mib(process) == (None, f"process {child.pid} has ended")
    assert asked == [1]  # psutil's own check then, not the file of the newcomer


@on_linux
def test_the_files_are_closed_with_the_counters() -> None:
    def held() -> int:
        return len(os.listdir("/proc/self/fd"))

    before = held()
    counters = HostCounters()
    for _ in range(3):
        counters.rss_mib(psutil.Process())
    assert held() == before + 3  # memory, processor, and of the processes only the last
    del counters
    gc.collect()
    assert held() == before
