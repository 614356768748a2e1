"""Tables of commands: a pipe gets them as wide as they are, and no screen breaks a figure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rich.console import Console

PIPE_WIDTH = 10_000  # wider than any table: a pipe has no width
PIPE_COLUMN = 80  # of a column of words there; longer ones go on below
# All but tab and newline, and the marks that turn the direction of a line.
COMMANDS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]")


def printable(words: str) -> str:
    r"""Return words with what a terminal would obey spelled out, ESC as `\x1b`.

    Reports come from anybody: what is in them may name the window or write over other lines.
    """
    return COMMANDS.sub(lambda found: found[0].encode("unicode_escape").decode(), words)


def table_console() -> Console:
    """Return where tables and their lines are printed: the terminal, else as wide as they are.

    Lines are printed as `printable` has them.
    """
    from rich.console import Console

    class Printable(Console):
        def print(self, *objects: Any, **options: Any) -> None:
            super().print(*(printable(o) if isinstance(o, str) else o for o in objects), **options)

    console = Printable()
    return console if console.is_terminal else Printable(width=PIPE_WIDTH)


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
    rows = [[escape(printable(words)) for words in row] for row in rows]
    for row in rows:
        table.add_row(*row)
    whole = console.measure(table, options=console.options.update(max_width=PIPE_WIDTH))
    if whole.minimum <= console.width:
        console.print(table)
        return
    for row in rows:
        told = [f"{name}: {value}" for name, value in zip(columns, row, strict=True) if value]
        console.print("\n".join(told), overflow="fold", end="\n\n")
