"""Calls of one visit share the machine's minute: what visits differ by is in the interval."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from fakes import make_cell, make_report

from diffusion_bench.reports.between_visits import visit_medians, with_visits
from diffusion_bench.reports.compare import compare
from diffusion_bench.reports.intervals import student_t
from diffusion_bench.reports.overall import overall
from diffusion_bench.reports.schema import Cell, Extrapolation, Visit
from diffusion_bench.reports.shift import Ratio, ratio_of_samples
from diffusion_bench.reports.stats import summarise
from diffusion_bench.reports.verdicts import judge

STARTED = "2026-01-02T03:04:06Z"
CELLS = 200


def in_visits(visits: Sequence[Sequence[float]]) -> Cell:
    cell = make_cell(wall_s=[time for visit in visits for time in visit])
    told = tuple(Visit(started_utc=STARTED, calls=len(visit)) for visit in visits)
    return cell.model_copy(update={"visits": told})


def measured(rng: random.Random, drift: float, slower: float = 1.0) -> Cell:
    """Return a cell of 3 visits of 4 calls, on a machine that drifts from visit to visit."""
    paces = [slower * math.exp(rng.gauss(0, drift)) for _ in range(3)]
    return in_visits([[pace * math.exp(rng.gauss(0, 0.01)) for _ in range(4)] for pace in paces])


def share_named(drift: float, slower: float = 1.0) -> float:
    """Return in what share of cells two runs are called faster or slower."""
    rng = random.Random(3)
    named = 0
    for _ in range(CELLS):
        pair = [make_report(measured(rng, drift)), make_report(measured(rng, drift, slower))]
        (row,) = compare(pair)
        named += row.verdict in ("faster", "slower")
    return named / CELLS


def test_a_machine_that_drifts_between_visits_is_seldom_called_another_one() -> None:
    """By its calls alone 27 percent of the cells would be."""
    assert share_named(drift=0.08) <= 0.06


def test_a_tenth_more_time_is_found_on_a_steady_machine_from_three_visits() -> None:
    assert share_named(drift=0.01, slower=1.1) >= 0.9


@pytest.mark.parametrize(("drift", "least"), [(0.0, 0.94), (0.02, 0.94), (0.08, 0.93)])
def test_a_cells_interval_covers_its_median_as_often_as_it_says_however_visits_differ(
    drift: float, least: float
) -> None:
    """By its calls alone it would in 76 percent at a drift of 0.08, and say 96."""
    rng = random.Random(5)
    found = [summarise(measured(rng, drift)) for _ in range(2 * CELLS)]
    intervals = [one.interval_s for one in found if one and one.interval_s]
    held = sum(one.low <= 1 <= one.high for one in intervals) / len(intervals)
    assert held >= least
    assert all(held >= one.confidence - 0.04 for one in intervals)


def test_names_that_rest_on_one_visit_are_counted_with_what_their_intervals_lack() -> None:
    once, slower = [1.0, 1.01, 0.99, 1.0, 1.02], [1.3, 1.31, 1.29, 1.3, 1.32]
    old, new = make_report(in_visits([once])), make_report(in_visits([slower]))
    (row,) = compare([old, new])
    (found,) = overall([old, new])
    assert (row.verdict, row.one_visit) == ("slower", True)
    (told,) = [line for line in found.words() if "one visit" in line]
    assert told.startswith("1 of the named cells was measured in one visit on a side")

    unclear = make_report(in_visits([[0.7, 0.9, 1.02, 1.2, 1.4]]))
    (row,) = compare([old, unclear])
    assert (row.verdict, row.one_visit) == ("cannot tell", True)
    assert overall([old, unclear])[0].one_visit == 0, "it has no name"

    often = [make_report(in_visits([side] * 3)) for side in (once, slower)]
    assert compare(often)[0].verdict == "slower"
    assert not [line for line in overall(often)[0].words() if "one visit" in line]


def test_visits_that_differ_widen_an_interval_and_others_leave_it() -> None:
    old, new = [1.0, 1.01, 1.0, 1.01, 1.0, 1.01], [1.2, 1.21, 1.2, 1.21, 1.2, 1.21]
    plain = ratio_of_samples(old, new)

    steady = with_visits(plain, [1.005] * 3, [1.205] * 3)
    moved = with_visits(plain, [0.9, 1.0, 1.1], [1.1, 1.2, 1.3])

    assert steady.low == pytest.approx(plain.low)
    assert steady.high == pytest.approx(plain.high)
    assert moved.middle == plain.middle
    assert moved.low is not None
    assert plain.low is not None
    assert moved.low < 1 < plain.low


def test_an_interval_that_visits_widen_states_no_more_confidence_than_its_calls_have() -> None:
    for apart, confidence in ((0.1, 0.9375), (0.0, 0.9375)):
        found = summarise(in_visits([[1.0, 1.01], [1.0 + apart, 1.01 + apart, 1.02 + apart]]))
        assert found
        assert found.interval_s
        assert found.interval_s.confidence == confidence


def test_where_visits_differ_rounds_are_advised_and_else_repeats() -> None:
    def advice(visits: Sequence[Sequence[float]], others: Sequence[Sequence[float]]) -> str:
        (row,) = compare([make_report(in_visits(visits)), make_report(in_visits(others))])
        assert row.verdict == "cannot tell"
        return row.reason

    calls = [1.0, 1.001, 1.002, 1.003]
    moved = [[pace * call for call in calls] for pace in (0.9, 1.0, 1.1)]
    other = [[1.08 * time for time in visit] for visit in moved]
    assert "rounds would settle it" in advice(moved, other)

    noisy = [0.85, 0.95, 1.05, 1.15]
    steady = [noisy, noisy, noisy]
    assert "repeats would settle it" in advice(steady, [[1.07 * t for t in noisy]] * 3)


def in_part(visits: Sequence[Sequence[float]]) -> Cell:
    """Return a cell of so many visits of calls of 10 steps, of which 100 are asked for."""
    short = in_visits(visits)
    asked = short.request.model_copy(update={"steps": 100})
    samples = tuple(
        make_cell(wall_s=[sample.wall_s], steps=10).samples[0] for sample in short.samples
    )
    rule = Extrapolation(measured_steps=10, rule="test")
    named = {"request": asked, "cell_id": asked.workload_id()}
    return short.model_copy(update={**named, "samples": samples, "extrapolation": rule})


def test_extrapolated_cells_are_advised_rounds_and_none_that_their_drift_makes_useless() -> None:
    def reason(*sides: Cell) -> str:
        (row,) = compare([make_report(side) for side in sides])
        assert row.verdict == "cannot tell"
        return row.reason

    moved = [[pace * call for call in (1.0, 1.001)] for pace in (0.95, 1.0, 1.05)]
    slower = [[1.08 * time for time in visit] for visit in moved]
    assert "rounds would settle it" in reason(in_part(moved), in_part(slower))
    # 3.5 percent apart: of 5 less than the 2.8 are left that two drifts of 2 percent make.
    quiet = [[pace * call for call in (1.0, 1.001)] for pace in (0.99, 1.0, 1.01)]
    near = [[1.035 * time for time in visit] for visit in quiet]
    assert "too close to call" in reason(in_part(quiet), in_part(near))
    whole = reason(in_visits(quiet), in_visits(near))
    assert "rounds would settle it" in whole, "where every step is timed it can be told"


def test_the_reach_is_students_of_the_logarithms_of_both_sides() -> None:
    """Visits at 1/1.1 and 1.1 on both sides: a pooled deviation of ln 1.1 times the root of 2."""
    narrow = Ratio(middle=1.0, low=0.999, high=1.001, same_low=0.999, same_high=1.001)
    wide = with_visits(narrow, [1 / 1.1, 1.1], [1 / 1.1, 1.1])

    deviation = math.log(1.1) * math.sqrt(2)
    assert wide.high == pytest.approx(math.exp(4.303 * deviation))
    assert wide.same_high == pytest.approx(math.exp(2.920 * deviation))
    assert wide.low == pytest.approx(1 / wide.high)

    more = with_visits(narrow, [1 / 1.1, 1.1] * 3, [1 / 1.1, 1.1] * 3)
    deviation = math.log(1.1) * math.sqrt(12 / 10)  # of ten degrees of freedom
    assert more.high == pytest.approx(math.exp(2.228 * deviation * math.sqrt(2 / 6)))


def test_of_eight_visits_one_beside_a_busy_neighbour_does_not_decide() -> None:
    steady = [1.0, 1.01, 0.99, 1.02, 0.98, 1.0, 1.01, 0.99]
    slower, disturbed = [1.2 * each for each in steady], [1.6, *steady[1:]]
    calls = ratio_of_samples([1.0] * 12, [1.2] * 12)

    found = with_visits(calls, disturbed, slower)

    assert found.low is not None
    assert found.high is not None
    assert 1.1 < found.low < 1.2 < found.high < 1.3
    assert (found.middle, found.visits) == (calls.middle, 8)
    seven = with_visits(calls, disturbed[:7], slower[:7])  # too few to be ranked
    assert seven.low is not None
    assert seven.low < 1.05


@pytest.mark.parametrize("visits", [8, 12, 24])
def test_the_ranks_of_visits_hold_the_ratio_as_often_as_they_say(visits: int) -> None:
    """Also where one visit in ten is beside a neighbour that takes a third of the machine."""
    rng, held = random.Random(visits), 0

    def pace() -> float:
        return math.exp(rng.gauss(0, 0.05)) * (1.5 if rng.random() < 0.1 else 1.0)

    for _ in range(2 * CELLS):
        old, new = [pace() for _ in range(visits)], [1.1 * pace() for _ in range(visits)]
        wide = with_visits(ratio_of_samples([*old, *old], [*new, *new]), old, new)
        assert wide.low is not None
        assert wide.high is not None
        held += wide.low <= 1.1 <= wide.high
    assert held / (2 * CELLS) >= 0.93


def test_one_visit_says_nothing_of_what_visits_differ_by() -> None:
    ratio = ratio_of_samples([1.0] * 6, [1.2] * 6)
    assert with_visits(ratio, [1.0], [1.1, 1.3]) == ratio


def test_no_bound_comes_of_too_few_samples_by_their_visits() -> None:
    ratio = ratio_of_samples([1.0, 1.1], [1.0, 1.1])
    assert ratio.low is None
    assert with_visits(ratio, [1.0, 1.1], [1.0, 1.1]).low is None


def test_calls_are_shared_out_to_visits_where_their_numbers_agree() -> None:
    cell = in_visits([[1.0, 2.0, 9.0], [3.0]])
    assert visit_medians(cell, [1.0, 2.0, 9.0, 3.0]) == [2.0, 3.0]
    assert visit_medians(cell, [1.0, 2.0, 9.0]) == [2.0]  # not known whose: all are one visit
    empty = cell.model_copy(update={"visits": (*cell.visits, Visit(started_utc=STARTED, calls=0))})
    assert visit_medians(empty, [1.0, 2.0, 9.0, 3.0]) == [2.0, 3.0]


@pytest.mark.parametrize(("freedom", "t"), [(1, 12.706), (4, 2.776), (11, 2.228), (500, 1.980)])
def test_students_t_errs_towards_the_wider(freedom: int, t: float) -> None:
    assert student_t(freedom, 0.05) == t


def test_the_rounds_that_would_settle_it_are_not_told_as_if_two_visits_knew_their_spread():
    """Student's t of two visits a side is twice that of many, which the next rounds take off."""
    ratio = Ratio(middle=0.99, low=0.74, high=1.325, same_low=0.8, same_high=1.2, visits=2)
    verdict, why = judge(ratio, (6, 6))
    assert verdict == "cannot tell"
    assert why.endswith("about 26 rounds would settle it")
    hopeless = ratio.model_copy(update={"middle": 1.0499})
    assert judge(hopeless, (6, 6))[1].endswith("too close to call by repeating")
