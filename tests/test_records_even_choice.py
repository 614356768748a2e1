"""An even choice of a stream: bounded, evenly apart, with its first and its newest."""

from __future__ import annotations

from itertools import pairwise

import pytest

from diffusion_bench.records.even_choice import EvenChoice


@pytest.mark.parametrize("keep", [1, 2, 3, 8, 9])
def test_what_is_kept_is_even_bounded_and_has_both_ends(keep: int) -> None:
    choice: EvenChoice[int] = EvenChoice(keep)
    assert choice.kept() == []
    for number in range(200):
        choice.add(number)
        *even, newest = choice.kept()
        assert newest == number
        assert (even or [newest])[0] == 0
        assert choice.count == number + 1
        assert len(choice.kept()) <= keep + 1
        assert len({b - a for a, b in pairwise(even)}) <= 1
        assert number >= keep or choice.kept() == list(range(number + 1))
