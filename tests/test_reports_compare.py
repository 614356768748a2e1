"""Comparison: equal work only, clear differences only, and a reason for every verdict."""

from __future__ import annotations

import pytest
from fakes import make_cell, make_report

from diffusion_bench.reports.compare import compare

SLOW = (1.00, 1.01, 1.02, 1.03, 1.04)


def verdict(old: tuple[float, ...], new: tuple[float, ...]) -> tuple[str, str]:
    (row,) = compare([make_report(make_cell(wall_s=old)), make_report(make_cell(wall_s=new))])
    return row.verdict, row.reason


@pytest.mark.parametrize(
    ("new", "wanted"),
    [
        ((0.50, 0.51, 0.52, 0.53, 0.54), "faster"),
        ((2.00, 2.01, 2.02, 2.03, 2.04), "slower"),
        ((1.00, 1.01, 1.02, 1.03, 1.04), "same"),
        ((0.90, 1.01, 1.08, 1.20, 1.30), "unclear"),
        ((0.70, 0.80, 0.90, 1.01, 1.10), "unclear"),
    ],
)
def test_a_difference_is_named_only_where_the_intervals_part(new, wanted):
    assert verdict(SLOW, new)[0] == wanted


def test_below_five_samples_nothing_is_clear():
    found, reason = verdict((1.0, 1.0, 1.0), (9.0, 9.0, 9.0))
    assert found == "unclear"
    assert "repeat 5 times" in reason


def test_an_unclear_row_says_how_many_repeats_would_settle_it():
    assert "repeats would settle it" in verdict(SLOW, (0.90, 1.01, 1.08, 1.20, 1.30))[1]
    assert "too close" in verdict((1.0, 1.1, 1.2, 1.3, 1.4), (1.0, 1.15, 1.2, 1.3, 1.5))[1]


def test_the_ratio_is_of_the_other_over_the_baseline():
    (row,) = compare([make_report(make_cell(wall_s=(2.0,))), make_report(make_cell(wall_s=(1.0,)))])
    assert (row.baseline_s, row.other_s, row.ratio) == (2.0, 1.0, 0.5)


def test_two_protocols_are_never_compared():
    old = make_report(make_cell(wall_s=SLOW))
    new = make_report(make_cell(wall_s=SLOW), protocol_version=2)
    (row,) = compare([old, new])
    assert (row.verdict, row.ratio) == ("cannot compare", None)
    assert "protocols 1 and 2" in row.reason


def test_work_that_only_one_report_has_is_a_row_that_says_so():
    old = make_report(make_cell(steps=10), make_cell(steps=20, status="oom"), source="a.jsonl")
    new = make_report(make_cell(steps=20), make_cell(steps=30), source="b.jsonl")
    rows = {row.request.steps: row for row in compare([old, new])}
    assert {row.verdict for row in rows.values()} == {"cannot compare"}
    assert rows[10].reason == "not measured in b.jsonl"
    assert rows[20].reason == "oom in a.jsonl"
    assert rows[30].reason == "not measured in a.jsonl"


def test_one_report_has_nothing_to_be_compared_with():
    assert compare([make_report(make_cell())]) == []
