"""First come, first served, and a place given up."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from diffusion_bench.ui.waiting_line import WaitingLine

LIMIT_S = 20


def test_turns_are_in_the_order_of_coming_and_each_is_told_how_many_are_before():
    line, order, told = WaitingLine(), [], {1: [], 2: [], 3: []}
    waiting = {number: threading.Event() for number in told}

    def come(number):
        def on_wait(before):
            told[number].append(before)
            waiting[number].set()

        with line.turn(on_wait):
            order.append(number)

    with ThreadPoolExecutor() as pool:
        with line.turn(pytest.fail):
            jobs = []
            for number in told:
                jobs.append(pool.submit(come, number))
                assert waiting[number].wait(LIMIT_S)
        for job in jobs:
            job.result(LIMIT_S)

    assert order == [1, 2, 3]
    assert [told[number][0] for number in told] == [1, 2, 3]
    assert all(places == sorted(places, reverse=True) for places in told.values())


def test_who_gives_up_leaves_the_line():
    line = WaitingLine()

    def give_up(before):
        raise InterruptedError

    with line.turn(pytest.fail), pytest.raises(InterruptedError), line.turn(give_up):
        pytest.fail("it was not its turn")
    with line.turn(pytest.fail):
        pass
