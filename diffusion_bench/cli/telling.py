"""What a command says on the way, on stderr: warnings, how far it is, that it waits for the device.

A warning is one line, which names the row of a `--batch` file it is about.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from errno import EINVAL
from typing import TYPE_CHECKING, Protocol

import typer

from diffusion_bench.cli.tables import printable
from diffusion_bench.whole_file import is_standard_output

if TYPE_CHECKING:
    from pathlib import Path

    from diffusion_bench.backends.downloads import OnProgress, Progress

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


def tell(words: str) -> None:
    """Print a line on stderr, as `printable` has it: what it tells of may be anybody's file."""
    typer.echo(printable(words), err=True)


def tell_written(path: Path, what: str = "") -> None:
    """Print the name of a file that was written, after `what` it is.

    Not where it went to standard output: there the name would be taken for a part of it.
    """
    if not is_standard_output(path):
        typer.echo(f"{what}{path}")


def warn(words: str) -> None:
    """Print a warning on stderr."""
    tell(f"warning: {_about.get()}{words}")


def is_unread(error: Exception) -> bool:
    """Return whether an error is that of an output whose reader has gone: on Windows EINVAL."""
    if not isinstance(error, OSError) or error.errno != EINVAL:
        return isinstance(error, BrokenPipeError)
    try:
        sys.stdout.flush()
    except OSError:
        return True
    return False


def waiting() -> Callable[[], None]:
    """Return what to call while waiting for the device: it says so once, on stderr."""
    told = False

    def on_wait() -> None:
        nonlocal told
        if not told:
            told = True
            tell(f"waiting for the device, at most {WAIT_S / 60:.0f} minutes: another job is on it")

    return on_wait


class Moved(Protocol):
    """Moves a bar: called with the index of what has ended, and how many there will be."""

    def __call__(self, index: int, total: int, what: str = "denoising") -> None:
        """Show that, and `what` is under way."""


@contextmanager
def moving_bar(total: int | None = None) -> Iterator[Moved]:
    """Yield what moves a bar on a terminal, and does nothing in a pipe or on TERM=dumb."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    console = Console(stderr=True)
    if not console.is_interactive:
        yield lambda index, total, what="": None
        return
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("loading", total=total)

        def moved(index: int, total: int, what: str = "denoising") -> None:
            progress.update(task, total=total or None, completed=index + 1, description=what)

        yield moved


@contextmanager
def fetching_bar() -> Iterator[OnProgress]:
    """Yield what moves a bar of a download, in MiB."""
    with moving_bar() as moved:

        def on_progress(progress: Progress) -> None:
            moved(round(progress.done_mib) - 1, round(progress.total_mib), "fetching, MiB")

        yield on_progress
