"""The processor and the memory of this machine, and of one process."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path

import psutil

from diffusion_bench.hardware.host_counters import HostCounters, Memory
from diffusion_bench.hardware.powercap import ROOT, PackageEnergy
from diffusion_bench.hardware.slow_host import (
    FIRST_LOOK,
    LEFT_OUT,
    NO_CPU,
    TOO_SHORT,
    UNTOLD,
    SlowHost,
    SlowLook,
    busy_percent,
)
from diffusion_bench.records import HostReading, Record, trusted

MIB = 2**20
SLOW_EVERY_S = 1.0  # Linux may take milliseconds a core to tell its clock
SECOND_AFTER_S = 0.1  # the second look comes sooner: only it can tell of the cores


class PeakRss(Record):
    """The peak resident set of this process: since `reset_peak_rss`, else since its start."""

    mib: float | None = None
    since_reset: bool = False
    missing: str | None = None


class HostSensor:
    """Reads the host. Processor use is counted since the sensor's previous look.

    `powercap` is where Linux shows the processors' energy counters, `folder` what the free disk is
    of. What moves slowly, or is slow to tell, is asked once a second or less: the clock, the cores
    each on its own, swap, disk and battery. `slow`: whether it is asked at all; a sweep keeps none.
    """

    def __init__(
        self,
        clock: Callable[[], float] = time.monotonic,
        powercap: Path = ROOT,
        folder: Path | None = None,
        *,
        slow: bool = True,
    ) -> None:
        self._clock = clock
        self._counters = HostCounters()
        self._energy = PackageEnergy(powercap)
        self._busy_before: tuple[float, float] | None = None
        self._slow = SlowHost(folder, clock) if slow else None
        self._slow_at_s: float | None = None
        self._told: SlowLook = {}, {}
        self._missing: dict[str, str] = {}  # one for all readings that lack the same
        self._missing_of: tuple[object, ...] = ()  # what that was put together from

    def read(self, process: psutil.Process | None = None) -> HostReading:
        """Return one look at the host, and at `process` if there is one. Never waits."""
        memory, no_memory = self._memory()
        cpu_percent, no_cpu = self._cpu_percent()
        rss_mib, no_rss = self._counters.rss_mib(process)
        package_energy_j, no_energy = self._energy.read_j()
        slow, no_slow = self._slow_look()
        parts = (no_memory, no_cpu, no_energy, no_rss, no_slow)
        if parts != self._missing_of:
            reasons = {"cpu_percent": no_cpu, "package_energy_j": no_energy, "rss_mib": no_rss}
            reasons |= {"ram_used_mib": no_memory, "ram_total_mib": no_memory}
            told = {name: reason for name, reason in reasons.items() if reason}
            self._missing, self._missing_of = told | no_slow, parts
        return trusted(
            HostReading,
            cpu_percent=cpu_percent,
            package_energy_j=package_energy_j,
            ram_used_mib=memory and memory.used_mib,
            ram_total_mib=memory and memory.total_mib,
            rss_mib=rss_mib,
            **slow,
            missing=self._missing,
        )

    def _memory(self) -> tuple[Memory | None, str | None]:
        try:
            return self._counters.memory(), None
        except UNTOLD as error:
            return None, f"the system does not tell its memory ({error})"

    def _cpu_percent(self) -> tuple[float | None, str | None]:
        """Return the busy share since the last look. psutil's own answers 0 to a first look."""
        try:
            now = self._counters.cpu_seconds()
        except UNTOLD as error:
            return None, f"{NO_CPU} ({error})"
        before, self._busy_before = self._busy_before, now
        if before is None:
            return None, FIRST_LOOK
        if now[1] <= before[1]:
            self._busy_before = before
            return None, TOO_SHORT
        return busy_percent(before, now), None

    def _slow_look(self) -> SlowLook:
        if self._slow is None:
            return LEFT_OUT
        now_s = self._clock()
        is_first = self._told[1].get("core_percents") == FIRST_LOOK
        every_s = SECOND_AFTER_S if is_first else SLOW_EVERY_S
        if self._slow_at_s is None or now_s - self._slow_at_s >= every_s:
            self._told = self._slow.look()
            self._slow_at_s = now_s
        return self._told


def processor_s(pids: Iterable[int]) -> float | None:
    """Return what processes have taken of the processor since each began, with their threads.

    Seconds, in ticks of up to 10 ms a process; `None` where one is gone or is another user's.
    """
    try:
        times = [psutil.Process(pid).cpu_times() for pid in pids]
    except (psutil.Error, OSError):
        return None
    return float(sum(each.user + each.system for each in times))


def reset_peak_rss() -> bool:
    """Start the peak resident set of this process anew; return whether this system can (Linux)."""
    if not sys.platform.startswith("linux"):
        return False
    try:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # proc_pid_clear_refs(5)
    except OSError:
        return False
    return True


def read_peak_rss(*, since_reset: bool) -> PeakRss:
    """Return the peak resident set; `since_reset` is what `reset_peak_rss` answered."""
    try:
        peak_mib = _peak_mib()
    except (OSError, ValueError) as error:
        return PeakRss(missing=f"the system does not tell the peak ({error})")
    if since_reset:
        return PeakRss(mib=peak_mib, since_reset=True)
    return PeakRss(mib=peak_mib, missing="the peak since the process started: it cannot be reset")


def _peak_mib() -> float:
    if sys.platform.startswith("linux"):
        for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
        raise ValueError("/proc/self/status has no VmHWM")
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset / MIB
    import resource  # POSIX only

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / MIB if sys.platform == "darwin" else peak / 1024
