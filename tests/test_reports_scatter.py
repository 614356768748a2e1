"""What a few visits do not know of their scatter the other cells of the comparison lend them."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence

import pytest
from fakes import make_cell, make_report

from diffusion_bench.records import SpeedProbe
from diffusion_bench.reports.between_visits import with_visits
from diffusion_bench.reports.compare import Row, compare
from diffusion_bench.reports.scatter import MOST_LENT, Scatter, prior_of, scatter_of
from diffusion_bench.reports.schema import Report, Visit
from diffusion_bench.reports.shift import Ratio
from diffusion_bench.reports.verdicts import judge

STARTED = "2026-01-02T03:04:06Z"
NARROW = Ratio(middle=1.0, low=0.999, high=1.001, same_low=0.999, same_high=1.001)
CELLS = 12


def drawn(rng: random.Random, true: float, freedom: int) -> Scatter:
    """Return a variance as so many degrees of freedom find one of `true`."""
    return Scatter(sum(true * rng.gauss(0, 1) ** 2 for _ in range(freedom)) / freedom, freedom)


def test_what_cells_have_in_common_is_found_again() -> None:
    """Their own variances are of the distribution that the method assumes, d0 = 4 and s0 = 0.02."""
    rng = random.Random(1)
    trues = [0.02**2 / drawn(rng, 1.0, 4).variance for _ in range(4000)]
    prior = prior_of(drawn(rng, true, 8) for true in trues)
    assert prior is not None
    assert prior.freedom == pytest.approx(4, abs=0.5)
    assert math.sqrt(prior.variance) == pytest.approx(0.02, rel=0.03)


@pytest.mark.parametrize(("freedom", "factor"), [(1, 2.0), (2, 1.0)])
def test_cells_that_all_scatter_alike_lend_the_most_that_any_may(
    freedom: int, factor: float
) -> None:
    """By digamma of 1/2, 1 and 3, which is 3/2 less Euler's constant: e to the 3/2 over 3."""
    prior = prior_of([Scatter(0.01, freedom)] * 6)
    assert prior is not None
    assert prior.freedom == pytest.approx(MOST_LENT)
    assert prior.variance == pytest.approx(0.01 * factor * math.exp(1.5) / 3)


def test_cells_that_have_nothing_in_common_lend_nothing() -> None:
    prior = prior_of(Scatter(10.0 ** (-4 * power), 4) for power in range(1, 9))
    assert prior is not None
    assert prior.freedom < 0.5


def test_fewer_than_six_cells_and_visits_that_agree_to_the_last_digit_lend_nothing() -> None:
    one, none = Scatter(0.01, 2), Scatter(0.0, 2)
    assert prior_of([one] * 5) is None
    assert prior_of([one] * 5 + [none] * 7) is None
    assert prior_of([one] * 6 + [none]) == prior_of([one] * 6)


def test_a_moderated_interval_is_students_of_both_variances_and_their_degrees_of_freedom() -> None:
    sides, prior = ([1 / 1.1, 1.1], [1 / 1.1, 1.1]), Scatter(0.03**2, 6.0)
    own = scatter_of(sides)
    assert own == (pytest.approx(2 * math.log(1.1) ** 2), 2)

    found = with_visits(NARROW, *sides, prior)

    error = math.sqrt((6 * 0.03**2 + 2 * own.variance) / 8)  # times the root of 1/2 + 1/2
    assert found.high == pytest.approx(math.exp(2.306 * error))
    assert found.same_high == pytest.approx(math.exp(1.860 * error))
    assert (found.visits, found.lent) == (2, 6.0)
    agreeing = with_visits(NARROW, [1.0, 1.0], [1.0, 1.0], prior)
    assert agreeing.high == pytest.approx(math.exp(2.306 * math.sqrt(6 * 0.03**2 / 8)))


def test_rounds_are_advised_by_what_they_add_to_what_other_cells_lend() -> None:
    """Two visits that know their spread already have less to gain by more than two that do not."""
    alone = Ratio(middle=0.99, low=0.74, high=1.325, same_low=0.8, same_high=1.2, visits=2)
    lent = alone.model_copy(update={"lent": 6.0})
    assert judge(alone, (6, 6))[1].endswith("about 26 rounds would settle it")
    # A share of 0.133 of t(8) = 2.306 over the root of 2 is to be reached: 1.980 over that of 84.
    assert judge(lent, (6, 6))[1].endswith("about 84 rounds would settle it")


def sweep(rng: random.Random, visits: int, slowed: str = "", *, probed: bool = True) -> Report:
    """Return 12 cells whose own scatter differs threefold, where each round drifts 3 percent."""
    cells = []
    drifts = [rng.gauss(0, 0.03) for _ in range(visits)]
    for number in range(CELLS):
        sampler = "ddpm" if number % 2 else "ddim"
        own, slower = 0.012 * 3 ** (number / (CELLS - 1)), 1.1 if sampler == slowed else 1.0
        walls: list[float] = []
        for drift in drifts:
            pace = slower * math.exp(drift + rng.gauss(0, own))
            walls += [pace * math.exp(rng.gauss(0, 0.01)) for _ in range(6 // visits)]
        told = tuple(Visit(started_utc=STARTED, calls=6 // visits) for _ in drifts)
        speeds = tuple(probe(visit, drift) for visit, drift in enumerate(drifts))
        cell = make_cell(wall_s=walls, sampler=sampler, steps=10 + number // 2)
        probes = speeds if probed else ()
        cells.append(cell.model_copy(update={"visits": told, "machine_speed": probes}))
    return make_report(*cells)


def probe(visit: int, drift: float) -> SpeedProbe:
    runs = (0.007 * math.exp(drift),)
    return SpeedProbe(visit=visit, work="some products", before_s=runs, after_s=runs)


def rows(visits: int, slowed: str = "") -> list[Row]:
    rng = random.Random(11)
    pairs = [(sweep(rng, visits), sweep(rng, visits, slowed)) for _ in range(12)]
    return [row for pair in pairs for row in compare(pair)]


def alone(visits: int, slowed: str = "") -> list[Row]:
    """Return the same rows, each compared with no other cell beside it."""
    rng = random.Random(11)
    pairs = [(sweep(rng, visits), sweep(rng, visits, slowed)) for _ in range(12)]
    return [
        row
        for old, new in pairs
        for one in zip(old.cells, new.cells, strict=True)
        for row in compare([make_report(cell) for cell in one])
    ]


def share(found: Sequence[Row], verdict: str, sampler: str) -> float:
    asked = [row for row in found if row.request.sampler == sampler]
    return sum(row.verdict == verdict for row in asked) / len(asked)


def test_a_tenth_more_time_is_found_after_two_rounds_and_no_equal_cell_is_named_more_often() -> (
    None
):
    together, apart = rows(2, slowed="ddpm"), alone(2, slowed="ddpm")
    assert share(apart, "slower", "ddpm") <= 0.7
    assert share(together, "slower", "ddpm") >= 0.8
    assert share(together, "slower", "ddim") + share(together, "faster", "ddim") <= 0.05
    held = [row.net_low <= 1 <= row.net_high for row in rows(2) if row.net_low and row.net_high]
    assert len(held) == 12 * CELLS
    assert sum(held) / len(held) >= 0.94


def test_of_the_times_alone_a_cell_is_judged_by_itself() -> None:
    """A round that is slow for all cells would pass for what each of them is known by."""
    rng = random.Random(12)
    old, new = (sweep(rng, 3, probed=False) for _ in range(2))
    for row, pair in zip(compare([old, new]), zip(old.cells, new.cells, strict=True), strict=True):
        (single,) = compare([make_report(cell) for cell in pair])
        assert (row.verdict, row.reason) == (single.verdict, single.reason)
        assert row.net_ratio is None


def test_cells_that_the_other_report_lacks_lend_nothing() -> None:
    rng = random.Random(13)
    old, new = sweep(rng, 2), sweep(rng, 2)
    five = [make_report(*report.cells[:5]) for report in (old, new)]
    fewer = [make_report(*old.cells), make_report(*new.cells[:5])]
    for row, same in zip(compare(five), compare(fewer), strict=False):
        assert (row.verdict, row.reason, row.net_high) == (same.verdict, same.reason, same.net_high)
    six = compare([make_report(*report.cells[:6]) for report in (old, new)])
    assert [row.net_high for row in six[:5]] != [row.net_high for row in compare(five)]
