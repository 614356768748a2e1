"""How the cells of a report are named in what an examination of it finds."""

from __future__ import annotations

from collections.abc import Sequence

from diffusion_bench.reports.labels import name_among
from diffusion_bench.reports.schema import Cell, Report, SharedCell
from diffusion_bench.reports.shared import name_whole

MOST_NAMED = 3  # cells named in one finding


def name_cells(cells: Sequence[Cell | SharedCell], report: Report) -> str:
    """Return the first few of some cells of a report in words, and how many more there are."""
    alone = name_among([cell.request for cell in report.cells])
    shared = name_whole([report])
    named = "; ".join(
        alone(cell.request) if isinstance(cell, Cell) else shared(cell)
        for cell in cells[:MOST_NAMED]
    )
    more = len(cells) - MOST_NAMED
    return f"{named}; and {more} more" if more > 0 else named
