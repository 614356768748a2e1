"""One rule of seeds for pictures and speech."""

from __future__ import annotations

import pytest

from diffusion_bench.ui.seeds import UNSET, is_unset, seed_or_any


@pytest.mark.parametrize("seed", [None, UNSET, -7])
def test_an_unset_seed_is_picked_and_differs_from_the_next(seed):
    picked = {seed_or_any(seed) for _ in range(8)}

    assert is_unset(seed)
    assert len(picked) > 1
    assert all(0 <= each < 2**32 for each in picked)


@pytest.mark.parametrize("seed", [0, 7, 2**40])
def test_a_seed_that_is_set_is_kept(seed):
    assert not is_unset(seed)
    assert seed_or_any(seed) == seed
