"""The pace of an energy counter, found by watching it, on a clock that only rests move."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from diffusion_bench.hardware.energy_counter import LIMIT_S, POLL_S, find_update_periods


class Watched:
    """A clock, and counters that move by it."""

    def __init__(self) -> None:
        self.now_s = 5.0
        self.rests = 0

    def sleep(self, seconds: float) -> None:
        self.now_s += seconds
        self.rests += 1

    def counter(self, period_s: float) -> Callable[[], float | None]:
        return lambda: self.now_s // period_s


def periods(world: Watched, **counters: Callable[[], float | None]) -> dict[int, float]:
    numbered = dict(enumerate(counters.values()))
    return find_update_periods(numbered, clock=lambda: world.now_s, sleep=world.sleep)


@pytest.mark.parametrize("period_s", [0.01, 0.02, 0.1, 0.15])
def test_a_period_is_found_to_a_poll(period_s: float) -> None:
    world = Watched()
    assert periods(world, a=world.counter(period_s))[0] == pytest.approx(period_s, abs=POLL_S)


def test_one_late_poll_of_a_busy_machine_does_not_count() -> None:
    world = Watched()
    rest = world.sleep

    def late_once(seconds: float) -> None:
        rest(0.03 if world.rests == 10 else seconds)  # within the first period that is counted

    found = find_update_periods({0: world.counter(0.02)}, lambda: world.now_s, late_once)
    assert found[0] == pytest.approx(0.02, abs=2 * POLL_S)


def test_two_counters_are_watched_at_the_same_time() -> None:
    world = Watched()
    found = periods(world, fast=world.counter(0.02), slow=world.counter(0.1))
    assert found == {0: pytest.approx(0.02, abs=POLL_S), 1: pytest.approx(0.1, abs=POLL_S)}
    assert world.now_s - 5.0 < 0.5


def test_a_counter_that_always_moves_has_the_pace_of_the_polls() -> None:
    world = Watched()
    assert periods(world, a=lambda: world.now_s)[0] == pytest.approx(POLL_S)
    assert world.rests < 10  # it is not watched for longer than it takes


def test_a_counter_that_stands_is_left_out_after_half_a_second() -> None:
    world = Watched()
    assert periods(world, a=lambda: 7.0, b=world.counter(0.4)) == {}
    assert world.now_s - 5.0 == pytest.approx(LIMIT_S, abs=2 * POLL_S)


def test_a_counter_that_cannot_be_read_costs_no_time() -> None:
    world = Watched()
    assert periods(world, a=lambda: None) == {}
    assert world.rests == 0


def test_a_card_that_answers_now_and_then_is_still_found() -> None:
    world = Watched()
    steady = world.counter(0.02)
    found = periods(world, a=lambda: None if world.rests % 3 == 1 else steady())
    assert found[0] == pytest.approx(0.02, abs=3 * POLL_S)
