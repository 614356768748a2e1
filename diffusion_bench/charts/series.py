"""The lines of a chart: cells of all reports that differ in their steps only, and their looks."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from diffusion_bench.charts.style import DASHES, MANY_COLOURS, PATTERNS, SYMBOLS, Look, keyed
from diffusion_bench.records import Request
from diffusion_bench.reports import labels
from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.reports.stats import without_steps

BASES = ("extrapolated", "emulated")


class Failure(NamedTuple):
    """A cell without figures: never a point, always a row of the table."""

    steps: int
    status: str
    message: str


class Series(NamedTuple):
    """Cells of one report that differ in their steps only, by rising steps.

    `other` names what tells the series apart beside sampler and resolution; often "". `report` is
    the place of its report among all.
    """

    sampler: str
    resolution: str
    other: str
    cells: tuple[Cell, ...]
    report: int
    look: Look = Look()

    @property
    def name(self) -> str:
        """Return the name of a legend."""
        return ", ".join(part for part in (self.sampler, self.resolution, self.other) if part)

    @property
    def request(self) -> Request:
        """Return a request of the series; all but its steps holds for every cell."""
        return self.cells[0].request

    @property
    def emulated(self) -> str:
        """Return "emulated" where a cell of it is, "" where none is."""
        return "emulated" if any("emulated" in cell.labels for cell in self.cells) else ""

    def failures(self) -> tuple[Failure, ...]:
        """Return the cells without figures."""
        return tuple(
            Failure(cell.request.steps, cell.status, cell.message)
            for cell in self.cells
            if cell.without_figures
        )


def series_of(reports: Sequence[Report]) -> list[Series]:
    """Return every series of the reports, small pictures and short texts first.

    What differs in the report only stays in the order of the reports: the baseline is the first.
    """
    settings = labels.other_parts([cell.request for report in reports for cell in report.cells])
    groups: dict[tuple[int, str], list[Cell]] = {}
    for index, report in enumerate(reports):
        for cell in report.cells:
            groups.setdefault((index, without_steps(cell)), []).append(cell)
    names = labels.report_labels(reports)
    found = [
        Series(
            sampler=labels.sampler(cells[0].request),
            resolution=labels.size(cells[0].request),
            other=", ".join(filter(None, (settings(cells[0].request), names[index]))),
            cells=tuple(sorted(cells, key=lambda cell: cell.request.steps)),
            report=index,
        )
        for (index, _), cells in groups.items()
    ]
    found.sort(key=lambda item: (_by_number(settings(item.request)), item.report))
    return _with_looks(found)


def _by_number(words: str) -> list[str | float]:
    """Return a key that puts batch 2 before batch 10: text and numbers in turn."""
    parts = re.split(r"(\d+(?:\.\d+)?)", words)
    return [float(part) if place % 2 else part for place, part in enumerate(parts)]


def _with_looks(found: list[Series]) -> list[Series]:
    """Return series sorted by size and sampler, with looks that tell all of them apart.

    Taken in the given order, so that the first report's marker is the first wherever it is drawn.
    """
    others = [item.other for item in found]
    symbols, bar_colours = keyed(others, SYMBOLS), keyed(others, MANY_COLOURS)
    found = sorted(found, key=lambda item: (item.request.amount, item.sampler))
    samplers, sizes = [s.sampler for s in found], [s.resolution for s in found]
    dashes, patterns = keyed(samplers, DASHES), keyed(samplers, PATTERNS)
    by_size = len(set(sizes)) > 1 or len(set(others)) < 2
    colours = keyed(sizes, MANY_COLOURS)
    return [
        item._replace(
            look=Look(
                dashes[item.sampler],
                patterns[item.sampler],
                symbols[item.other],
                colours[item.resolution] if by_size else bar_colours[item.other],
                bar_colours[item.other],
                by_size,
            )
        )
        for item in found
    ]


def basis_of(cell: Cell) -> str:
    """Return what a cell's figures are beside measured: "extrapolated", "emulated", both or ""."""
    return ", ".join(label for label in BASES if label in cell.labels)


def failure_rows(
    name: Sequence[object], failures: Sequence[Failure], width: int
) -> list[list[Any]]:
    """Return table rows of failures: name, steps, empty cells, status and message at the end."""
    return [
        [*name, failure.steps, *[None] * (width - len(name) - 3), failure.status, failure.message]
        for failure in failures
    ]
