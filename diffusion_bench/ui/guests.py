"""What holds for every guest of a shared app, whatever is asked for."""

from __future__ import annotations

from collections.abc import Mapping

from diffusion_bench.records import Record


def check_here(title: str, *, here: bool) -> None:
    """Raise ValueError for a model that would have to be fetched: guests may not."""
    if not here:
        raise ValueError(f"{title} is not on this machine, and guests cannot fetch it")


def check_most(request: Record, most: Mapping[str, int]) -> None:
    """Raise ValueError for a number that is too much for a machine its owner shares."""
    for name, limit in most.items():
        if getattr(request, name) > limit:
            raise ValueError(
                f"{name} {getattr(request, name)} is too much for a shared app; the most is {limit}"
            )
