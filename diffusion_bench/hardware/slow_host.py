"""What of the host moves slowly or is slow to tell: clock, each core, swap, disk, battery."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil

MIB = 2**20

FIRST_LOOK = "processor use is counted between two looks; this is the first"
TOO_SHORT = "the previous look was too short ago"
NO_CPU = "the system does not tell the processor's time"
NO_CLOCK = "the system does not tell the clock"
NO_DISK = "the system does not tell the disk's counters"
NOT_KEPT = "a sweep keeps none of it and does not ask"
RARE_EVERY_S = 10.0  # swap, free disk and battery
DISK_LIMIT_S = 0.5
DISK_HANGS = "the working folder's disk does not answer"
NO_BATTERY = "the system shows no battery"
NO_MAINS = "the battery does not tell whether it is charged"

# What psutil raises where a file of the system is not there, or says other things than usual.
UNTOLD = (OSError, RuntimeError, ValueError, LookupError)

SlowLook = tuple[dict[str, Any], dict[str, str]]  # the fields, and the reason for each without one
CpuSeconds = tuple[float, float]  # busy, all


FIELDS = (
    *("core_percents", "cpu_clock_mhz", "swap_used_mib", "swap_total_mib", "disk_free_mib"),
    *("disk_read_mib", "disk_written_mib", "battery_percent", "on_battery"),
)
LEFT_OUT: SlowLook = {}, dict.fromkeys(FIELDS, NOT_KEPT)


class SlowHost:
    """Looks at the slow fields of a `HostReading`; the cores are counted between two looks.

    Swap, free disk and battery are asked again after ten seconds.
    """

    def __init__(
        self, folder: Path | None = None, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder or Path.cwd()
        self._clock = clock
        self._cores_before: list[CpuSeconds] = []
        self._rare: SlowLook = {}, {}
        self._rare_at_s: float | None = None
        self._disk: SlowLook = {}, {}
        self._disk_thread: threading.Thread | None = None

    def look(self) -> SlowLook:
        """Return the fields that could be told, and the reason for every other."""
        now_s = self._clock()
        if self._rare_at_s is None or now_s - self._rare_at_s >= RARE_EVERY_S:
            self._rare = _together(_swap(), self._free_disk(), _battery())
            self._rare_at_s = now_s
        return _together(self._cores(), _clock(), _disk_traffic(), self._rare)

    def _cores(self) -> SlowLook:
        """Return the busy share of each logical core since the last look."""
        try:
            now = [cpu_seconds(times) for times in psutil.cpu_times(percpu=True)]
        except UNTOLD as error:
            return {}, {"core_percents": f"{NO_CPU} ({error})"}
        before, self._cores_before = self._cores_before, now
        if len(before) != len(now):  # the first look, or a core was taken off line
            return {}, {"core_percents": FIRST_LOOK}
        if any(later[1] <= earlier[1] for earlier, later in zip(before, now, strict=True)):
            self._cores_before = before
            return {}, {"core_percents": TOO_SHORT}
        shares = (busy_percent(*pair) for pair in zip(before, now, strict=True))
        return {"core_percents": tuple(shares)}, {}

    def _free_disk(self) -> SlowLook:
        """Ask in a thread that nobody waits for long: a network's disk may hang for minutes."""
        if self._disk_thread is None or not self._disk_thread.is_alive():
            self._disk_thread = threading.Thread(target=self._ask_disk, daemon=True)
            self._disk_thread.start()
            self._disk_thread.join(DISK_LIMIT_S)
        return ({}, {"disk_free_mib": DISK_HANGS}) if self._disk_thread.is_alive() else self._disk

    def _ask_disk(self) -> None:
        try:
            self._disk = {"disk_free_mib": psutil.disk_usage(str(self._folder)).free / MIB}, {}
        except OSError as error:
            why = f"the disk does not tell ({error.strerror or error})"
            self._disk = {}, {"disk_free_mib": why}


def _together(*looks: SlowLook) -> SlowLook:
    found: dict[str, Any] = {}
    missing: dict[str, str] = {}
    for told, reasons in looks:
        found |= told
        missing |= reasons
    return found, missing


def cpu_seconds(times: Any) -> CpuSeconds:
    """Return the busy and all seconds of psutil's `times`; waiting for a disk is not busy."""
    # Linux counts the time of virtual machines within user time too.
    total = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return total - times.idle - getattr(times, "iowait", 0.0), total


def busy_percent(before: CpuSeconds, now: CpuSeconds) -> float:
    """Return the busy share of the time between two looks, which must have moved."""
    return min(100.0, max(0.0, 100 * (now[0] - before[0]) / (now[1] - before[1])))


def _clock() -> SlowLook:
    clock_mhz, reason = ask_cpu_clock_mhz()
    return ({}, {"cpu_clock_mhz": reason}) if reason else ({"cpu_clock_mhz": clock_mhz}, {})


def ask_cpu_clock_mhz() -> tuple[float | None, str | None]:
    """Return the cores' mean clock now, or `None` and the reason."""
    if not sys.platform.startswith("linux"):
        return None, "this system tells the nominal clock, not the current one"
    try:
        clock = psutil.cpu_freq()
    except UNTOLD as error:
        return None, f"{NO_CLOCK} ({error})"
    if clock is None or not clock.current:
        return None, NO_CLOCK
    return clock.current, None


def _swap() -> SlowLook:
    try:
        swap = psutil.swap_memory()
    except UNTOLD as error:
        reason = f"the system does not tell its swap ({error})"
        return {}, dict.fromkeys(("swap_used_mib", "swap_total_mib"), reason)
    return {"swap_used_mib": swap.used / MIB, "swap_total_mib": swap.total / MIB}, {}


def _disk_traffic() -> SlowLook:
    names = ("disk_read_mib", "disk_written_mib")
    try:
        counters = psutil.disk_io_counters()
    except UNTOLD as error:
        return {}, dict.fromkeys(names, f"{NO_DISK} ({error})")
    if counters is None:
        return {}, dict.fromkeys(names, NO_DISK)
    return {
        "disk_read_mib": counters.read_bytes / MIB,
        "disk_written_mib": counters.write_bytes / MIB,
    }, {}


def _battery() -> SlowLook:
    names = ("battery_percent", "on_battery")
    battery = ask_battery()
    if battery is None:
        return {}, dict.fromkeys(names, NO_BATTERY)
    if battery.power_plugged is None:
        return {"battery_percent": float(battery.percent)}, {"on_battery": NO_MAINS}
    return {"battery_percent": float(battery.percent), "on_battery": not battery.power_plugged}, {}


def ask_battery() -> Any:
    """Return psutil's battery, `None` where there is none or the system cannot tell."""
    ask: Callable[[], Any] | None = getattr(psutil, "sensors_battery", None)
    try:
        return None if ask is None else ask()
    except UNTOLD:  # some containers
        return None
