"""The rows of a `--batch` file: a CSV with a head, a row a job, each into a file of its own."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Row:
    """One row: number `number` of the file without its head, ending in line `line` of it.

    `fields` are those that are not empty. Paths are from the file's own folder. `problem` says why
    the row cannot be used, empty if it can.
    """

    number: int
    line: int
    out: Path | None = None
    seed: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    problem: str = ""

    def path(self, column: str) -> Path | None:
        """Return the file that a column names, `None` where it is empty."""
        return self.folder / self.fields[column] if column in self.fields else None


def read_rows(path: Path, *, needed: Sequence[str], optional: Sequence[str]) -> list[Row]:
    """Return the rows of a CSV that has the columns `needed`, `out` among them.

    Raises ValueError, in one line, for a file that is no such CSV; a bad row is only marked.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise ValueError(f"--batch {path}: {error.strerror or error}") from None
    if content is None:
        raise ValueError(f"--batch {path}: larger than {MAX_BYTES // 2**20} MiB")
    try:
        reader = csv.DictReader(io.StringIO(content.decode("utf-8-sig"), newline=""), strict=True)
        _check_head(path, reader.fieldnames or (), needed, optional)
        rows = list(_without_collisions(_rows(reader, path.parent)))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"--batch {path}: not a UTF-8 CSV file: {error}") from None
    if not rows:
        raise ValueError(f"--batch {path}: there is no row under its head")
    return rows


def perform_rows(
    rows: Sequence[Row], perform: Callable[[Row], None], *, done: str, keep: bool = False
) -> None:
    """Perform each row; say what was wrong with those that failed, and end with 2 if any did.

    With `keep`, rows whose file is there already are left as they are.
    """
    failed = kept = 0
    for row in rows:
        if keep and not row.problem and row.out is not None and row.out.is_file():
            kept += 1
            continue
        try:
            if row.problem:
                raise ValueError(row.problem)
            perform(row)
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            failed += 1
            why = " ".join(str(error).split()) or type(error).__name__
            typer.echo(f"error: row {row.number} (line {row.line}): {why}", err=True)
    already = f", {kept} there already (--overwrite makes them anew)" if kept else ""
    typer.echo(f"{len(rows) - failed - kept} of {len(rows)} rows {done}{already}", err=True)
    if failed:
        raise typer.Exit(2)


def _check_head(path: Path, head: object, needed: Sequence[str], optional: Sequence[str]) -> None:
    names = list(head) if isinstance(head, list | tuple) else []
    missing = [name for name in needed if name not in names]
    unknown = [name for name in names if name not in (*needed, *optional)]
    if missing or unknown or len(set(names)) < len(names):
        raise ValueError(
            f"--batch {path}: its first line must name the columns {_listed(needed)}, and may name "
            f"{_listed(optional)}; it names {', '.join(names)[:200] or 'none'}"
        )


def _listed(names: Sequence[str]) -> str:
    return " and ".join(filter(None, (", ".join(names[:-1]), names[-1])))


def _rows(reader: csv.DictReader[str], folder: Path) -> Iterator[Row]:
    for number, given in enumerate(reader, 1):
        yield _row(number, reader.line_num, given, folder)


def _row(number: int, line: int, given: Mapping[str | None, object], folder: Path) -> Row:
    if None in given or None in given.values():
        problem = "it has more or fewer fields than the head; quote text with commas"
        return Row(number, line, problem=problem)
    fields = {str(name): text for name, value in given.items() if (text := str(value).strip())}
    seed = fields.get("seed")
    if seed is not None and not seed.removeprefix("-").isdecimal():
        return Row(number, line, problem=f"seed {seed!r:.40} is no whole number")
    if "out" not in fields:
        return Row(number, line, problem="it names no out")
    return Row(
        number,
        line,
        out=folder / fields["out"],
        seed=int(seed) if seed else None,
        fields=fields,
        folder=folder,
    )


def _without_collisions(rows: Iterator[Row]) -> Iterator[Row]:
    """Mark rows that would write over what a row before them wrote."""
    first: dict[Path, int] = {}
    for row in rows:
        if row.out is not None:
            before = first.setdefault(row.out.absolute(), row.number)
            if before != row.number:
                row = Row(row.number, row.line, problem=f"its out is that of row {before} too")
        yield row
