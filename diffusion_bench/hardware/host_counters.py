"""What is asked of the host at every look: memory, processor time, a process's resident set.

On Linux these are three files of /proc, held open and read from their start. psutil opens each
anew and parses all of it: three times the processor time where the caches are others', as they are
at 10 looks a second beside a model (docs/lab-notes.md). What a file does not begin with as the
manual says, and every other system, is left to psutil.
"""

from __future__ import annotations

import os
import sys
import weakref
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple, TypeVar

import psutil

from diffusion_bench.hardware.slow_host import CpuSeconds, cpu_seconds

MIB = 2**20
PROC: Path | None = Path("/proc") if sys.platform.startswith("linux") else None
HEAD_BYTES = 512  # of a file: what is asked for stands in its first three lines
NOT_ASKED = "no process was asked about"
UNREADABLE = (OSError, ValueError, IndexError)

T = TypeVar("T")


class Memory(NamedTuple):
    """The host's memory; in use is what a program that asks for some could not have."""

    used_mib: float
    total_mib: float


class HeldFile:
    """A file of the kernel's that stays open. Raises OSError where it cannot be opened or read."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_RDONLY)
        weakref.finalize(self, os.close, self._descriptor)

    def words(self, count: int) -> list[bytes]:
        """Return its first words as they are now, `count` at most."""
        return os.pread(self._descriptor, HEAD_BYTES, 0).split(None, count)[:count]


class HostCounters:
    """Reads the counters; `proc` is where Linux shows them, `None` asks psutil for all of them."""

    def __init__(self, proc: Path | None = PROC) -> None:
        self._proc = proc
        self._heads = {name: self._hold(name) for name in ("meminfo", "stat")}
        self._watched: tuple[psutil.Process | None, HeldFile | None] = None, None

    def memory(self) -> Memory:
        """Return the memory in use and all of it."""
        if told := self._head("meminfo", 8, _memory):
            return told
        memory = psutil.virtual_memory()
        return Memory((memory.total - memory.available) / MIB, memory.total / MIB)

    def cpu_seconds(self) -> CpuSeconds:
        """Return the busy and all seconds of all cores together."""
        if told := self._head("stat", 9, _cpu_seconds):
            return told
        return cpu_seconds(psutil.cpu_times())

    def rss_mib(self, process: psutil.Process | None) -> tuple[float | None, str | None]:
        """Return the resident set of `process`, or `None` and the reason."""
        watched, statm = self._watched
        if process is not watched:
            statm = self._hold_statm(process)
            self._watched = process, statm
        if process is None or statm is None:
            return read_rss_mib(process)
        try:
            pages = int(statm.words(2)[1])  # proc_pid_statm(5)
        except ProcessLookupError:
            return _resident(process, 0)
        except UNREADABLE:
            self._watched = process, None
            return read_rss_mib(process)
        return _resident(process, pages * os.sysconf("SC_PAGESIZE"))

    def _head(self, name: str, count: int, read: Callable[[list[bytes]], T]) -> T | None:
        """Return what a file's first words say; `None` from the first time on that they do not."""
        held = self._heads[name]
        try:
            return None if held is None else read(held.words(count))
        except UNREADABLE:
            self._heads[name] = None
            return None

    def _hold(self, name: str) -> HeldFile | None:
        try:
            return HeldFile(self._proc / name) if self._proc else None
        except OSError:
            return None

    def _hold_statm(self, process: psutil.Process | None) -> HeldFile | None:
        """Hold a process's file, which stays that process's when another gets its number."""
        statm = self._hold(f"{process.pid}/statm") if process else None
        return statm if process and process.is_running() else None


def read_rss_mib(process: psutil.Process | None) -> tuple[float | None, str | None]:
    """Return the resident set of `process` through psutil, or `None` and the reason."""
    if process is None:
        return None, NOT_ASKED
    try:
        return _resident(process, process.memory_info().rss)
    except psutil.NoSuchProcess:
        return _resident(process, 0)
    except psutil.AccessDenied:
        return None, f"this user may not look at process {process.pid}"


def _resident(process: psutil.Process, rss_bytes: int) -> tuple[float | None, str | None]:
    # A process that has ended and was not yet waited for reads 0.
    if rss_bytes:
        return rss_bytes / MIB, None
    return None, f"process {process.pid} has ended"


def _memory(words: Sequence[bytes]) -> Memory:
    """Return what the first words of /proc/meminfo say; raise where they are others (proc(5)).

    Kernels before 3.14 have no MemAvailable, and some containers show more of it than there is.
    """
    if (words[0], words[6]) != (b"MemTotal:", b"MemAvailable:"):
        raise ValueError("not the first lines of /proc/meminfo")
    total_mib, available_mib = int(words[1]) / 1024, int(words[7]) / 1024
    if available_mib > total_mib:
        raise ValueError("more memory available than there is")
    return Memory(total_mib - available_mib, total_mib)


def _cpu_seconds(words: Sequence[bytes]) -> CpuSeconds:
    """Return what the first line of /proc/stat says; raise where it is another (proc(5)).

    Its words: user, nice, system, idle, iowait, irq, softirq, steal. A guest's time, which follows,
    is within user and nice.
    """
    if words[0] != b"cpu":
        raise ValueError("not the first line of /proc/stat")
    ticks = [int(word) for word in words[1:9]]
    second, total = os.sysconf("SC_CLK_TCK"), sum(ticks)
    return (total - ticks[3] - ticks[4]) / second, total / second
