"""How the cells of a report are named in what an examination of it finds."""

from __future__ import annotations

from collections.abc import Sequence

from diffusion_bench.reports.labels import sampler, size
from diffusion_bench.reports.schema import Cell

MOST_NAMED = 3  # cells named in one finding


def name_cell(cell: Cell) -> str:
    """Return what a cell asked for in a few words."""
    request = cell.request
    return f"{sampler(request)}, {request.steps} steps, {size(request)}, batch {request.batch}"


def name_cells(cells: Sequence[Cell]) -> str:
    """Return the first few cells in words, and how many more there are."""
    named = "; ".join(name_cell(cell) for cell in cells[:MOST_NAMED])
    more = len(cells) - MOST_NAMED
    return f"{named}; and {more} more" if more > 0 else named
