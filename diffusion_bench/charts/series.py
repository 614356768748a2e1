"""The lines of a chart: cells of all reports that differ in their steps only."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from diffusion_bench.records import Request
from diffusion_bench.reports import labels
from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.reports.stats import summarise, without_steps

BASES = ("extrapolated", "emulated")


class Failure(NamedTuple):
    """A cell without figures: never a point, always a row of the table."""

    steps: int
    status: str
    message: str


class Series(NamedTuple):
    """Cells of one report that differ in their steps only, by rising steps.

    `other` names what tells the series apart beside sampler and resolution; often "".
    """

    sampler: str
    resolution: str
    other: str
    cells: tuple[Cell, ...]

    @property
    def name(self) -> str:
        """Return the name of a legend."""
        return ", ".join(part for part in (self.sampler, self.resolution, self.other) if part)

    @property
    def request(self) -> Request:
        """Return a request of the series; all but its steps holds for every cell."""
        return self.cells[0].request

    def failures(self) -> tuple[Failure, ...]:
        """Return the cells without figures."""
        return tuple(
            Failure(cell.request.steps, cell.status, cell.message)
            for cell in self.cells
            if summarise(cell) is None
        )


def series_of(reports: Sequence[Report]) -> list[Series]:
    """Return every series of the reports, small pictures and short texts first."""
    requests = [cell.request for report in reports for cell in report.cells]
    other_parts = labels.other_parts(requests)
    groups: dict[tuple[str, str], list[Cell]] = {}
    for index, report in enumerate(reports):
        for cell in report.cells:
            groups.setdefault((str(index), without_steps(cell)), []).append(cell)
    names = labels.report_labels(reports)
    found = [
        Series(
            sampler=labels.sampler(cells[0].request),
            resolution=labels.size(cells[0].request),
            other=", ".join(
                part for part in (other_parts(cells[0].request), names[int(index)]) if part
            ),
            cells=tuple(sorted(cells, key=lambda cell: cell.request.steps)),
        )
        for (index, _), cells in groups.items()
    ]
    return sorted(found, key=lambda item: (item.request.amount, item.sampler, item.other))


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
