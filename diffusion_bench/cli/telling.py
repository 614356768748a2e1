"""Warnings of a command: one line each, which names the row of a `--batch` file it is about."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import typer

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
