"""The seeds of the page, of pictures and of speech alike: one that is not set is picked."""

from __future__ import annotations

import secrets

UNSET = -1  # of a seed on the page, where an empty number would be taken for 0
MAX_PAGE_SEED = 2**53 - 1  # a browser rounds larger whole numbers


def is_unset(seed: int | None) -> bool:
    """Return whether a field asks for any seed: empty or negative."""
    return seed is None or seed < 0


def seed_or_any(seed: int | None) -> int:
    """Return a field's seed, or one picked at random below 2**32 where it is unset."""
    return secrets.randbelow(2**32) if seed is None or seed < 0 else seed
