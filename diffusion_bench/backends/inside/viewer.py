"""Who looks on while pictures are drawn and decoded."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from diffusion_bench.records import OnStep, ignore_step


def go_on() -> None:
    """Ask nothing: the check of a viewer who stays to the end."""


class Viewer(NamedTuple):
    """Hears of each step, and is asked before each decoding. Both may raise `Cancelled`."""

    on_step: OnStep = ignore_step
    check: Callable[[], None] = go_on


NOBODY = Viewer()
