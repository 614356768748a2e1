"""What a report lacks of its plan: cells that are absent, and cells with calls still to come."""

from __future__ import annotations

from collections.abc import Sequence

from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.reports.store import is_partial


def absent_ids(report: Report, planned: Sequence[str]) -> list[str]:
    """Return those of the `planned` ids, which take a while to make, that the report has not."""
    there = {cell.cell_id for cell in report.measured}
    return [name for name in planned if name not in there]


def partial_cells(report: Report) -> list[Cell]:
    """Return the cells whose later rounds are not measured yet."""
    return [cell for cell in report.cells if is_partial(cell, report.header)]


def unfinished_words(report: Report) -> str:
    """Return in words what is still to be measured, empty for a finished report."""
    planned = report.header.planned_ids()
    absent, partial = len(absent_ids(report, planned)), len(partial_cells(report))
    parts = []
    if absent:
        parts.append(f"{absent} of {len(planned)} planned cells are absent")
    if partial:
        parts.append(f"{partial} of {len(report.cells)} cells have calls still to come")
    return f"unfinished: {' and '.join(parts)}" if parts else ""
