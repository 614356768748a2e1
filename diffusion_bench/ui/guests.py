"""What holds for every guest of a shared app, whatever is asked for."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def check_here(title: str, *, here: bool) -> None:
    """Raise ValueError for a model that would have to be fetched: guests may not."""
    if not here:
        raise ValueError(f"{title} is not on this machine, and guests cannot fetch it")


def check_most(fields: Mapping[str, Any], most: Mapping[str, int]) -> None:
    """Raise ValueError for a number that is too much for a machine its owner shares.

    Also of fields that are no request yet: its own limits are the owner's, who may have more.
    """
    for name, limit in most.items():
        number = fields.get(name)
        if isinstance(number, int | float) and number > limit:
            raise ValueError(
                f"{name} {number!s:.20} is too much for a shared app; the most is {limit}"
            )
