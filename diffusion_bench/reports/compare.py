"""Comparing reports cell by cell: only equal work, and only a clear difference gets a name.

The first report is the baseline. What is compared is the ratio of times with its interval
(`shift.py`); machine and software may differ, that is the question. The work may not: where the
request, the model behind its name or the protocol differ, the fields are named and nothing is
compared.

Where the machine is one and the same and both reports looked at its own speed beside the cell, the
times are counted in the machine's pace first (`machine_shift.py`), with wider intervals: a change
has a name only if it is more than what the machine's shift explains. The ratio stays that of the
times, and no cell is called slower that took less time.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from diffusion_bench.records import Record, Request
from diffusion_bench.reports.between_visits import FEWEST_VISITS, ratio_of_calls
from diffusion_bench.reports.differences import Difference, find_differences
from diffusion_bench.reports.extrapolate import DRIFT_SHARE
from diffusion_bench.reports.labels import report_card, report_labels
from diffusion_bench.reports.machine_shift import (
    MachineShift,
    machine_shift,
    net_ratio,
    other_machine,
    pace_scatter,
    shift_words,
)
from diffusion_bench.reports.privacy import without_home
from diffusion_bench.reports.scatter import Scatter
from diffusion_bench.reports.schema import Cell, Header, Label, Report
from diffusion_bench.reports.shift import Ratio, ratio_of_intervals
from diffusion_bench.reports.stats import FEW_SAMPLES, Summary, summarise, totals
from diffusion_bench.reports.verdicts import Verdict, absences, judge, judge_net, why_absent

UNEQUAL_WORK = "this is not the same work"
DISTURBED: tuple[Label, ...] = ("contended", "throttled", "on battery")

# What a sweep varies. Cells that agree in these are one place in the grid, whatever else differs.
AXES = ("sampler", "eta", "steps", "width", "height", "text", "batch")


class Row(Record):
    """One workload in the baseline and in another report.

    `ratio` is the middle one of all ratios of a call's time in the other report to one in the
    baseline: below 1 the other is faster. `ratio_low` and `ratio_high` bound it with 95 percent
    confidence. `machine_ratio` and its bounds are of the machine's own pace, where both reports
    looked at it; `net_ratio` and its bounds are of the times counted in that pace, where the
    verdict is judged on them. `one_visit`: it is judged on the times alone and a side's are of one
    visit, so that what that machine does from minute to minute is not in the interval. `disturbed`
    are the labels of both sides that say that a machine was not at its own speed.
    `differences` are those that forbid a comparison. `absent` is why the baseline's cell and the
    other's have no figures where the work is the same, "" of one that has.
    """

    cell_id: str
    request: Request
    baseline: str
    other: str
    baseline_s: float | None = None
    other_s: float | None = None
    ratio: float | None = None
    ratio_low: float | None = None
    ratio_high: float | None = None
    machine_ratio: float | None = None
    machine_low: float | None = None
    machine_high: float | None = None
    net_ratio: float | None = None
    net_low: float | None = None
    net_high: float | None = None
    verdict: Verdict
    reason: str
    one_visit: bool = False
    disturbed: tuple[Label, ...] = ()
    absent: tuple[str, str] = ("", "")
    differences: tuple[Difference, ...] = ()


class _Side:
    """A report in a comparison: its cells by what they asked for, and its name."""

    def __init__(self, report: Report, label: str) -> None:
        self.header: Header = report.header
        self.label = label
        self.card = report_card(report)
        self.cells = {without_home(cell.request).workload_id(): cell for cell in report.cells}


def compare(reports: Sequence[Report]) -> list[Row]:
    """Return a row for every workload and every report but the first, which is the baseline."""
    if len(reports) < 2:
        return []
    sides = [
        _Side(report, label) for report, label in zip(reports, report_labels(reports), strict=True)
    ]
    return [row for side in sides[1:] for row in _rows(sides[0], side)]


def _rows(baseline: _Side, other: _Side) -> list[Row]:
    pairs = _pairs(baseline.cells, other.cells)
    foreign = other_machine(baseline.header, other.header, (baseline.card, other.card))
    prior = None if foreign else pace_scatter(pairs)
    return [_row((baseline, other), pair, foreign, prior) for pair in pairs]


def unequal_work(
    headers: tuple[Header, Header], requests: tuple[Request, Request]
) -> list[Difference]:
    """Return what makes two cells different work; nothing where they may be compared."""
    return find_differences(_work(headers[0], requests[0]), _work(headers[1], requests[1]))


def _pairs(old: dict[str, Cell], new: dict[str, Cell]) -> list[tuple[Cell | None, Cell | None]]:
    """Return cells of the same request, then those of one place in the grid, then single ones."""
    pairs: list[tuple[Cell | None, Cell | None]] = []
    waiting: dict[tuple[object, ...], list[Cell]] = {}
    for key, cell in new.items():
        if key not in old:
            waiting.setdefault(_place(cell), []).append(cell)
    for key, cell in old.items():
        near = waiting.get(_place(cell), [])
        pairs.append((cell, new[key] if key in new else near.pop(0) if near else None))
    left = [(None, cell) for cells in waiting.values() for cell in cells]
    return pairs + sorted(left, key=lambda pair: pair[1].order)


def _place(cell: Cell) -> tuple[object, ...]:
    return tuple(getattr(cell.request, axis, None) for axis in AXES)


def _row(
    sides: tuple[_Side, _Side],
    pair: tuple[Cell | None, Cell | None],
    foreign: str,
    prior: Scatter | None,
) -> Row:
    """Return the row of a pair.

    `foreign` is what differs between their machines, "" for one machine; `prior` is how far all
    pairs' visits scatter.
    """
    cell = pair[0] or pair[1]
    assert cell is not None
    figures = [summarise(each) if each else None for each in pair]
    old, new = figures
    found: dict[str, object] = {
        "cell_id": cell.cell_id,
        "request": cell.request,
        "baseline": sides[0].label,
        "other": sides[1].label,
        "baseline_s": old and old.median_s,
        "other_s": new and new.median_s,
    }
    unequal = _unequal_work(sides, pair)
    if unequal:
        words = "; ".join(difference.words() for difference in unequal)
        reason = f"{UNEQUAL_WORK}: {words}"
        return Row(**found, verdict="cannot compare", reason=reason, differences=tuple(unequal))
    if old is None or new is None or pair[0] is None or pair[1] is None:
        absent = absences(*pair)
        reason = why_absent(absent, (sides[0].label, sides[1].label))
        return Row(**found, verdict="cannot compare", reason=reason, absent=absent)
    return Row(**found, **_measured((pair[0], pair[1]), (old, new), foreign, prior))


def _measured(
    pair: tuple[Cell, Cell],
    figures: tuple[Summary, Summary],
    foreign: str,
    prior: Scatter | None,
) -> dict[str, object]:
    """Return the fields of a row that two measured cells of the same work decide."""
    ratio = _ratio(pair, figures)
    if ratio is None:
        return {"verdict": "cannot tell", "reason": _no_interval(figures)}
    counts, shift = (figures[0].n, figures[1].n), machine_shift(*pair)
    verdict, reason = judge(ratio, counts)
    net = None
    if shift is not None and not foreign:
        net = net_ratio(pair, ratio, shift, prior)
        verdict, reason = judge_net(ratio, net, shift, counts)
    return {
        "ratio": ratio.middle,
        "ratio_low": ratio.low,
        "ratio_high": ratio.high,
        "machine_ratio": shift and shift.ratio,
        "machine_low": shift and shift.low,
        "machine_high": shift and shift.high,
        "net_ratio": net and net.middle,
        "net_low": net and net.low,
        "net_high": net and net.high,
        "verdict": verdict,
        "disturbed": tuple(label for label in DISTURBED if any(label in c.labels for c in pair)),
        "one_visit": net is None and min(len(cell.visits) for cell in pair) < FEWEST_VISITS,
        "reason": "; ".join(
            [reason, *_moved(shift, foreign), *_attention(pair), *_warnings(figures)]
        ),
    }


def _moved(shift: MachineShift | None, foreign: str) -> list[str]:
    """Return in words how the machine moved, and why that is not judged by where it is not."""
    words = shift_words(shift.ratio) if shift else ""
    told_only = f" (told, not judged by: {foreign} differs)" if foreign else ""
    return [words + told_only] if words else []


def _ratio(pair: tuple[Cell, Cell], figures: tuple[Summary, Summary]) -> Ratio | None:
    if not any(figure.extrapolated for figure in figures):
        return ratio_of_calls(pair, (totals(pair[0]), totals(pair[1])))
    bounds = [
        (found.interval_s.low, found.median_s, found.interval_s.high)
        for found in figures
        if found.interval_s is not None
    ]
    if len(bounds) < 2:
        return None
    visits = min(len(cell.visits) for cell in pair)
    drifts = [math.log1p(DRIFT_SHARE) for figure in figures if figure.extrapolated]
    return ratio_of_intervals(
        *bounds, visits=visits if visits >= FEWEST_VISITS else 0, floor=math.hypot(*drifts)
    )


def _no_interval(figures: tuple[Summary, Summary]) -> str:
    """Return why no ratio to an extrapolated total has an interval, of each side that lacks one."""
    lacking = []
    for side, figure in zip(("baseline", "other"), figures, strict=True):
        if figure.interval_s is None and figure.extrapolated:
            why = "an extrapolated total has no interval: too few steps were timed"
        elif figure.interval_s is None:
            why = f"a median of {figure.n} has no interval: too few calls were timed"
        elif figure.interval_s.low <= 0:
            why = "its interval reaches down to nothing"
        else:
            continue
        lacking.append(f"{side}: {why}")
    return "; ".join(lacking)


def _attention(pair: tuple[Cell, Cell]) -> list[str]:
    """Return that two cells ran on different implementations of attention, where they did."""
    found = find_differences(pair[0].attention, pair[1].attention, "attention")
    return [difference.words() for difference in found]


def _warnings(figures: tuple[Summary, Summary]) -> list[str]:
    """Return what the machine's state or the way of measuring takes off the verdict's worth.

    Not that there are few samples: the interval has that in it.
    """
    found = []
    for side, figure in zip(("baseline", "other"), figures, strict=True):
        words = [warning for warning in figure.warnings if not warning.startswith(FEW_SAMPLES)]
        found += [f"{side}: {', '.join(words)}"] if words else []
    return found


def _unequal_work(
    sides: tuple[_Side, _Side], pair: tuple[Cell | None, Cell | None]
) -> list[Difference]:
    """Return what makes two cells different work; nothing where there is only one of them."""
    if pair[0] is None or pair[1] is None:
        return []
    headers = (sides[0].header, sides[1].header)
    return unequal_work(headers, (pair[0].request, pair[1].request))


def _work(header: Header, request: Request) -> dict[str, object]:
    """Return all that decides a cell's work, whoever measured it."""
    facts = next((facts for facts in header.plan.models if facts.name == request.model), None)
    return {
        "protocol version": header.protocol_version,
        "model": facts and facts.model_dump(mode="json", exclude={"name", "missing"}),
        "request": without_home(request).model_dump(mode="json"),
    }
