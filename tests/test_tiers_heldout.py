"""The errors that are stated are those of the data that is shipped."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
from machine_pace import piece_s, timed

from diffusion_bench.tiers import heldout
from diffusion_bench.tiers import scores as scoring
from diffusion_bench.tiers.calibrate import SMALL_MODELS
from diffusion_bench.tiers.cards import find_card
from diffusion_bench.tiers.efficiency import Score, shipped_efficiency
from diffusion_bench.tiers.fit import PRIORS, columns_of, fit_of, log_speeds
from diffusion_bench.tiers.heldout import (
    errors,
    fitted_rows,
    naive_log_ratio,
    ratio_pairs,
    ratios_left_out,
)
from diffusion_bench.tiers.predict import Z_80, estimate
from diffusion_bench.tiers.published import published_speeds
from diffusion_bench.tiers.refit import left_out, refit, to_toml

BY_CARD = "ratio of two cards, one of them left out"
BY_SOURCE = "ratio of two cards, the source left out"
ABSOLUTE = "absolute, from specifications alone"
AFTER_ONE = "absolute, after one report of another card"
RATIO_WITHOUT = "ratio of two cards, intervals without the source"
WITHOUT_SOURCE = "absolute, after one report, intervals without the source"
OTHER_CELLS = "other batches of a measured card"


@pytest.fixture(scope="module")
def rows():
    return fitted_rows(published_speeds())


@pytest.fixture(scope="module")
def without() -> tuple[heldout.LeftOut, heldout.LeftOut]:
    return left_out()


@pytest.mark.slow
def test_the_stated_fit_and_errors_come_from_the_shipped_rows(without) -> None:
    again, shipped = refit(*without), shipped_efficiency()
    assert again.rows == shipped.rows
    assert again.scores.keys() == shipped.scores.keys()
    for name, score in shipped.scores.items():
        stated = score.model_dump(exclude_none=True)
        assert again.scores[name].model_dump(exclude_none=True) == pytest.approx(stated, abs=0.01)
    for name, value in shipped.fit.rates.model_dump().items():
        assert getattr(again.fit.rates, name) == pytest.approx(value, rel=0.02), name


def held(score: Score) -> bool:
    """Return whether an 80 percent interval holds what it should of rows left out."""
    return 0.75 <= score.coverage <= 0.90


def test_the_stated_errors_keep_what_the_methodology_promises() -> None:
    scores = shipped_efficiency().scores
    for name in (BY_CARD, BY_SOURCE):
        assert scores[name].median <= 0.08
        assert scores[name].p90 <= 0.20
        assert scores[name].median <= scores[name].naive_median * 2 / 3
    assert scores[ABSOLUTE].median <= 0.25
    assert scores[AFTER_ONE].median <= 0.15
    assert scores[OTHER_CELLS].median <= 0.05
    assert {name: score.coverage for name, score in scores.items() if not held(score)} == {}


def test_the_methodologys_table_states_the_shipped_errors() -> None:
    page = Path(__file__).parents[1] / "docs" / "methodology.md"
    table = [line for line in page.read_text(encoding="utf-8").splitlines() if " % |" in line]
    stated = [line for line in table if line.startswith(("| ratio", "| absolute", "| other"))]
    scores = shipped_efficiency().scores
    names = (BY_CARD, BY_SOURCE, RATIO_WITHOUT, ABSOLUTE, AFTER_ONE, WITHOUT_SOURCE, OTHER_CELLS)
    assert len(stated) == len(names)
    for line, name in zip(stated, names, strict=True):
        _, _, count, ours, naive, coverage, _ = (part.strip() for part in line.split("|"))
        score = scores[name]
        assert int(count) == score.n, line
        assert ours == f"{100 * score.median:.1f}, {100 * score.p90:.1f} %", line
        assert coverage == f"{100 * score.coverage:.0f} %", line
        if score.naive_median is not None and score.naive_p90 is not None:
            assert naive == f"{100 * score.naive_median:.1f}, {100 * score.naive_p90:.1f} %", line


def middle_errors(ratios) -> tuple[float, float]:
    """Return the median errors of ours and of the naive rule, in percent."""
    actual = [one.actual for one in ratios]
    told = [one.predicted for one in ratios], [one.naive for one in ratios]
    ours, naive = (100 * float(np.median(errors(actual, each))) for each in told)
    return ours, naive


@pytest.mark.slow
def test_the_methodology_states_the_errors_on_users_own_machines(without) -> None:
    page = Path(__file__).parents[1] / "docs" / "methodology.md"
    text = " ".join(page.read_text(encoding="utf-8").split())
    mine, source = (
        [one for one in ratios_left_out(each) if one.a.group.startswith("G40")] for each in without
    )
    known = [one for one in mine if min(one.a.records, one.b.records) >= 30]
    (ours, naive), (unseen, _) = middle_errors(mine), middle_errors(source)
    assert (
        f"the error is {ours:.1f} percent with a card left out and {unseen:.1f} with the "
        f"source, against {naive:.1f}, where a third less than that would be {naive * 2 / 3:.1f}"
    ) in text
    ours, naive = middle_errors(known)
    assert ours <= naive * 2 / 3
    assert (
        f"on its {len(known)} ratios of two medians of 30 records or more the error is {ours:.1f} "
        f"against {naive:.1f}"
    ) in text
    spreads = shipped_efficiency().spreads
    inside = [
        100 * np.mean([scoring._ratio_inside(one, spreads) for one in pairs])
        for pairs in (mine, known)
    ]
    assert (
        f"it holds {inside[0]:.0f} percent of those between users' machines, and {inside[1]:.0f} "
        f"of the {len(known)}"
    ) in text


def test_every_pair_that_is_scored_is_of_the_table_that_defines_them(rows) -> None:
    pairs = ratio_pairs(rows)
    assert len(pairs) > 100
    for i, j in pairs:
        a, b = rows[i], rows[j]
        assert a.configuration == b.configuration
        assert a.card.name != b.card.name
        assert all(one.card.name.startswith(("RTX 3", "RTX 4", "RTX 5")) for one in (a, b))
        assert a.workload.batch >= 4 or a.workload.model not in SMALL_MODELS
        assert all(one.records is None or one.records >= 5 for one in (a, b))
    assert any(rows[i].group.startswith("G40") for i, _ in pairs)


def test_the_interval_after_a_report_has_not_seen_the_card_it_is_judged_on(rows) -> None:
    """Made wild, a card's own rows must not widen the interval that judges it."""
    few = [row for row in rows if row.group.startswith("G40")]
    wild = few[0].card.name
    plain = [heldout.Speed(row, 0.0, 0.01 * (i % 7)) for i, row in enumerate(few)]
    strange = [
        speed._replace(predicted=5.0) if speed.row.card.name == wild else speed for speed in plain
    ]
    assert (
        scoring._spreads_of_other_cards(strange)[wild]
        == (scoring._spreads_of_other_cards(plain)[wild])
    )


def test_a_card_of_a_source_counts_once_and_few_cards_make_a_wider_spread() -> None:
    """One laboratory's card in four kinds of software is no four cards that agree."""
    cards = [("a", f"RTX {number}", 0.01 * number) for number in range(1, 12)]
    often = cards + [("a", "RTX 1", 0.01)] * 50
    assert heldout._spread_of_cards(often) == heldout._spread_of_cards(cards)
    alike = [("a", f"RTX {number}", 0.1) for number in range(12)]
    many, few = heldout._spread_of_cards(alike), heldout._spread_of_cards(alike[:3])
    assert 0.1 / Z_80 < many < 1.1 * 0.1 / Z_80
    assert few == pytest.approx(0.1 / Z_80 * 1.886 / Z_80, rel=0.03)  # Student's, 2 degrees


def test_what_is_left_out_is_not_fitted_to(rows, monkeypatch) -> None:
    seen = []

    def spy(columns):
        seen.append(set(columns.group))
        return fit_of(np.array([mean for mean, _ in PRIORS.values()]))

    monkeypatch.setattr(heldout, "fit_rows", spy)
    found = ratios_left_out(heldout.LeftOut(rows, lambda row: row.group))
    sources = sorted({ratio.left_out for ratio in found})
    for source, groups in zip(sources, seen, strict=True):
        assert not any(group.startswith(source) for group in groups)
        assert groups


def test_the_naive_rule_is_the_root_of_fp32_and_bandwidth() -> None:
    a, b = find_card("RTX 3090").card, find_card("RTX 4090").card
    assert a is not None
    assert b is not None
    expected = math.sqrt(35.58 / 82.58 * 936.2 / 1008)
    assert math.exp(naive_log_ratio(a, b)) == pytest.approx(expected)


def test_errors_are_of_predicted_over_actual() -> None:
    assert errors([math.log(2)], [math.log(3)]) == pytest.approx([0.5])
    assert errors([math.log(4)], [math.log(3)]) == pytest.approx([0.25])


def test_the_fit_and_the_prediction_use_one_formula(rows) -> None:
    fit = shipped_efficiency().fit
    some = rows[::37]
    for row, log_speed in zip(some, log_speeds(columns_of(some), fit), strict=True):
        alone = estimate(row.card, row.workload, row.software, fit)
        seconds = alone.denoising_s if row.loop_only else alone.total_s
        rate = row.workload.batch * row.workload.steps / seconds
        assert math.log(rate) == pytest.approx(log_speed)


def test_every_published_row_that_ships_has_a_source(rows) -> None:
    assert all(row.source and row.source_locator for row in published_speeds())
    assert not any(
        row.group.startswith("G02") and row.card.name == "RTX 4090" and "1.13" in row.configuration
        for row in published_speeds()
    )


def test_the_fit_is_quick_enough_to_be_done_again(rows) -> None:
    _, taken_s = timed(lambda: columns_of(rows))
    assert taken_s < 120 * piece_s()


def test_the_file_is_written_as_it_is_read() -> None:
    import tomllib

    values = shipped_efficiency().model_dump()
    again = tomllib.loads(to_toml(values))
    assert type(shipped_efficiency()).model_validate(again) == shipped_efficiency()
