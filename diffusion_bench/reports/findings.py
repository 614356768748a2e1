"""What an examination of a report finds, and how its cells are named there."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from diffusion_bench.records import Record
from diffusion_bench.reports.labels import sampler, size
from diffusion_bench.reports.schema import Cell

MOST_NAMED = 3  # cells named in one finding

Level = Literal["problem", "warning", "note", "ok"]
LEVELS: tuple[Level, ...] = ("problem", "warning", "note", "ok")


class ReportFinding(Record):
    """One thing seen. `advice` is what to do, empty where nothing is to be done."""

    level: Level
    title: str
    detail: str = ""
    advice: str = ""


def name_cell(cell: Cell) -> str:
    """Return what a cell asked for in a few words."""
    request = cell.request
    return f"{sampler(request)}, {request.steps} steps, {size(request)}, batch {request.batch}"


def name_cells(cells: Sequence[Cell]) -> str:
    """Return the first few cells in words, and how many more there are."""
    named = "; ".join(name_cell(cell) for cell in cells[:MOST_NAMED])
    more = len(cells) - MOST_NAMED
    return f"{named}; and {more} more" if more > 0 else named
