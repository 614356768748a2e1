"""What a report can do without is what no reader looks at, and nothing else."""

from __future__ import annotations

import json

from fakes import make_cell, make_header, make_sweep_cells

from diffusion_bench.records import ImageRequest
from diffusion_bench.reports.compact import without_replaced
from diffusion_bench.reports.fits import fit_lines
from diffusion_bench.reports.read import parse_report
from diffusion_bench.reports.schema import Limit
from diffusion_bench.reports.store import to_line

HEADER = to_line(make_header())
CELL, AGAIN, OTHER = (
    to_line(make_cell(wall_s=wall_s, steps=steps))
    for wall_s, steps in (((1.0,), 20), ((2.0,), 20), ((3.0,), 7))
)


def test_only_the_last_line_of_a_cell_is_kept() -> None:
    assert without_replaced(HEADER + CELL + OTHER + AGAIN) == HEADER + OTHER + AGAIN
    assert without_replaced(HEADER + CELL + OTHER) == HEADER + CELL + OTHER


def test_a_shorter_report_is_read_as_the_longer_one_was() -> None:
    cells = make_sweep_cells()[:12]
    earlier = [cell.model_copy(update={"samples": cell.samples[:2]}) for cell in cells]
    request = ImageRequest(prompt="a cat")
    limit = Limit(axis="batch", request=request, largest_fit=4, smallest_misfit=5)
    fits = [*fit_lines(earlier), *fit_lines(cells)]
    records = [*earlier[:7], limit, *cells[3:], *earlier[7:9], *cells, limit, *fits]
    data = HEADER + b"".join(map(to_line, records))
    short = without_replaced(data)
    assert len(short) < len(data) / 1.5
    assert short.count(b'"kind":"fit"') == len(fit_lines(cells)) < len(fits)
    assert parse_report(short, "r.jsonl") == parse_report(data, "r.jsonl")


def test_a_line_that_is_not_as_this_program_writes_it_is_kept() -> None:
    damaged, spaced = CELL[:40] + b"\n", json.dumps(json.loads(CELL)).encode() + b"\n"
    whole = HEADER + damaged + spaced + b"\n" + OTHER + CELL
    assert without_replaced(whole) == whole
