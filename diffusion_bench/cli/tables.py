"""Tables of commands: a pipe gets them as wide as they are, and no screen breaks a figure."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

PIPE_WIDTH = 10_000  # wider than any table: a pipe has no width
PIPE_COLUMN = 80  # of a column of words there; longer ones go on below


def table_console() -> Console:
    """Return where tables and their lines are printed: the terminal, else as wide as they are."""
    from rich.console import Console

    console = Console()
    return console if console.is_terminal else Console(width=PIPE_WIDTH)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print rows under their heads; what is too long for its column goes on in the next line.

    A terminal too narrow for the longest words gets each row as lines, so that no figure breaks.
    """
    from rich.markup import escape
    from rich.table import Table

    console = table_console()
    widest = None if console.is_terminal else PIPE_COLUMN
    table = Table()
    for column in columns:
        table.add_column(column, overflow="fold", max_width=widest)
    rows = [list(map(escape, row)) for row in rows]
    for row in rows:
        table.add_row(*row)
    whole = console.measure(table, options=console.options.update(max_width=PIPE_WIDTH))
    if whole.minimum <= console.width:
        console.print(table)
        return
    for row in rows:
        told = [f"{name}: {value}" for name, value in zip(columns, row, strict=True) if value]
        console.print("\n".join(told), overflow="fold", end="\n\n")
