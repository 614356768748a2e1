"""The time left of a sweep has the warm-ups and the rests of every visit that is to come."""

from __future__ import annotations

import pytest
from simulated_card import Card, open_bench

from diffusion_bench.bench.cell_run import FORGOTTEN_S, METERED_S, CellRun, rest_s
from diffusion_bench.bench.runner import _Run
from diffusion_bench.bench.setup import Bench
from diffusion_bench.hardware.state import IDLE_S
from diffusion_bench.records import ImageRequest
from diffusion_bench.reports.schema import Cell

CELLS = [ImageRequest(prompt="a cat", steps=4, seed=seed) for seed in (1, 2)]
CALL_S, WARMUP_S = 2.4, 2.4 * 3 / 4  # of the card, and three of the four steps of that


def visited(bench: Bench, card: Card, earlier: Cell | None = None) -> tuple[Cell, float]:
    """Return the first cell after a visit, more to come, and the seconds the machine rested."""
    rested: list[float] = []

    def rest(seconds: float) -> None:
        rested.append(seconds)
        card.pass_time(seconds)

    run = CellRun(bench, CELLS[0], 0, earlier, clock=card.clock, rest=rest)
    assert list(run.prepare([earlier] if earlier else [])) == []
    for _ in run.events():
        pass
    return run.cell().model_copy(update={"stop_reason": None}), sum(rested)


def left_s(bench: Bench, *cells: Cell) -> float | None:
    """Return what is left of a report with those cells, as it is gone on with."""
    before = bench.before.model_copy(update={"cells": cells})
    return next(_Run(bench._replace(before=before)).events()).remaining_s


def test_the_rests_that_are_reckoned_with_are_those_that_are_taken() -> None:
    card = Card()
    bench = open_bench(card, *CELLS, rounds=3, repeats=3)
    cell, first_s = visited(bench, card)
    _, later_s = visited(bench, card, cell)
    assert first_s == rest_s(1, on_gpu=False)
    assert later_s == rest_s(1, on_gpu=True)


def test_a_round_is_done_when_every_cell_that_is_left_has_been_visited_in_it() -> None:
    card = Card()
    bench = open_bench(card, *CELLS, rounds=4, repeats=4)
    once, _ = visited(bench, card)
    twice, _ = visited(bench, card, once)
    other_id = bench.header.cell_id(CELLS[1])
    other = once.model_copy(update={"cell_id": other_id, "request": CELLS[1]})
    before = bench.before.model_copy(update={"cells": (twice, other)})
    assert _Run(bench._replace(before=before))._rounds_done() == 1


def test_rounds_that_no_cell_has_a_call_for_are_not_announced() -> None:
    run = _Run(open_bench(Card(), *CELLS, rounds=99, repeats=2))
    ready = next(run.events())
    assert (ready.rounds, ready.bar) == (2, (0, 2 * len(CELLS)))


@pytest.mark.parametrize(
    ("device", "a_rest_s"), [("cuda:0", IDLE_S + FORGOTTEN_S), ("cpu", IDLE_S)], ids=["card", "CPU"]
)
def test_each_visit_that_is_left_has_its_calls_its_warmups_and_its_rest(
    device: str, a_rest_s: float
) -> None:
    card = Card()
    bench = open_bench(card, *CELLS, call_s=CALL_S, rounds=3, repeats=3, warmups=2, device=device)
    cell, _ = visited(bench, card)
    assert len(cell.samples) == 1
    a_visit_s = CALL_S + 2 * WARMUP_S + a_rest_s
    assert left_s(bench, cell) == pytest.approx((2 + 3) * a_visit_s)
    assert left_s(bench) is None


def test_calls_beyond_the_rounds_are_one_more_visit() -> None:
    card = Card()
    bench = open_bench(card, CELLS[0], call_s=CALL_S, rounds=1, repeats=3)
    cell, _ = visited(bench, card)
    a_visit_s = CALL_S + WARMUP_S + IDLE_S + FORGOTTEN_S
    assert left_s(bench, cell) == pytest.approx(a_visit_s)


def test_short_calls_are_gone_on_with_for_their_energy_once_a_cell_and_only_on_a_card() -> None:
    card = Card()
    left = []
    for call_s in (0.6, CALL_S):
        for device in ("cuda:0", "cpu"):
            bench = open_bench(card, *CELLS, call_s=call_s, rounds=3, repeats=3, device=device)
            cell, _ = visited(bench, card)
            left.append(left_s(bench, cell))
    short_s, short_on_cpu_s, long_s, long_on_cpu_s = left
    rests_s = (2 + 3) * FORGOTTEN_S
    assert short_s == pytest.approx(short_on_cpu_s + rests_s + 2 * METERED_S)
    assert long_s == pytest.approx(long_on_cpu_s + rests_s)


def test_what_is_to_be_sustained_is_reckoned_with_until_it_has_been() -> None:
    card = Card()
    bench = open_bench(card, *CELLS, rounds=3, repeats=3, sustain_s=60.0)
    sustained, _ = visited(bench, card)
    timed = sustained.model_copy(update={"sustained": None})
    both_s = [left_s(bench, cell) for cell in (timed, sustained)]
    assert both_s[0] == pytest.approx(both_s[1] + 60.0)
