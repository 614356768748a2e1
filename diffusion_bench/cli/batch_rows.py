"""The rows of a `--batch` file: a CSV with a head, a row a job, each into a file of its own."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from diffusion_bench.cli.telling import about, is_unread, tell
from diffusion_bench.records.csv_text import separator_of

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_BYTES = 64 * 2**20
FilesOf = Callable[[Path], Sequence[Path]]


@dataclass(frozen=True)
class Row:
    """One row: number `number` of the file without its head, ending in line `line` of it.

    `files` are all that it writes, `out` the first of them. `fields` are those that are not empty.
    Paths are from the file's own folder. `problem` says why the row cannot be used, "" if it can.
    """

    number: int
    line: int
    out: Path | None = None
    files: tuple[Path, ...] = ()
    seed: int | None = None
    fields: Mapping[str, str] = field(default_factory=dict)
    folder: Path = Path()
    problem: str = ""

    @property
    def name(self) -> str:
        """Return what errors and warnings call the row."""
        return f"row {self.number} (line {self.line})"

    def path(self, column: str) -> Path | None:
        """Return the file that a column names, `None` where it is empty."""
        return self.folder / self.fields[column] if column in self.fields else None


def one_file(out: Path) -> tuple[Path, ...]:
    """Return what a row writes that writes its `out` only."""
    return (out,)


def read_rows(
    path: Path,
    *,
    needed: Sequence[str],
    optional: Sequence[str],
    files_of: FilesOf = one_file,
    sources: Sequence[str] = (),
    kept: Mapping[str, Path | None] | None = None,
) -> list[Row]:
    """Return the rows of a CSV that has the columns `needed`, `out` among them.

    `files_of` an out are all files that a row writes; those in the columns `sources`, and those
    `kept`, by what they are, are not to be written over.
    Raises ValueError, in one line, for a file that is no such CSV; a bad row is only marked.
    """
    try:
        content = path.read_bytes() if path.stat().st_size <= MAX_BYTES else None
    except OSError as error:
        raise ValueError(f"--batch {path}: {error.strerror or error}") from None
    if content is None:
        raise ValueError(f"--batch {path}: larger than {MAX_BYTES // 2**20} MiB")
    try:
        text = content.decode("utf-8-sig")
        lines = io.StringIO(text, newline="")
        reader = csv.DictReader(lines, delimiter=separator_of(text), strict=True)
        _check_head(path, reader.fieldnames or (), needed, optional)
        rows = list(_rows(reader, path.parent, files_of))
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"--batch {path}: not a UTF-8 CSV file: {error}") from None
    if not rows:
        raise ValueError(f"--batch {path}: there is no row under its head")
    return _without_collisions(rows, sources, kept or {})


def _is_whole(row: Row, there: list[Path], is_done: Callable[[Row], bool] | None) -> bool:
    return is_done(row) if is_done else len(there) == len(row.files)


def perform_rows(
    rows: Sequence[Row],
    perform: Callable[[Row], None],
    *,
    done: str,
    keep: bool = False,
    is_done: Callable[[Row], bool] | None = None,
) -> None:
    """Perform each row; say what was wrong with those that failed, and end with 2 if any did.

    With `keep`, rows that are done already are left as they are: those whose files are all there,
    if `is_done` does not say otherwise. One of which only some files are there fails.
    """
    failed = kept = 0
    for row in rows:
        there = [file for file in row.files if keep and file.is_file()]
        if there and not row.problem and _is_whole(row, there, is_done):
            kept += 1
            continue
        try:
            if row.problem:
                raise ValueError(row.problem)
            if there:
                raise ValueError(
                    f"{there[0].name} is there already, but not all {len(row.files)} files of the "
                    "row; --overwrite makes them anew"
                )
            with about(row.name):
                perform(row)
        except (ValueError, OSError, RuntimeError, MemoryError) as error:
            if is_unread(error):  # nobody reads what is told, which is no fault of the row
                raise
            failed += 1
            why = " ".join(str(error).split()) or type(error).__name__
            tell(f"error: {row.name}: {why}")
    already = f", {kept} there already (--overwrite makes them anew)" if kept else ""
    tell(f"{len(rows) - failed - kept} of {len(rows)} rows {done}{already}")
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


def _rows(reader: csv.DictReader[str], folder: Path, files_of: FilesOf) -> Iterator[Row]:
    for number, given in enumerate(reader, 1):
        row = _row(number, reader.line_num, given, folder)
        yield row if row.out is None else replace(row, files=tuple(files_of(row.out)))


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


def _without_collisions(
    rows: Sequence[Row], sources: Sequence[str], kept: Mapping[str, Path | None]
) -> list[Row]:
    """Mark rows that would write over what one before them wrote, any one reads, or is `kept`."""
    read = {_place(path): f"is {what}" for what, path in kept.items() if path is not None}
    read |= {
        _place(source): f"row {row.number} reads"
        for row in rows
        for column in sources
        if (source := row.path(column)) is not None
    }
    written: dict[str, int] = {}
    found = []
    for row in rows:
        files = {_place(file): file.name for file in row.files}
        problem = row.problem or _collision(files, read, written)
        if not problem:
            written |= dict.fromkeys(files, row.number)
        found.append(replace(row, problem=problem))
    return found


def _place(path: Path) -> str:
    """Return where a path leads, whichever way it is spelled."""
    try:
        return os.path.realpath(path)
    except ValueError:  # a name that no file can have; the row says so when its turn comes
        return str(path)


def _collision(
    files: Mapping[str, str], read: Mapping[str, str], written: Mapping[str, int]
) -> str:
    """Return what files, names by path and `out` first, would be written over; empty for none."""
    for place, (path, name) in enumerate(files.items()):
        if path in read:
            return f"it would write over {name}, which {read[path]}"
        if path in written:
            return f"its {name if place else 'out'} is that of row {written[path]} too"
    return ""
