"""How much faster or slower the machine itself was in one report than in another.

Each visit of a cell begins and ends with some runs of fixed products (`SpeedProbe`). The
machine's pace at the visit is the geometric mean of the middle run before it and the one after. A
cell need not move as much as these do: a part of what they moved is added to the interval,
in squares, as independent errors are.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import median

from diffusion_bench.records import Record
from diffusion_bench.reports.between_visits import (
    FEWEST_VISITS,
    ratio_of_calls,
    visit_medians,
    visit_of_each,
)
from diffusion_bench.reports.differences import find_differences
from diffusion_bench.reports.scatter import Scatter, prior_of, scatter_of
from diffusion_bench.reports.schema import Cell, Header
from diffusion_bench.reports.schema_machine import GpuCard
from diffusion_bench.reports.shift import Ratio, ratio_of_samples
from diffusion_bench.reports.stats import totals

PROBE_NOISE = 0.02  # of the pace at one visit, with 95 percent confidence: an assumption of ours
FOLLOWED_WITHIN = 0.2  # of what the probe moved, a cell moves more or less: 95 percent confidence
TOLD_ABOVE = 0.02
TIMES_FROM = 0.5  # from here on times are told: nothing is more than 100 percent slower

# What a probe's pace depends on beside the machine. Where it differs, that is what is compared.
SOFTWARE = {"torch", "cuda", "torch_threads", "flags"}


class MachineShift(Record):
    """The machine's pace in the other report over that in the baseline, with a 95 percent interval.

    Below 1 the machine was faster. `error` is the part of the interval to each side, as a
    logarithm, that comes from the probe: its noise, and that a cell may follow it more or less.
    """

    ratio: float
    low: float
    high: float
    error: float

    @property
    def is_certain(self) -> bool:
        """Return whether the machine moved for certain, in whichever direction."""
        return self.low > 1 or self.high < 1


def machine_shift(old: Cell, new: Cell) -> MachineShift | None:
    """Return how the machine moved between two cells; `None` where they share no probed work."""
    before, after = _shared_paces(old, new)
    if not before or not after:
        return None
    noise = PROBE_NOISE * math.sqrt(1 / len(before) + 1 / len(after))
    found = ratio_of_samples(list(before.values()), list(after.values()))
    error = math.hypot(noise, FOLLOWED_WITHIN * math.log(found.middle))
    wide = _widened(found, error)
    # Too few visits to show their spread: what is left is what is known of any probe.
    low = found.middle * math.exp(-error) if wide.low is None else wide.low
    high = found.middle * math.exp(error) if wide.high is None else wide.high
    return MachineShift(ratio=found.middle, low=low, high=high, error=error)


def pace_scatter(pairs: Iterable[tuple[Cell | None, Cell | None]]) -> Scatter | None:
    """Return how far the visits of all pairs scatter in the machine's pace; `None` of too few.

    Of the times alone there is no such thing: the machine moves all cells of a round alike.
    """
    found = []
    for old, new in pairs:
        if old is not None and new is not None and all(_shared_paces(old, new)):
            times = _net_times((old, new))
            sides = visit_medians(old, times[0]), visit_medians(new, times[1])
            if min(map(len, sides)) >= FEWEST_VISITS:
                found.append(scatter_of(sides))
    return prior_of(found)


def net_ratio(
    pair: tuple[Cell, Cell], raw: Ratio, shift: MachineShift, prior: Scatter | None = None
) -> Ratio:
    """Return the ratio of two cells' times, each counted in the machine's pace at its own visit.

    What drifted within a run is taken off with it. `raw` is the ratio of the times alone, whose
    `floor` extrapolated totals have here too. Of too few of those for an interval of their own, the
    shift between the reports is taken off `raw`. `prior` is what `pace_scatter` tells of all cells.
    """
    found = ratio_of_calls(pair, _net_times(pair), prior)
    error = math.hypot(shift.error, raw.floor)
    if found.low is None and raw.low is not None:
        bounds = raw.model_dump(exclude={"visits", "lent", "floor"})
        scaled = {name: value and value / shift.ratio for name, value in bounds.items()}
        found = Ratio(**scaled, visits=raw.visits)
        error = max(math.log(shift.high / shift.ratio), math.log(shift.ratio / shift.low))
    # Of a single visit the probe's noise is a part that only more of them narrow.
    alone = int(min(len(cell.visits) for cell in pair) < FEWEST_VISITS)
    floor = math.hypot(raw.floor, FOLLOWED_WITHIN * math.log(shift.ratio))
    told = {"visits": found.visits or alone, "floor": floor}
    return _widened(found.model_copy(update=told), error)


def other_machine(old: Header, new: Header, cards: tuple[GpuCard | None, GpuCard | None]) -> str:
    """Return the field in which what a probe depends on differs, "" where all of it is the same.

    `cards`: the GPU that each report was measured on.
    """
    found = find_differences(_probed_on(old, cards[0]), _probed_on(new, cards[1]))
    return found[0].field if found else ""


def shift_words(ratio: float) -> str:
    """Return "the machine itself was 6 percent faster"; "" for 2 percent or less.

    From 50 percent on it "took 2.4 times as long".
    """
    change = max(ratio, 1 / ratio) - 1
    if change <= TOLD_ABOVE:
        return ""
    if change >= TIMES_FROM:
        words = f"took {ratio:.1f} times as long"
        if ratio < 1:
            words = f"was done in {ratio:.2g} times the time"
        return f"the machine itself {words}"
    way = "faster" if ratio < 1 else "slower"
    return f"the machine itself was {100 * change:.0f} percent {way}"


def _probed_on(header: Header, card: GpuCard | None) -> dict[str, object]:
    return {
        "machine": header.machine.identity(),
        "software": header.software.model_dump(mode="json", include=SOFTWARE),
        "device": header.plan.device,
        "card": card and card.uuid_hash,  # torch gives one number to whichever it is shown first
    }


def _shared_paces(old: Cell, new: Cell) -> tuple[dict[int, float], dict[int, float]]:
    """Return the paces of both cells by visit, of equal work: of several, what was done most."""
    of_old, of_new = _paces_by_work(old), _paces_by_work(new)
    shared = [work for work in of_old if work in of_new]
    if not shared:
        return {}, {}
    work = max(shared, key=lambda work: len(of_old[work]))
    return of_old[work], of_new[work]


def _paces_by_work(cell: Cell) -> dict[str, dict[int, float]]:
    found: dict[str, dict[int, float]] = {}
    for probe in cell.machine_speed:
        if (pace_s := probe.pace_s) is not None:
            found.setdefault(probe.work, {})[probe.visit] = pace_s
    return found


def _net_times(pair: tuple[Cell, Cell]) -> tuple[list[float], list[float]]:
    old, new = _shared_paces(*pair)
    return _in_paces(pair[0], old), _in_paces(pair[1], new)


def _in_paces(cell: Cell, paces: Mapping[int, float]) -> list[float]:
    """Return the cell's times, each over the pace at its visit, or the middle one if that lacks."""
    middle = median(paces.values())
    times = totals(cell)
    visits = visit_of_each(cell, times)
    return [
        time / (middle if at is None else paces.get(at, middle))
        for time, at in zip(times, visits, strict=True)
    ]


def _widened(ratio: Ratio, error: float) -> Ratio:
    """Return a ratio with wider intervals: on a logarithmic scale errors add in squares."""

    def wider(reach: float) -> float:
        return math.hypot(reach, error)

    return ratio.reaching(wider, wider)
