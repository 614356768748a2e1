"""Options that mean nothing beside another one."""

from __future__ import annotations

from collections.abc import Mapping


def refuse_beside(option: str, others: Mapping[str, object]) -> None:
    """Raise ValueError if any of `others`, by name, is given (is not None) beside `option`."""
    clashing = [name for name, value in others.items() if value is not None]
    if clashing:
        raise ValueError(f"{option} says that itself: leave out {', '.join(clashing)}")
