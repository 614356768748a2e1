"""One report of any card improves the others, and never by more than it tells."""

from __future__ import annotations

import pytest
from machine_pace import piece_s, timed

from diffusion_bench.tiers.calibrate import CardSpreads, Residual, Spreads, correct
from diffusion_bench.tiers.workload import Workload

SPREADS = Spreads(
    source=0.2,
    workload=0.1,
    geforce=CardSpreads(card=0.05, workload=0.05),
    others=CardSpreads(card=0.2, workload=0.05),
    ratio=0.03,
    noise=0.02,
)
SD15 = Workload(model="sd15", batch=4)
SDXL = Workload(model="sdxl", width=1024, height=1024)


def residual(card: str = "RTX 4090", workload: Workload = SD15, log_ratio: float = 0.3) -> Residual:
    return Residual(card=card, workload=workload, log_ratio=log_ratio)


def test_only_recent_cards_at_large_work_have_the_narrow_interval_of_a_ratio() -> None:
    """At batch 1 of a small model the processor sets the pace, and Turing was hardly published."""
    narrow = SPREADS.in_ratio("RTX 4090", SD15)
    assert narrow == pytest.approx((0.03**2 + 0.02**2) ** 0.5)
    assert SPREADS.in_ratio("RTX 4090", SDXL) == narrow
    small = SPREADS.in_ratio("RTX 4090", SD15.model_copy(update={"batch": 1}))
    assert small == SPREADS.in_ratio("RTX 2080 Ti", SD15) > narrow
    assert SPREADS.in_ratio("A100 SXM4 40GB", SD15) > small


def test_without_reports_nothing_is_corrected_and_all_spread_remains() -> None:
    found = correct("RTX 4090", SD15, [], SPREADS)
    assert found.log_ratio == 0
    assert found.spread == pytest.approx((0.04 + 0.01 + 0.0025 + 0.0025 + 0.0004) ** 0.5)


def test_nearer_evidence_counts_more() -> None:
    same = correct("RTX 4090", SD15, [residual()], SPREADS)
    larger = correct("RTX 4090", SD15.model_copy(update={"batch": 8}), [residual()], SPREADS)
    other_model = correct("RTX 4090", SDXL, [residual()], SPREADS)
    other_card = correct("RTX 3090", SD15, [residual()], SPREADS)
    far = correct("RTX 3090", SDXL, [residual()], SPREADS)
    assert 0.3 > same.log_ratio > larger.log_ratio > other_model.log_ratio > far.log_ratio > 0.1
    assert same.log_ratio > other_card.log_ratio > far.log_ratio
    assert same.spread < larger.spread < other_model.spread < far.spread
    alone = correct("RTX 4090", SD15.model_copy(update={"guided": False}), [residual()], SPREADS)
    assert same.log_ratio > alone.log_ratio, "one pass instead of two is other work"


def test_cards_that_differ_more_teach_less() -> None:
    told = [residual(card="A100 SXM4 40GB")]
    assert (
        correct("RTX 4090", SD15, told, SPREADS).log_ratio
        < correct("RTX 4090", SD15, [residual(card="RTX 3090")], SPREADS).log_ratio
    )


def test_reports_that_agree_are_believed_more_than_one() -> None:
    few = [residual("RTX 3090")]
    many = [residual(f"RTX {name}") for name in ("3060 12GB", "3070", "3080 10GB", "3090", "4080")]
    one, more = (correct("RTX 4090", SD15, told, SPREADS) for told in (few, many))
    assert more.log_ratio > one.log_ratio
    assert more.spread < one.spread
    assert more.measurements == 5


def of_users(users: str, log_ratio: float = 0.3) -> list[Residual]:
    """Return a measurement of SD 1.5 on another card from each user, by a letter."""
    told = [residual("RTX 3090", log_ratio=log_ratio).model_copy(update={"user": u}) for u in users]
    return [one.model_copy(update={"user": one.user.strip()}) for one in told]


def test_what_strangers_machines_share_with_ours_is_less_than_what_ours_share() -> None:
    """Their drivers and processors are theirs; what they tell of workload and card holds."""
    ours, strangers = (correct("RTX 4090", SD15, of_users(u), SPREADS) for u in ("    ", "abcd"))
    assert ours.log_ratio > strangers.log_ratio > 0
    assert strangers.spread >= SPREADS.source > ours.spread
    many = correct("RTX 4090", SD15, of_users("abcdefghijklmnop"), SPREADS)
    assert many.spread >= SPREADS.source


def test_the_only_user_is_taken_for_the_one_who_asks_and_ours_goes_before_strangers() -> None:
    friend, own = (correct("RTX 4090", SD15, of_users(u), SPREADS) for u in ("a", " "))
    assert friend == own
    both = of_users("ab", log_ratio=-0.3) + of_users(" ", log_ratio=0.3)
    assert correct("RTX 4090", SD15, both, SPREADS).log_ratio > 0


def test_a_report_of_a_cell_outweighs_many_of_other_cards() -> None:
    told = [residual("RTX 3090", log_ratio=0.3)] * 20 + [residual("RTX 4090", log_ratio=-0.1)]
    assert correct("RTX 4090", SD15, told, SPREADS).log_ratio < 0


def test_ten_thousand_measurements_are_taken_in_at_once() -> None:
    told = [residual(f"RTX {i % 50}") for i in range(10_000)]
    found, taken_s = timed(lambda: correct("RTX 4090", SD15, told, SPREADS))
    assert found.log_ratio > 0.2
    assert taken_s < 20 * piece_s()
