"""The rows of `clone --batch`: a CSV of what to say, in whose voice, into which file."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

NEEDED = ("text", "out")
COLUMNS = ("reference", "voice", "transcript", "text", "out", "seed")
MAX_BYTES = 64 * 2**20


@dataclass(frozen=True)
class Row:
    """One row, at `number` of the file counted from 1 without the head.

    An empty field is `None`. `problem` says why the row cannot be used, empty if it can.
    """

    number: int
    text: str = ""
    out: Path | None = None
    reference: Path | None = None
    voice: str | None = None
    transcript: str | None = None
    seed: int | None = None
    problem: str = ""


def read_rows(path: Path) -> list[Row]:
    """Return the rows of a CSV; its paths are from its own folder.

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
        _check_head(path, reader.fieldnames or ())
        rows = [_row(number, fields, path.parent) for number, fields in enumerate(reader, 1)]
    except (UnicodeDecodeError, csv.Error) as error:
        raise ValueError(f"--batch {path}: not a UTF-8 CSV file: {error}") from None
    if not rows:
        raise ValueError(f"--batch {path}: there is no row under its head")
    return _without_collisions(rows)


def _check_head(path: Path, head: object) -> None:
    names = list(head) if isinstance(head, list | tuple) else []
    missing = [name for name in NEEDED if name not in names]
    unknown = [name for name in names if name not in COLUMNS]
    if missing or unknown or len(set(names)) < len(names):
        raise ValueError(
            f"--batch {path}: its first line must name the columns text and out, and may name "
            f"reference, voice, transcript and seed; it names {', '.join(names)[:200] or 'none'}"
        )


def _row(number: int, fields: Mapping[str | None, object], folder: Path) -> Row:
    if None in fields or None in fields.values():
        return Row(
            number, problem="it has more or fewer fields than the head; quote text with commas"
        )
    given = {str(name): str(value).strip() or None for name, value in fields.items()}
    seed = given.get("seed")
    if seed is not None and not seed.removeprefix("-").isdecimal():
        return Row(number, problem=f"seed {seed!r:.40} is no whole number")
    out, reference = given["out"], given.get("reference")
    if out is None:
        return Row(number, problem="it names no out")
    return Row(
        number,
        text=given["text"] or "",
        out=folder / out,
        reference=folder / reference if reference else None,
        voice=given.get("voice"),
        transcript=given.get("transcript"),
        seed=int(seed) if seed else None,
    )


def _without_collisions(rows: list[Row]) -> list[Row]:
    """Mark rows that would write over what a row before them wrote."""
    first: dict[Path, int] = {}
    checked = []
    for row in rows:
        if row.out is not None and not row.problem:
            before = first.setdefault(row.out.absolute(), row.number)
            if before != row.number:
                row = Row(row.number, problem=f"its out is that of row {before} too")
        checked.append(row)
    return checked
