"""Burst and sustained figures are two only where the cell went on long enough."""

from __future__ import annotations

import pytest
from fakes import make_cell, make_report

from diffusion_bench.reports.export import to_markdown, to_rows
from diffusion_bench.reports.schema import Cell, Sustained
from diffusion_bench.reports.sustained import burst_and_sustained


def cell_that_went_on(*wall_s: float) -> Cell:
    at_s = [sum(wall_s[:place]) for place in range(len(wall_s))]
    return make_cell().model_copy(
        update={"sustained": Sustained(at_s=tuple(at_s), wall_s=tuple(wall_s))}
    )


def test_a_card_that_slows_down_has_a_fast_first_minute_and_a_slow_last_third() -> None:
    found = burst_and_sustained(cell_that_went_on(*[10.0] * 6, *[12.0] * 20))
    assert found is not None
    assert (found.burst_s, found.burst_calls) == (10.0, 6)
    assert (found.sustained_s, found.sustained_calls) == (12.0, 8)
    assert found.slowdown == pytest.approx(0.2)


def test_one_interrupted_call_moves_neither_figure() -> None:
    found = burst_and_sustained(cell_that_went_on(10.0, 10.0, 39.0, *[10.0] * 14, 39.0, 10.0, 10.0))
    assert found is not None
    assert (found.burst_s, found.sustained_s) == (10.0, 10.0)


@pytest.mark.parametrize(
    "cell",
    [make_cell(), cell_that_went_on(), cell_that_went_on(*[1.0] * 80), cell_that_went_on(200.0)],
    ids=["not asked for", "no call", "too short for two windows", "one call"],
)
def test_there_are_no_two_figures_where_the_windows_overlap_or_are_empty(cell: Cell) -> None:
    assert burst_and_sustained(cell) is None


def test_tables_have_both_speeds_where_they_are_known() -> None:
    long = cell_that_went_on(*[10.0] * 6, *[12.0] * 20)
    report = make_report(long, make_cell(steps=5))
    first, second = to_rows([report])
    assert (first["burst_s"], first["sustained_s"]) == (10.0, 12.0)
    assert (second["burst_s"], second["sustained_s"]) == (None, None)
    assert "sustained (s)" in to_markdown([report])
