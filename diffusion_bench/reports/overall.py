"""What a comparison says as a whole: verdicts counted, the mean ratio, and what else differs."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from diffusion_bench.records import Record
from diffusion_bench.records.figures import figure
from diffusion_bench.reports.compare import Row, compare
from diffusion_bench.reports.differences import Difference, environment_differences
from diffusion_bench.reports.labels import name_among, report_labels
from diffusion_bench.reports.machine_shift import shift_words
from diffusion_bench.reports.schema import Report
from diffusion_bench.reports.shared import SharedRow, compare_shared
from diffusion_bench.reports.verdicts import SAME_WITHIN, Verdict

MOST_CELLS = 0.9  # this share of the cells that can be told decides the whole
CHANCE = 0.05  # the whole has no name that chance gives more often than this
# How often chance alone names a cell: an interval of 95 percent has 2.5 beyond each end; "same" is
# found by two one-sided tests of 5 percent.
CELL_ERROR: dict[Verdict, float] = {"same": 0.05, "faster": 0.025, "slower": 0.025}
MOST_NAMED = 8  # environment differences named in a sentence
# A cell that one report tried and did not get through. What nobody tried, or somebody cancelled,
# says nothing of what a machine can do.
ENDED: dict[str, str] = {
    "oom": "out of memory",
    "crashed": "crashed",
    "timeout": "over the time limit",
    "failed": "failed",
}


class Overall(Record):
    """One report against the baseline.

    `verdict` is what 9 in 10 of the cells that can be told say, else "mixed", and "cannot tell"
    where so few say anything that chance would do it: of 12 cells one has a name by chance in a
    quarter of all comparisons. Where the mean of the ratios that the cells were judged by does not
    bear the name out, it is "mixed" too, or "cannot tell" where no cell has another name: then only
    cells without a name pull the mean away. `ratio` is the geometric mean of the cells' ratios of
    times, `best` and `worst` the smallest and largest, each with a name that tells its cell from
    the others. Cells of several devices at once count as any other. `only_other` counts what only
    the other report got through, by how it ended in the baseline; `only_baseline` the reverse.
    `machine_ratio` is that of the machine's own pace beside them, `None` where nobody looked.
    `one_visit` counts the cells with a name whose interval is of one visit, and `disturbed` those
    with one that either side labels so, by label.
    """

    baseline: str
    other: str
    verdict: Verdict | Literal["mixed"]
    counts: dict[Verdict, int]
    only_other: dict[str, int] = {}
    only_baseline: dict[str, int] = {}
    ratio: float | None = None
    best: Row | SharedRow | None = None
    worst: Row | SharedRow | None = None
    best_name: str = ""
    worst_name: str = ""
    machine_ratio: float | None = None
    one_visit: int = 0
    disturbed: dict[str, int] = {}
    environment: tuple[Difference, ...] = ()

    def words(self) -> list[str]:
        """Return it as lines of text: the verdict, the ratio, and what else differs."""
        counted = ", ".join(f"{count} {verdict}" for verdict, count in self.counts.items())
        lines = [f"{self.other} against {self.baseline}: {self.verdict} ({counted or 'no cells'})"]
        if self.best and self.best is self.worst:
            lines.append(f"ratio of times {figure(self.ratio)} ({self.best_name})")
        elif self.ratio is not None and self.best and self.worst:
            lines.append(
                f"mean ratio of times {figure(self.ratio)}, from {figure(self.best.ratio)} "
                f"({self.best_name}) to {figure(self.worst.ratio)} ({self.worst_name})"
            )
        lines += [
            f"{runs} {_counted_cells(ended)} {which}: {_how_ended(ended)} {where}"
            for runs, ended, which, where in (
                ("runs", self.only_other, "that the baseline cannot", "there"),
                ("cannot run", self.only_baseline, "that the baseline runs", "here"),
            )
            if ended
        ]
        if self.disturbed:
            counted = ", ".join(f"{count} {label}" for label, count in self.disturbed.items())
            lines.append(
                f"named cells that were disturbed in a report: {counted}; that may be all of "
                "their difference, or hide one: measure them again at rest"
            )
        if self.one_visit:
            were = "was" if self.one_visit == 1 else "were"
            lines.append(
                f"{self.one_visit} of the named cells {were} measured in one visit on a side: what "
                "a machine does from minute to minute is not in their intervals; that takes rounds"
            )
        if self.machine_ratio is not None and (moved := shift_words(self.machine_ratio)):
            lines.append(f"{moved}, in the mean of the cells")
        named = [difference.words() for difference in self.environment[:MOST_NAMED]]
        more = len(self.environment) - len(named)
        named += [f"{more} more"] if more > 0 else []
        lines.append(f"differing beside the work: {'; '.join(named) or 'nothing'}")
        return lines


def overall(reports: Sequence[Report]) -> list[Overall]:
    """Return the verdict on every report but the first, which is the baseline."""
    labels, alone, shared = report_labels(reports), compare(reports), compare_shared(reports)
    return [
        _judge(
            (reports[0], report),
            (labels[0], label),
            [row for row in alone if row.other == label],
            [row for row in shared if row.other == label],
        )
        for report, label in zip(reports[1:], labels[1:], strict=True)
    ]


def _judge(
    reports: tuple[Report, Report],
    labels: tuple[str, str],
    alone: Sequence[Row],
    shared: Sequence[SharedRow],
) -> Overall:
    rows: list[Row | SharedRow] = [*alone, *shared]
    ratios = sorted((row for row in rows if row.ratio is not None), key=lambda row: row.ratio or 0)
    counts = Counter(row.verdict for row in rows)
    paces = [row.machine_ratio for row in alone if row.machine_ratio]
    named = [row for row in alone if row.verdict in CELL_ERROR]
    name_alone = name_among([row.request for row in alone])

    def name(row: Row | SharedRow) -> str:
        return name_alone(row.request) if isinstance(row, Row) else row.cell

    return Overall(
        baseline=labels[0],
        other=labels[1],
        verdict=_verdict(counts, _mean([judged for row in rows if (judged := _judged_by(row))])),
        counts=dict(counts.most_common()),
        only_other=_ended_in(0, rows),
        only_baseline=_ended_in(1, rows),
        ratio=_mean([row.ratio for row in ratios if row.ratio]),
        best=ratios[0] if ratios else None,
        worst=ratios[-1] if ratios else None,
        best_name=name(ratios[0]) if ratios else "",
        worst_name=name(ratios[-1]) if ratios else "",
        machine_ratio=_mean(paces),
        one_visit=sum(row.one_visit for row in named),
        disturbed=dict(Counter(label for row in named for label in row.disturbed)),
        environment=tuple(environment_differences(reports[0].header, reports[1].header)),
    )


def _mean(ratios: Sequence[float]) -> float | None:
    """Return the geometric mean, `None` of nothing."""
    return math.exp(math.fsum(map(math.log, ratios)) / len(ratios)) if ratios else None


def _judged_by(row: Row | SharedRow) -> float | None:
    """Return the ratio that a row's verdict is of: where the machine moved, the one beside it."""
    return row.net_ratio or row.ratio if isinstance(row, Row) else row.ratio


def _ended_in(side: int, rows: Sequence[Row | SharedRow]) -> dict[str, int]:
    """Return how the cells of a side ended that the other side got through, and how many so."""
    ends = [row.absent[side] for row in rows if not row.absent[1 - side]]
    return dict(Counter(ENDED[end] for end in ends if end in ENDED).most_common())


def _counted_cells(ended: dict[str, int]) -> str:
    count = sum(ended.values())
    return f"{count} cell{'s' if count != 1 else ''}"


def _how_ended(ended: dict[str, int]) -> str:
    return ", ".join(f"{n} {why}" if len(ended) > 1 else why for why, n in ended.items())


def _verdict(counts: Counter[Verdict], mean: float | None) -> Verdict | Literal["mixed"]:
    told: dict[Verdict, int] = {name: counts[name] for name in CELL_ERROR}
    if not sum(told.values()):
        return "cannot tell" if counts["cannot tell"] else "cannot compare"
    cells = sum(told.values()) + counts["cannot tell"]
    if all(_by_chance(told[name], cells, CELL_ERROR[name]) > CHANCE for name in told):
        return "cannot tell"
    most = max(told, key=lambda name: told[name])
    if told[most] < MOST_CELLS * sum(told.values()):
        return "mixed"
    if mean is None or _bears_out(mean, most):
        return most
    return "mixed" if told[most] < sum(told.values()) else "cannot tell"


def _bears_out(mean: float, name: Verdict) -> bool:
    """Return whether a mean ratio of times may stand beside the whole's name."""
    limit = 1 + SAME_WITHIN
    return {"faster": mean < 1, "slower": mean > 1, "same": 1 / limit <= mean <= limit}[name]


def _by_chance(named: int, cells: int, error: float) -> float:
    """Return how likely so many cells or more are named wrongly, if each is with that likelihood.

    As if no cell knew of another (the binomial distribution); cells of one run move together.
    Its terms are summed as powers of e: of 1030 cells a binomial coefficient is past any float.
    """
    right, wrong = math.log1p(-error), math.log(error)
    ways = math.lgamma(cells + 1)
    fewer = math.fsum(
        math.exp(
            ways - math.lgamma(n + 1) - math.lgamma(cells - n + 1) + n * wrong + (cells - n) * right
        )
        for n in range(named)
    )
    return max(0.0, 1 - fewer)
