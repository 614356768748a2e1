"""A sweep in several rounds: the order of each, and what the visits of a cell add up to."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Any

from diffusion_bench.bench.measure import largest_memory
from diffusion_bench.hardware.state import joined_shares
from diffusion_bench.records import MAX_PROBES, OtherLoad, Request, SpeedProbe
from diffusion_bench.reports.schema import MAX_CELL_NOTES, Cell, Energy
from diffusion_bench.reports.schema_cell import MAX_MESSAGE

SAMPLED_BY = {"sampler", "eta"}  # what cells that are compared within a sweep differ in
FIRST_KNOWN = ("load_s", "first_call_s", "sustained", "attention", "ceiling", "compile_s")


def in_turn(
    cells: Iterable[tuple[str, Request]], round_index: int
) -> Iterator[tuple[str, Request]]:
    """Yield named cells in the plan's order, samplers of one shape turned in every second round.

    So each of two samplers is as often the first of both: what drifts, and what one leaves to the
    next, favours neither. Shapes keep their places, so that a cell's visits stay as far apart.
    """
    for _, shape in groupby(cells, lambda cell: cell[1].model_dump(exclude=SAMPLED_BY)):
        same = tuple(shape)
        yield from reversed(same) if round_index % 2 else same


def joined(earlier: Cell, now: Cell) -> Cell:
    """Return the cell of all visits, at the place and the beginning of the first.

    One that failed now is a failed cell, which keeps what the visits before it measured.
    """
    if now.status != "ok":
        return _failed_after(earlier, now)
    place = {"order": earlier.order, "started_utc": earlier.started_utc}
    first = {name: getattr(earlier, name) for name in FIRST_KNOWN}
    known = {name: value for name, value in first.items() if value is not None}
    is_metered = now.energy is not None and now.energy.calls is not None
    energy = now.energy if is_metered else _joined_energy(earlier.energy, now.energy)
    update: dict[str, Any] = {
        **known,
        **place,
        "visits": earlier.visits + now.visits,
        "samples": earlier.samples + now.samples,
        "warmup_s": earlier.warmup_s + now.warmup_s,
        "machine_speed": earlier.machine_speed + _later(now.machine_speed, len(earlier.visits)),
        "memory": largest_memory([earlier.memory, now.memory]),
        "notes": tuple(dict.fromkeys(earlier.notes + now.notes))[:MAX_CELL_NOTES],
        "throttle_share": _joined_shares(earlier, now),
        **_disturbed(earlier, now),
        "energy": energy,
    }
    both = now.model_copy(update=update)
    missing = earlier.missing | now.missing
    if not is_metered:
        missing |= _why_no_energy(earlier.energy, now.energy, energy)
    # What one visit lacked, another may have had.
    lacking = {
        name: why for name, why in missing.items() if getattr(both, name, None) in (None, ())
    }
    return both.model_copy(update={"missing": lacking})


def _failed_after(earlier: Cell, now: Cell) -> Cell:
    """Return the cell of earlier visits with how the one after them ended.

    Their readings stand in the line that this one replaces: they are not held all the while.
    """
    count = len(earlier.samples)
    calls = "1 timed call is" if count == 1 else f"{count} timed calls are"
    kept = f"; {calls} kept of earlier visits"
    missing = {"stop_reason": f"a visit ended as {now.status}", "trace": "it ended in this visit"}
    return earlier.model_copy(
        update={
            "status": now.status,
            "message": now.message[: MAX_MESSAGE - len(kept)] + kept,
            "stage": now.stage,
            "asked_mib": now.asked_mib,
            **_disturbed(earlier, now),
            "missing": earlier.missing | missing,
        }
    )


def _disturbed(earlier: Cell, now: Cell) -> dict[str, Any]:
    """Return what is told of the machine around all visits, however the last one ended."""
    return {
        "labels": tuple(dict.fromkeys(earlier.labels + now.labels)),
        "before": now.before if _is_first_busy(earlier, now) else earlier.before,
        "others": _joined_others(earlier.others, now.others),
    }


def _later(probes: tuple[SpeedProbe, ...], visits: int) -> tuple[SpeedProbe, ...]:
    """Return probes with their visits counted from the cell's first one."""
    return tuple(
        probe.model_copy(update={"visit": probe.visit + visits})
        for probe in probes
        if probe.visit + visits < MAX_PROBES
    )


def _is_first_busy(earlier: Cell, now: Cell) -> bool:
    return "contended" in now.labels and "contended" not in earlier.labels


def _joined_shares(earlier: Cell, now: Cell) -> dict[str, float]:
    """Return the shares of all readings, each visit weighing as much as it has calls."""
    return joined_shares([(cell.throttle_share, len(cell.samples)) for cell in (earlier, now)])


def _joined_others(earlier: OtherLoad | None, now: OtherLoad | None) -> OtherLoad | None:
    """Return the most that other programs did in either visit."""
    if earlier is None or now is None:
        return earlier or now
    names = [name for name in OtherLoad.model_fields if name != "missing"]
    found: dict[str, Any] = {}
    for name in names:
        told = [getattr(visit, name) for visit in (earlier, now)]
        found[name] = max((each for each in told if each is not None), default=None)
    missing = earlier.missing | now.missing
    return OtherLoad(
        **found, missing={n: why for n, why in missing.items() if found.get(n) is None}
    )


def _why_no_energy(
    earlier: Energy | None, now: Energy | None, both: Energy | None
) -> dict[str, str]:
    """Return why what one visit measured, or both did, is not known of them together."""
    if earlier is None or now is None:
        return {}
    if both is None:
        return {"energy": f"measured by {earlier.method} in one visit, by {now.method} in another"}
    known = [visit.net_j is not None for visit in (earlier, now)]
    if any(known) and not all(known):
        return {"net_j": "not every visit saw the machine at rest for long enough"}
    return {}


def _joined_energy(earlier: Energy | None, now: Energy | None) -> Energy | None:
    """Return the energy of both windows, `None` unless both were measured in the same way."""
    if earlier is None or now is None:
        return None
    if (earlier.method, earlier.scope) != (now.method, now.scope):
        return None
    window_s = earlier.window_s + now.window_s
    parts = (earlier, now)
    idle_j = [p.idle_power_w * p.window_s for p in parts if p.idle_power_w is not None]
    net = [part.net_j for part in parts if part.net_j is not None]
    unsure = [part.uncertainty_j for part in parts if part.uncertainty_j is not None]
    return Energy(
        total_j=earlier.total_j + now.total_j,
        window_s=window_s,
        method=now.method,
        scope=now.scope,
        idle_power_w=sum(idle_j) / window_s if len(idle_j) == 2 else None,
        net_j=sum(net) if len(net) == 2 else None,
        uncertainty_j=sum(unsure) if len(unsure) == 2 else None,
    )
