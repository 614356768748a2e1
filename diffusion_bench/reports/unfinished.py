"""What a report has and lacks of its plan: finished cells, absent ones, and those in between."""

from __future__ import annotations

from collections.abc import Sequence

from diffusion_bench.reports.schema import Cell, Header, Report

FINISHED = ("ok", "oom", "crashed", "timeout", "failed")


def finished_ids(report: Report, *, retry: bool = False) -> frozenset[str]:
    """Return the ids of cells that need no second run; a cancelled cell does.

    With `retry` so do all that were not measured, whatever stopped them.
    """
    ended = ("ok",) if retry else FINISHED
    return frozenset(
        cell.cell_id
        for cell in report.cells
        if cell.status in ended and not is_partial(cell, report.header)
    ) | {cell.cell_id for cell in report.shared if cell.status in ended}


def is_partial(cell: Cell, header: Header) -> bool:
    """Return whether more calls of a cell were to come; before protocol 2 there were no rounds."""
    return cell.status == "ok" and cell.stop_reason is None and header.protocol_version > 1


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
