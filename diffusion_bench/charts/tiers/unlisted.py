"""What a device can run that no table lists: a processor, or a card that nobody has described.

Its memory is known, so that verdicts can be predicted. Times come from what this machine has
measured on it, or from nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from diffusion_bench.charts.tiers.left_out import LeftOut, left_out_words
from diffusion_bench.charts.tiers.runnable import (
    NO_ROOM,
    Room,
    Runnable,
    largest_batch,
    usual_workloads,
)
from diffusion_bench.tiers.cards import GIVEN
from diffusion_bench.tiers.evidence import Evidence
from diffusion_bench.tiers.knowledge import MIN_OWN_CELLS
from diffusion_bench.tiers.memory import CONTEXT_MIB, RAM_SHARE, fit_of
from diffusion_bench.tiers.rows import need_of
from diffusion_bench.tiers.workload import Software, TimedCell, Workload


class Measured(NamedTuple):
    """What this machine has measured on a device: `device` names it in a sentence.

    `left_out` are those of its cells that say nothing.
    """

    cells: Sequence[TimedCell]
    device: str
    on_gpu: bool = False
    left_out: Sequence[LeftOut] = ()


def runnable_on_processor(
    name: str,
    cells: Sequence[TimedCell],
    ram_gib: float,
    *,
    workloads: Sequence[Workload] = (),
    left_out: Sequence[LeftOut] = (),
) -> Room:
    """Return what a machine without a GPU can run, in fp32.

    `left_out` are those of its cells that say nothing.
    """
    measured = Measured(cells, "processor", left_out=left_out)
    found = []
    for asked in workloads or usual_workloads():
        workload = asked.model_copy(update={"precision": "fp32"})
        note = "" if asked == workload else f"in fp32, not {asked.precision}, on a processor"
        need = need_of(workload, Software())
        low, peak, high = (
            (mib - CONTEXT_MIB) / 1024 for mib in (need.low_mib, need.peak_mib, need.high_mib)
        )
        fit = "fits" if high <= RAM_SHARE * ram_gib else "tight" if peak <= ram_gib else NO_ROOM
        base = Runnable(workload, fit, peak, low, high, None, None, None, None, None, note)
        found.append(_timed(base, measured) if fit != NO_ROOM else base)
    return Room(name, ram_gib, tuple(found))


def runnable_on_unknown_card(
    name: str,
    memory_mib: float,
    cells: Sequence[TimedCell],
    *,
    ram_gib: float,
    workloads: Sequence[Workload] = (),
) -> Room:
    """Return what a card can run of which only the memory is known; `cells` were measured on it."""
    measured, given_mib = Measured(cells, "card", on_gpu=True), GIVEN * memory_mib
    found = []
    for workload in workloads or usual_workloads():
        need = need_of(workload, Software())
        fit = fit_of(need, given_mib, ram_mib=1024 * ram_gib)
        base = Runnable(
            workload,
            fit.words(),
            need.peak_mib / 1024,
            need.low_mib / 1024,
            need.high_mib / 1024,
            None,
            None,
            None,
            largest_batch(given_mib, workload),
            None,
        )
        if fit.remedies:
            base = base._replace(reason="no time: what was measured on it took no remedy")
        found.append(_timed(base, measured) if fit.verdict in ("fits", "tight") else base)
    return Room(name, memory_mib / 1024, tuple(found))


def _timed(base: Runnable, measured: Measured) -> Runnable:
    """Return a row with the time that this machine's own cells predict."""
    asked = base.workload
    own = [cell for cell in measured.cells if cell.workload.precision == asked.precision]
    of_model = {cell.workload for cell in own if cell.workload.model == asked.model}
    if len(of_model) < MIN_OWN_CELLS:
        lacking = f"{len(of_model)} of its cells were measured here, {MIN_OWN_CELLS} are needed"
        without = left_out_words([one for one in measured.left_out if one.model == asked.model])
        reasons = (f"no time: {lacking}", without, base.reason)
        return base._replace(reason="; ".join(filter(None, reasons)))
    from diffusion_bench.tiers.own_cells import fit_cells, predict_cell

    told = predict_cell(fit_cells(own, on_gpu=measured.on_gpu), asked)
    each = 1 / asked.batch
    evidence = Evidence(
        kind="predicted",
        card=f"the {measured.device}",
        workload=asked,
        seconds=told.seconds,
        seconds_low=told.seconds_low,
        seconds_high=told.seconds_high,
        source=f"{told.cells} cells that this machine measured on its {measured.device}",
    )
    return base._replace(
        seconds_per_image=told.seconds * each,
        seconds_per_image_low=told.seconds_low * each,
        seconds_per_image_high=told.seconds_high * each,
        evidence=evidence,
    )
