"""The ways to need less memory."""

from __future__ import annotations

from diffusion_bench.tiers.remedies import REMEDIES


def test_every_remedy_says_its_price_and_where_it_is_from():
    for remedy in REMEDIES.values():
        assert remedy.saves
        assert remedy.price
        assert remedy.source
        assert remedy.slower >= 1
