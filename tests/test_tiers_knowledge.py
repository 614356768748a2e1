"""What predictions rest on: this machine's own cells before everybody's measurements."""

from __future__ import annotations

import pytest

from diffusion_bench.tiers.cards import find_card
from diffusion_bench.tiers.knowledge import MIN_OWN_CELLS, Knowledge
from diffusion_bench.tiers.predict import predict, residual_of
from diffusion_bench.tiers.workload import TimedCell, Workload

CARD = find_card("RTX 4090").card
assert CARD is not None
ASKED = Workload(model="sd15", batch=3, steps=33)


def own_cells(factor: float = 2.0, count: int = 12) -> list[TimedCell]:
    works = [
        Workload(model="sd15", batch=batch, steps=steps)
        for batch in (1, 2, 4, 8)
        for steps in (10, 20, 50)
    ][:count]
    seconds = [factor * predict(CARD, work).seconds for work in works]
    return [TimedCell(work, s, 0.9 * s) for work, s in zip(works, seconds, strict=True)]


def test_without_reports_it_is_the_specification() -> None:
    assert Knowledge().predict(CARD, ASKED) == predict(CARD, ASKED)


def test_own_cells_predict_the_others_and_say_so() -> None:
    told = Knowledge((), {CARD.name: own_cells()}).predict(CARD, ASKED)
    assert told.seconds == pytest.approx(2 * predict(CARD, ASKED).seconds, rel=0.1)
    assert told.basis == "12 cells that this machine measured on its RTX 4090"
    assert told.seconds_low < told.seconds < told.seconds_high
    alone = predict(CARD, ASKED)
    assert told.seconds_high / told.seconds_low < alone.seconds_high / alone.seconds_low


@pytest.mark.parametrize(
    "asked",
    [
        ASKED.model_copy(update={"precision": "fp32"}),
        ASKED.model_copy(update={"model": "sdxl"}),
    ],
)
def test_another_model_or_precision_is_left_to_the_specification_corrected(asked) -> None:
    residuals = [residual_of(CARD, cell.workload, cell.seconds) for cell in own_cells()]
    told = Knowledge(residuals, {CARD.name: own_cells()}).predict(CARD, asked)
    assert "published speeds, corrected by 12 measurements" in told.basis


def test_too_few_own_cells_are_measurements_like_others() -> None:
    told = Knowledge((), {CARD.name: own_cells(count=MIN_OWN_CELLS - 1)}).predict(CARD, ASKED)
    assert "this machine" not in told.basis


def test_cells_of_one_card_say_nothing_direct_of_another() -> None:
    other = find_card("RTX 4070 Ti").card
    assert other is not None
    told = Knowledge((), {CARD.name: own_cells()}).predict(other, ASKED)
    assert told == predict(other, ASKED)


def test_own_cells_of_two_precisions_have_a_law_each() -> None:
    half = own_cells()
    single = [
        TimedCell(cell.workload.model_copy(update={"precision": "fp32"}), 3 * cell.seconds, s)
        for cell, s in zip(half, (3 * cell.denoising_s for cell in half), strict=True)
    ]
    known = Knowledge((), {CARD.name: [*half, *single]})
    for precision in ("fp16", "fp32"):
        told = known.predict(CARD, ASKED.model_copy(update={"precision": precision}))
        assert told.basis == "12 cells that this machine measured on its RTX 4090"
