"""What held a cell back: one verdict from its status, labels, trace and counted work.

A pure function of a report. It lies here because it needs both `reports` and `tiers`, which do not
import each other. docs/methodology.md explains each rule and where its threshold comes from.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

from diffusion_bench.charts.reached import Reached, rate, reached
from diffusion_bench.hardware.state import SLOWING, THROTTLED_SHARE, is_contended
from diffusion_bench.records import MachineState, Record
from diffusion_bench.records.figures import figure
from diffusion_bench.reports.labels import is_gpu
from diffusion_bench.reports.memory_fit import fit_verdict
from diffusion_bench.reports.schema import Cell, Report, SharedCell
from diffusion_bench.reports.stage_readings import gpu_of
from diffusion_bench.reports.timed_readings import busy_percent, power_w

Verdict = Literal[
    "compute-bound",
    "memory-bandwidth-bound",
    "launch-bound (CPU)",
    "power-limited",
    "thermally throttled",
    "out of memory",
    "memory pressure",
    "contended",
    "cannot tell",
]
CANNOT_TELL: Verdict = "cannot tell"

HEAT = ("sw_thermal", "hw_thermal")
BRAKE = "hw_power_brake"
POWER_CAP = "sw_power_cap"
POWER_CAP_SHARE = 0.5  # of the readings: the cap was the rule, not the exception
AT_THE_LIMIT = 0.97  # of the power limit, where the driver tells no reasons
BUSY_PERCENT = 80.0  # below, the GPU had nothing to do for a fifth of the time
EXPLAINED = 0.5  # of a step, by its counted work at the rates such networks get
APART = 1.25  # times: the rates of both are known to about 15 percent each
SHORT = ("tight", "spilled")  # of `reports/memory_fit.py`
DISTURBED = 1.1  # times a test's result: then the test was disturbed, not the model fast


class HeldBack(Record):
    """What held a cell back, and the evidence in one sentence; of "cannot tell", the reason."""

    verdict: Verdict
    evidence: str


Rule = Callable[[Cell, Report], HeldBack | None]


def held_back(cell: Cell, report: Report) -> HeldBack:
    """Return what held a cell back: the first rule that says something."""
    for rule in RULES:
        found = rule(cell, report)
        if found is not None:
            return found
    return work_rule(cell, report)


def held_back_together(cell: SharedCell, report: Report) -> HeldBack:
    """Return what is known of a cell of several devices, of which no steps are stored."""
    if cell.status == "oom":
        evidence = cell.message or "memory ran out on one of the devices"
        return HeldBack(verdict="out of memory", evidence=evidence)
    if not cell.wall_s:
        return _cannot(f"the cell is {cell.status} and has no timed start")
    return contended_rule(cell, report) or _cannot(
        "of several devices at once neither steps nor stages are stored"
    )


def in_words(cell: Cell, report: Report) -> tuple[str, str]:
    """Return verdict and evidence, as exports take them."""
    found = held_back(cell, report)
    return found.verdict, found.evidence


def memory_rule(cell: Cell, report: Report) -> HeldBack | None:
    """Return that memory ran out, and where."""
    if cell.status != "oom":
        return None
    where = f"in the stage {cell.stage!r}" if cell.stage else "in a stage that is not known"
    asked = f", asking for {cell.asked_mib:.0f} MiB more" if cell.asked_mib is not None else ""
    return HeldBack(verdict="out of memory", evidence=f"memory ran out {where}{asked}")


def failure_rule(cell: Cell, report: Report) -> HeldBack | None:
    """Return that a cell which ended for another reason, or timed nothing, tells nothing."""
    if cell.status == "ok" and cell.samples:
        return None
    lacking = "" if cell.samples else " and has no timed call"
    return _cannot(f"the cell is {cell.status}{lacking}")


def contended_rule(cell: Cell | SharedCell, report: Report) -> HeldBack | None:
    """Return that others used the machine, by the cell's label."""
    if "contended" not in cell.labels:
        return None
    before = cell.before or MachineState()
    why = is_contended(before, report.header.machine.cores_logical, cell.others)
    return HeldBack(verdict="contended", evidence=why or "the report marks the cell as contended")


def heat_rule(cell: Cell, report: Report) -> HeldBack | None:
    """Return that heat lowered the clocks, by the driver's own reasons."""
    shares = {name: share for name, share in _slowing(cell).items() if name in HEAT}
    if not shares:
        return None
    return HeldBack(
        verdict="thermally throttled",
        evidence=f"heat lowered the clocks in {_shares(shares)} of the readings"
        + _heat(cell, report),
    )


def power_rule(cell: Cell, report: Report) -> HeldBack | None:
    """Return that the power limit or a power brake lowered the clocks."""
    brake = _slowing(cell).get(BRAKE)
    if brake is not None:
        evidence = f"the power supply's brake lowered the clocks in {brake:.0%} of the readings"
        return HeldBack(verdict="power-limited", evidence=evidence)
    drawn_w, limit_w = power_w(cell, report), _limit_w(cell)
    watts = f"; it drew {drawn_w:.0f} W" if drawn_w is not None else ""
    watts += f" of {limit_w:.0f} W allowed" if watts and limit_w is not None else ""
    share = cell.throttle_share.get(POWER_CAP, 0.0)
    if share >= POWER_CAP_SHARE:
        evidence = f"the power limit lowered the clocks in {share:.0%} of the readings{watts}"
        return HeldBack(verdict="power-limited", evidence=evidence)
    told = cell.before is not None and cell.before.gpu_throttle_reasons is not None
    if told or drawn_w is None or limit_w is None or drawn_w < AT_THE_LIMIT * limit_w:
        return None
    evidence = f"the driver tells no reasons for its clocks{watts}"
    return HeldBack(verdict="power-limited", evidence=evidence)


def slowdown_rule(cell: Cell, report: Report) -> HeldBack | None:
    """Return that the card was slowed and does not say by what: heat and power share one reason."""
    shares = _slowing(cell)
    if not shares and "throttled" not in cell.labels:
        return None
    seen = f" in {_shares(shares)} of the readings" if shares else ""
    return _cannot(f"the card slowed itself{seen} and does not say whether for heat or power")


def launch_rule(cell: Cell, report: Report) -> HeldBack | None:
    """Return that the GPU waited for the processor, or that it waited and nobody knows for what."""
    if not is_gpu(report.header):
        return None
    busy, point = busy_percent(cell, report), reached(cell, report)[0]
    launching = point and point.host_s is not None and point.host_s / point.step_s
    if busy is None:
        if launching and launching >= EXPLAINED:
            return _cannot(
                f"launching takes about {launching:.0%} of a step, and the driver told no "
                "utilisation, which would tell waiting from working"
            )
        return None
    if busy >= BUSY_PERCENT:
        return None
    waits = f"the GPU was busy in {busy:.0f} % of the time"
    if point is None or point.host_s is None:
        return _cannot(f"{waits}, and how many kernels a step launches is not known")
    kernels = (
        f"launching a step's {point.launches:.0f} kernels takes the processor about "
        f"{figure(1000 * point.host_s, 3)} of {figure(1000 * point.step_s, 3)} ms"
    )
    if point.host_s / point.step_s >= EXPLAINED:
        return HeldBack(verdict="launch-bound (CPU)", evidence=f"{waits}, and {kernels}")
    return _unexplained(cell, report, f"{waits}, and {kernels}", ": something else kept it waiting")


def battery_rule(cell: Cell, report: Report) -> HeldBack | None:
    """Return that a battery caps power in ways that no counter names."""
    if "on battery" not in cell.labels:
        return None
    return _cannot("the machine ran on battery, which lowers clocks without a reason in a counter")


def work_rule(cell: Cell, report: Report) -> HeldBack:
    """Return which of arithmetic and memory traffic takes the longer, if they explain a step."""
    point, why = reached(cell, report)
    if point is None:
        return _cannot(why)
    if not is_gpu(report.header):
        return _by_processor(point)
    if point.explained >= EXPLAINED:
        return _by_card(point)
    times = f"a step takes {1 / point.explained:.1f} times what its work takes on such a card"
    return _unexplained(cell, report, f"{_rates(point)}; {times}", ", and no counter says why")


RULES: tuple[Rule, ...] = (
    memory_rule,
    failure_rule,
    contended_rule,
    heat_rule,
    power_rule,
    slowdown_rule,
    launch_rule,
    battery_rule,
)


def _by_card(point: Reached) -> HeldBack:
    is_arithmetic = point.arithmetic_s > point.traffic_s
    verdict: Verdict = "compute-bound" if is_arithmetic else "memory-bandwidth-bound"
    longer, shorter = sorted((point.arithmetic_s, point.traffic_s), reverse=True)
    names = ("arithmetic", "memory traffic") if is_arithmetic else ("memory traffic", "arithmetic")
    evidence = (
        f"{_rates(point)}; at the rates such networks get {names[0]} takes "
        f"{figure(longer / shorter, 2)} times as long as {names[1]}"
    )
    if longer < APART * shorter:
        return _cannot(f"{evidence}, too near to tell them apart")
    return HeldBack(verdict=verdict, evidence=evidence)


def _unexplained(cell: Cell, report: Report, seen: str, nothing: str) -> HeldBack:
    """Return that memory was short, where the allocator says so; else that `nothing` says why.

    It counts a retry where cudaMalloc refused: it waits for the GPU, frees the blocks that it kept
    and asks again (PyTorch, c10/cuda/CUDACachingAllocator.cpp). What that took is not counted.
    """
    retries = cell.memory.alloc_retries
    if not retries:
        return _cannot(seen + nothing)
    fit = fit_verdict(cell, report.header)
    often = "once" if retries == 1 else f"{retries} times"
    evidence = (
        f"{seen}; torch's allocator was refused memory {often} in one call and waited for the GPU "
        f"to free what it kept; {fit.reason}"
    )
    verdict: Verdict = "memory pressure" if fit.verdict in SHORT else CANNOT_TELL
    return HeldBack(verdict=verdict, evidence=evidence)


def _by_processor(point: Reached) -> HeldBack:
    """Return the limit that is near; a copy says nothing of traffic that caches serve."""
    arithmetic, traffic = point.arithmetic_share, point.traffic_share
    rates = _rates(point)
    if arithmetic > DISTURBED:
        return _cannot(f"{rates}: more than the test, which must have been disturbed")
    in_memory = traffic <= DISTURBED
    if in_memory and traffic >= max(EXPLAINED, arithmetic):
        return HeldBack(verdict="memory-bandwidth-bound", evidence=rates)
    if arithmetic >= EXPLAINED:
        return HeldBack(verdict="compute-bound", evidence=rates)
    cached = "" if in_memory else "; more bytes than a copy moves, so that caches served them"
    return _cannot(f"{rates}: near neither limit{cached}")


def _rates(point: Reached) -> str:
    """Return what was reached of both limits."""
    arithmetic = f"{rate(point.flops_a_second, 'FLOP')} ({point.arithmetic_share:.0%} of the limit)"
    traffic = f"{rate(point.bytes_a_second, 'B')} ({point.traffic_share:.0%})"
    return f"a step reached {arithmetic} and moved {traffic}"


def _cannot(why: str) -> HeldBack:
    return HeldBack(verdict=CANNOT_TELL, evidence=why)


def _slowing(cell: Cell) -> dict[str, float]:
    """Return the reasons that mean a card cannot hold its speed, seen often enough to count."""
    shares = cell.throttle_share.items()
    return {name: share for name, share in shares if name in SLOWING and share > THROTTLED_SHARE}


def _shares(shares: dict[str, float]) -> str:
    return ", ".join(f"{share:.0%} ({name})" for name, share in shares.items())


def _heat(cell: Cell, report: Report) -> str:
    """Return the highest temperature that was read, in words."""
    gpu = gpu_of(cell, report.header)
    read = [value for value in gpu.temperature_c if value is not None] if gpu else []
    return f"; up to {max(read):.0f} °C" if read else ""


def _limit_w(cell: Cell) -> float | None:
    return cell.before.gpu_power_limit_w if cell.before else None
