"""One cell as it is watched: the card at rest before it, and all of what it did, however long."""

from __future__ import annotations

from typing import Any

from simulated_card import IDLE_W, Card, open_bench

from diffusion_bench.bench.cell_run import CellRun
from diffusion_bench.bench.setup import Bench
from diffusion_bench.records import ImageRequest
from diffusion_bench.reports.schema import Cell

REQUEST = ImageRequest(prompt="a cat", steps=4)


def run(card: Card, bench: Bench, *measured: Cell, **request: Any) -> Cell:
    """Return the cell of one more request."""
    asked = REQUEST.model_copy(update=request)
    cell = CellRun(bench, asked, len(measured), clock=card.clock, rest=card.pass_time)
    cell.prepare(measured)
    for _ in cell.events():
        pass
    return cell.cell()


def test_a_card_that_worked_for_the_cell_before_is_not_taken_for_one_that_others_use() -> None:
    card = Card()
    bench = open_bench(card, REQUEST)
    first = run(card, bench)
    second = run(card, bench, first, seed=1)
    assert bench.workers.started == 1, "both cells are of one process"
    for cell in (first, second):
        assert "contended" not in cell.labels
        assert cell.before.gpu_utilization_percent == 0.0
        assert cell.energy.idle_power_w == IDLE_W


def test_a_card_that_others_use_is_contended_also_right_after_a_cell() -> None:
    card = Card()
    bench = open_bench(card, REQUEST)
    first = run(card, bench)
    card.others_percent = 30.0
    second = run(card, bench, first, seed=1)
    assert "contended" in second.labels
    assert second.before.gpu_utilization_percent == 30.0
