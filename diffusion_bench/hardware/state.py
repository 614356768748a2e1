"""The state of the machine around a cell: at rest before it, disturbed or slowed during it.

look_before > MachineState >
                             is_contended           throttle_share > is_throttled
other_load  > OtherLoad    >
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from statistics import fmean

from diffusion_bench.hardware.slow_host import ask_battery
from diffusion_bench.records import CpuSpent, GpuReading, MachineState, OtherLoad, Reading

# Reasons that mean the card cannot hold its speed. Left out: "sw_power_cap", which a GeForce at its
# stock limit shows in all heavy work, and the clocks that somebody set.
SLOWING = frozenset({"sw_thermal", "hw_thermal", "hw_power_brake", "hw_slowdown"})
THROTTLED_SHARE = 0.05  # of the readings: one look in a hundred is no label

IDLE_S = 0.5  # of looking at the quiet machine, before each cell and by the doctor
BUSY_GPU_PERCENT = 10.0  # a desktop that is left alone draws for a few percent
# The processor must be busier than a quarter of one core, and than a tenth of the machine. On 2
# cores the first counts (12.5 percent), and the sampler's own few percent stay below it. On 16 the
# second does, where a quarter of a core would be 1.6 percent, less than a desktop at rest.
BUSY_CORES = 0.25
BUSY_CPU_PERCENT = 10.0
# Systems count a core's time by ticks of up to 10 ms, so that less tells a few percent too much.
SHORTEST_BESIDE_S = 0.25

NO_READINGS = "there was no reading of the machine before the cell"
NOT_TOLD = "the process that ran it did not tell its own processor time"
TOO_SHORT = f"its calls took less than {SHORTEST_BESIDE_S:g} s together, or nobody looked"
NO_MAINS = "the system shows no battery, or not whether it is charged"
NO_GPU_USED = "the cell runs on no GPU that can be read"
MEANS = ("utilization_percent", "power_w")
LATEST = ("temperature_c", "power_limit_w", "sm_clock_mhz", "throttle_reasons")


def look_before(
    readings: Sequence[Reading],
    gpu_index: int | None,
    other_processes: tuple[int | None, str],
    on_battery: bool | None,
    *,
    own: CpuSpent | None = None,
    cores: int = 1,
) -> MachineState:
    """Return what the readings of the idle moment before a cell say together.

    `other_processes` is the answer of the sensor's question of that name. `own` is what this
    program's processes took of the processor in that moment, of so many logical `cores`: threads
    that have judged speech wind down in it, and are no other program's. Without it, and where too
    little was seen of the moment, theirs is in the load as well.
    """
    others, no_others = other_processes
    if gpu_index is None:
        others, no_others = None, NO_GPU_USED
    load_percent = _others_percent(readings, own, cores) if own is not None else None
    if load_percent is None:
        loads = [r.host.cpu_percent for r in readings if r.host.cpu_percent is not None]
        load_percent = fmean(loads) if loads else None
    reasons = {
        "cpu_percent": _why_no_load(readings) if load_percent is None else "",
        "on_battery": NO_MAINS if on_battery is None else "",
        "other_gpu_processes": no_others if others is None else "",
    }
    gpu, gpu_missing = _gpu_before(readings, gpu_index)
    host = MachineState(
        cpu_percent=load_percent,
        on_battery=on_battery,
        other_gpu_processes=others,
        missing={name: why for name, why in reasons.items() if why} | gpu_missing,
    )
    return host.model_copy(update=gpu)


def other_load(
    readings: Sequence[Reading],
    spent: Sequence[CpuSpent],
    other_processes: tuple[int | None, str],
    cores: int,
) -> OtherLoad:
    """Return what other programs did during the stretches in which a cell's process `spent` time.

    `readings` reach from before the first stretch to after the last. `other_processes` are the most
    that were on the GPU; `cores` are the logical ones.
    """
    told = [_others_percent(readings, one, cores) for one in spent]
    known = [percent for percent in told if percent is not None]
    reasons = {
        "cpu_percent": "" if known else TOO_SHORT if spent else NOT_TOLD,
        "gpu_processes": other_processes[1] if other_processes[0] is None else "",
    }
    return OtherLoad(
        cpu_percent=max(known, default=None),
        gpu_processes=other_processes[0],
        missing={name: why for name, why in reasons.items() if why},
    )


def _others_percent(readings: Sequence[Reading], spent: CpuSpent, cores: int) -> float | None:
    """Return the processor's load in a stretch less that of one process, `None` if none can tell.

    A reading's load is of the time since the one before it.
    """
    seen_s = busy_s = 0.0
    told = [(r.at_s, r.host.cpu_percent) for r in readings if r.host.cpu_percent is not None]
    for (before_s, _), (at_s, percent) in pairwise(told):
        within_s = max(0.0, min(at_s, spent.end_s) - max(before_s, spent.start_s))
        seen_s += within_s
        busy_s += within_s * percent / 100
    whole_s = spent.end_s - spent.start_s
    if whole_s < SHORTEST_BESIDE_S or seen_s < whole_s / 2:
        return None
    return max(0.0, 100 * (busy_s / seen_s - spent.cpu_s / whole_s / cores))


def throttle_share(readings: Sequence[Reading], gpu_index: int | None) -> dict[str, float]:
    """Return for each reason for lower clocks its share of the readings that tell; idling is none.

    Empty where there is no GPU, where it cannot tell, and where no reason was seen.
    """
    told = [gpu.throttle_reasons for gpu in _looks(readings, gpu_index)]
    known = [reasons for reasons in told if reasons is not None]
    seen = sorted({reason for reasons in known for reason in reasons} - {"gpu_idle"})
    return {name: sum(name in reasons for reasons in known) / len(known) for name in seen}


def joined_shares(parts: Sequence[tuple[Mapping[str, float], float]]) -> dict[str, float]:
    """Return the shares of several parts together; each part comes with what it weighs."""
    names = dict.fromkeys(name for shares, _ in parts for name in shares)
    whole = sum(weight for _, weight in parts)
    return {
        name: sum(weight * shares.get(name, 0.0) for shares, weight in parts) / whole
        for name in names
    }


def is_throttled(shares: Mapping[str, float]) -> bool:
    """Return whether heat or a brake slowed the card in more than a twentieth of the readings."""
    return any(share > THROTTLED_SHARE for name, share in shares.items() if name in SLOWING)


def is_contended(before: MachineState, cores: int, others: OtherLoad | None = None) -> str | None:
    """Return which other programs a cell had to share the machine with, `None` if none is known.

    `before` is the moment before it, `others` what was seen while its calls ran. `cores` are the
    logical ones, of which the processor's load is a share.
    """
    if before.other_gpu_processes:
        return f"{_programs(before.other_gpu_processes)} on the GPU before the cell"
    busy = before.gpu_utilization_percent
    if busy is not None and busy > BUSY_GPU_PERCENT:
        return f"the GPU was {busy:.0f} % busy before the cell"
    load = before.cpu_percent
    if load is not None and load > quiet_cpu_percent(cores):
        return f"the processor was {load:.0f} % busy before the cell"
    if others is not None and others.gpu_processes:
        return f"{_programs(others.gpu_processes)} on the GPU while it ran"
    if others is not None and (others.cpu_percent or 0.0) > quiet_cpu_percent(cores):
        return f"other programs took {others.cpu_percent:.0f} % of the processor while it ran"
    return None


def _programs(count: int) -> str:
    return f"{count} other {'program was' if count == 1 else 'programs were'}"


def quiet_cpu_percent(cores: int) -> float:
    """Return up to which load a processor of so many logical cores is at rest."""
    return max(BUSY_CPU_PERCENT, 100 * BUSY_CORES / cores)


def on_battery() -> bool | None:
    """Return whether the machine runs on battery, `None` where it cannot tell or has none."""
    battery = ask_battery()
    return None if battery is None or battery.power_plugged is None else not battery.power_plugged


def _gpu_before(
    readings: Sequence[Reading], gpu_index: int | None
) -> tuple[dict[str, object], dict[str, str]]:
    """Return the fields of the GPU, and the reason for each that is `None`."""
    looks = _looks(readings, gpu_index)
    found: dict[str, object] = {}
    missing: dict[str, str] = {}
    for name in (*MEANS, *LATEST):
        told = [value for look in looks if (value := getattr(look, name)) is not None]
        if told:
            found[f"gpu_{name}"] = fmean(told) if name in MEANS else told[-1]
        elif gpu_index is None:
            missing[f"gpu_{name}"] = NO_GPU_USED
        else:
            missing[f"gpu_{name}"] = (
                looks[-1].missing.get(name, NO_READINGS) if looks else NO_READINGS
            )
    return found, missing


def _looks(readings: Sequence[Reading], gpu_index: int | None) -> list[GpuReading]:
    return [gpu for reading in readings for gpu in reading.gpus if gpu.index == gpu_index]


def _why_no_load(readings: Sequence[Reading]) -> str:
    return readings[-1].host.missing.get("cpu_percent", NO_READINGS) if readings else NO_READINGS
