"""What a command says on the way, on stderr: warnings, and that it waits for the device.

A warning is one line, which names the row of a `--batch` file it is about.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import typer

WAIT_S = 600.0  # for the device

_about: ContextVar[str] = ContextVar("about", default="")


@contextmanager
def about(what: str) -> Iterator[None]:
    """Let warnings say what they are about while the `with` block runs."""
    token = _about.set(f"{what}: ")
    try:
        yield
    finally:
        _about.reset(token)


def warn(words: str) -> None:
    """Print a warning on stderr."""
    typer.echo(f"warning: {_about.get()}{words}", err=True)


def waiting() -> Callable[[], None]:
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
