"""Burst and sustained figures are two only where the cell went on long enough."""

from __future__ import annotations

import pytest
from fakes import make_cell, make_report

from diffusion_bench.reports.export import to_rows
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.schema import Cell, Sustained
from diffusion_bench.reports.sustained import LEAST_S, burst_and_sustained


def cell_that_went_on(*wall_s: float) -> Cell:
    at_s = [sum(wall_s[:place]) for place in range(len(wall_s))]
    return make_cell().model_copy(
        update={"sustained": Sustained(at_s=tuple(at_s), wall_s=tuple(wall_s))}
    )


def test_a_card_that_slows_down_has_a_fast_first_minute_and_a_slow_last_third() -> None:
    found, why = burst_and_sustained(cell_that_went_on(*[10.0] * 6, *[12.0] * 20))
    assert found is not None
    assert why == ""
    assert (found.burst_s, found.burst_calls) == (10.0, 6)
    assert (found.sustained_s, found.sustained_calls) == (12.0, 8)
    assert found.slowdown == pytest.approx(0.2)


def test_one_interrupted_call_moves_neither_figure() -> None:
    found, _ = burst_and_sustained(
        cell_that_went_on(10.0, 10.0, 39.0, *[10.0] * 14, 39.0, 10.0, 10.0)
    )
    assert found is not None
    assert (found.burst_s, found.sustained_s) == (10.0, 10.0)


@pytest.mark.parametrize(
    ("cell", "why"),
    [
        (make_cell(), ""),
        (cell_that_went_on(), "no call was sustained"),
        (cell_that_went_on(*[1.0] * 89), "the cell went on for 89 s; from 90 s on"),
        (cell_that_went_on(200.0), "no call began in the last third"),
    ],
    ids=["not asked for", "no call", "too short for two windows", "one call"],
)
def test_there_are_no_two_figures_where_the_windows_overlap_or_are_empty_and_it_says_why(
    cell: Cell, why: str
) -> None:
    found, told = burst_and_sustained(cell)
    assert found is None
    assert why in told
    assert bool(told) is bool(why)
    row = to_rows([make_report(cell)])[0]
    assert ("burst_s, sustained_s: " + told in str(row["not_measured"])) is bool(why)


def test_the_shortest_time_that_is_named_is_one_that_counts() -> None:
    assert burst_and_sustained(cell_that_went_on(*[LEAST_S / 90] * 90))[0] is not None


def test_tables_have_both_speeds_where_they_are_known() -> None:
    long = cell_that_went_on(*[10.0] * 6, *[12.0] * 20)
    report = make_report(long, make_cell(steps=5))
    first, second = to_rows([report])
    assert (first["burst_s"], first["sustained_s"]) == (10.0, 12.0)
    assert (second["burst_s"], second["sustained_s"]) == (None, None)
    assert "sustained (s)" in to_markdown([report])


def test_calls_that_do_not_begin_at_the_beginning_have_no_two_figures_either() -> None:
    """No sweep writes such a cell, but anybody may."""
    late = Sustained(at_s=(100.0, 200.0), wall_s=(1.0, 1.0))
    cell = make_cell().model_copy(update={"sustained": late})
    assert burst_and_sustained(cell) == (None, "no call began in the first minute")
