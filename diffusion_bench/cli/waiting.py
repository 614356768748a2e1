"""What a command says while another job has the device."""

from __future__ import annotations

from collections.abc import Callable

import typer

WAIT_S = 600.0  # for the device


def telling() -> Callable[[], None]:
    """Return what to call while waiting for the device: it says so once, on stderr."""
    told = False

    def on_wait() -> None:
        nonlocal told
        if not told:
            told = True
            typer.echo(
                f"waiting for the device, at most {WAIT_S / 60:.0f} minutes: another job is on it",
                err=True,
            )

    return on_wait
