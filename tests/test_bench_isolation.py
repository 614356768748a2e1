"""Which cells get a process of their own: model switches, and those that may not fit."""

from __future__ import annotations

import pytest
from fakes import make_cell

from diffusion_bench.bench.isolation import needs_fresh_process, predict_mib
from diffusion_bench.records import ImageRequest
from diffusion_bench.reports.schema import Cell

TOTAL_MIB = 10_000.0


def ask(side: int = 64, **settings: object) -> ImageRequest:
    return ImageRequest(**{"prompt": "a cat", "width": side, "height": side, **settings})


def took(side: int, rss_mib: float | None = None, **settings: object) -> Cell:
    """Return a cell of a machine where pictures take 1000 MiB and 1 MiB for 10 x 10 pixels."""
    if rss_mib is None:
        rss_mib = 1000.0 + side * side * 2 / 100
    return make_cell(width=side, height=side, rss_mib=rss_mib, **settings)


def fresh(asked: ImageRequest, measured: list[Cell], total_mib: float | None) -> bool:
    """Return the answer where the last of the measured cells ran in the process just now."""
    last = measured[-1].request if measured else None
    return needs_fresh_process(asked, last, measured, total_mib)


def test_a_process_in_which_nothing_ran_is_fresh_whatever_others_measured() -> None:
    filled = [took(64), took(96), took(704)]
    assert not needs_fresh_process(ask(model="owner/name"), None, filled, TOTAL_MIB)


def test_cells_far_from_the_memory_there_is_share_a_process() -> None:
    measured: list[Cell] = []
    for side in (64, 96, 128, 64, 256):
        assert not fresh(ask(side), measured, TOTAL_MIB), side
        measured.append(took(side))


@pytest.mark.parametrize("other", [{"model": "owner/name"}, {"precision": "bf16"}])
def test_every_switch_of_model_or_precision_has_a_fresh_process(other: dict[str, str]) -> None:
    measured = [took(64), took(96)]
    assert fresh(ask(**other), measured, TOTAL_MIB)
    measured.append(took(64, **other))
    assert not fresh(ask(96, **other), measured, TOTAL_MIB)
    assert fresh(ask(), measured, TOTAL_MIB)


def test_a_cell_that_may_fill_the_memory_has_one_of_its_own_before_and_after() -> None:
    measured = [took(64), took(128)]
    # 80 percent of the memory is what the line reaches at a side of 592.
    assert not fresh(ask(584), measured, TOTAL_MIB)
    assert fresh(ask(600), measured, TOTAL_MIB)
    assert not fresh(ask(600), measured, 2 * TOTAL_MIB)
    assert fresh(ask(64), [*measured, took(600)], TOTAL_MIB)
    assert not fresh(ask(64), [*measured, took(600)], 2 * TOTAL_MIB)


def test_where_no_line_can_be_drawn_a_cell_of_far_more_pixels_is_risky() -> None:
    for measured, total_mib in (([took(64)], TOTAL_MIB), ([took(64), took(32)], None)):
        assert not fresh(ask(64, batch=4), measured, total_mib)
        assert fresh(ask(64, batch=5), measured, total_mib)


def test_a_model_of_which_no_cell_has_told_its_memory_is_not_trusted() -> None:
    failed = make_cell(status="oom", rss_mib=None, width=64, height=64)
    assert fresh(ask(64), [failed], TOTAL_MIB)


def test_memory_is_foretold_by_the_line_and_never_below_what_was_seen_for_noise() -> None:
    assert predict_mib(300.0, [(100.0, 50.0), (200.0, 70.0)]) == pytest.approx(90.0)
    assert predict_mib(300.0, [(100.0, 50.0), (200.0, 40.0)]) == 50.0
    assert predict_mib(300.0, [(100.0, 50.0), (100.0, 60.0)]) is None
