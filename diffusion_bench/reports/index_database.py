"""The SQLite file of an index: what it holds of a report's file, kept and looked up."""

from __future__ import annotations

import contextlib
import json
import sqlite3
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from diffusion_bench.reports.digests import (
    NOTHING,
    CellDigest,
    FailedDigest,
    ReportDigest,
    SharedDigest,
)
from diffusion_bench.reports.schema import SCHEMA_VERSION

# Of what is kept, with the newest format that was read: a report too new for then may be read now.
VERSION = 1200 + SCHEMA_VERSION  # an index of another one is thrown away
MAX_REPORTS = 200_000
WAIT_S = 1.0  # for another process that writes; then this one goes without
TABLES = """
CREATE TABLE IF NOT EXISTS report (
    id INTEGER PRIMARY KEY, folder TEXT NOT NULL, name TEXT NOT NULL,
    size INTEGER NOT NULL, mtime_ns INTEGER NOT NULL, complaint TEXT,
    on_gpu INTEGER NOT NULL, gpu TEXT, gpu_memory_mib REAL, gpu_hash TEXT,
    cpu TEXT NOT NULL, cores_logical INTEGER NOT NULL, ram_mib REAL NOT NULL,
    unfinished INTEGER NOT NULL,
    UNIQUE (folder, name)) STRICT;
CREATE TABLE IF NOT EXISTS cell (
    report INTEGER NOT NULL REFERENCES report ON DELETE CASCADE,
    model TEXT NOT NULL, sampler TEXT NOT NULL, steps INTEGER NOT NULL CHECK (steps > 0),
    width INTEGER NOT NULL CHECK (width > 0), height INTEGER NOT NULL CHECK (height > 0),
    batch INTEGER NOT NULL CHECK (batch > 0), precision TEXT NOT NULL, guidance_scale REAL NOT NULL,
    labels TEXT NOT NULL, n INTEGER NOT NULL, median_s REAL NOT NULL CHECK (median_s > 0),
    low_s REAL, high_s REAL, denoising_s REAL NOT NULL, energy_j REAL,
    memory_fit TEXT, peak_mib REAL) STRICT;
CREATE TABLE IF NOT EXISTS shared (
    report INTEGER NOT NULL REFERENCES report ON DELETE CASCADE, content TEXT NOT NULL) STRICT;
CREATE TABLE IF NOT EXISTS failed (
    report INTEGER NOT NULL REFERENCES report ON DELETE CASCADE, content TEXT NOT NULL) STRICT;
CREATE INDEX IF NOT EXISTS of_report ON cell (report);
"""


class File(NamedTuple):
    """A report file as it is now."""

    folder: str
    name: str
    size: int
    mtime_ns: int


class Entry(NamedTuple):
    """What is known of a file: its digest, or the complaint of the reader; whether that lasts."""

    digest: ReportDigest | None
    complaint: str | None
    lasts: bool = True


def connect(path: Path | str) -> sqlite3.Connection:
    """Return the file opened, emptied where it is of another version or holds too much.

    Raises sqlite3.Error where it is damaged or locked for long.
    """
    connection = sqlite3.connect(path, timeout=WAIT_S)
    try:
        connection.execute("PRAGMA synchronous = OFF")  # it can be made again
        connection.execute("PRAGMA foreign_keys = ON")
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version != VERSION:
            connection.executescript(
                "BEGIN IMMEDIATE; DROP TABLE IF EXISTS failed; DROP TABLE IF EXISTS shared; "
                f"DROP TABLE IF EXISTS cell; DROP TABLE IF EXISTS report; {TABLES}"
                f"PRAGMA user_version = {VERSION}; COMMIT;"
            )
        (count,) = connection.execute("SELECT count(*) FROM report").fetchone()
        if count > MAX_REPORTS:
            connection.execute("DELETE FROM report")
            connection.commit()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def known_entries(
    connection: sqlite3.Connection, files: set[File], with_cells: bool
) -> Iterator[tuple[File, Entry]]:
    """Yield what the index holds of these files as they are now."""
    for folder in {file.folder for file in files if _is_text(file.folder)}:
        cells = _cells_in(connection, folder) if with_cells else {}
        shared = _shared_in(connection, folder) if with_cells else {}
        failed = _failed_in(connection, folder) if with_cells else {}
        yield from _known_in(connection, folder, files, (cells, shared, failed))


def _is_text(name: str) -> bool:
    """Return whether a name is text, as SQLite takes it: a name of Linux may be any bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _cells_in(connection: sqlite3.Connection, folder: str) -> dict[int, list[CellDigest]]:
    columns = ", ".join(CellDigest._fields)
    cells: dict[int, list[CellDigest]] = {}
    found = connection.execute(
        f"SELECT report, {columns} FROM cell WHERE report IN "
        "(SELECT id FROM report WHERE folder = ?)",
        (folder,),
    )
    for report, *values in found:
        cells.setdefault(report, []).append(CellDigest(*values))
    return cells


def _shared_in(connection: sqlite3.Connection, folder: str) -> dict[int, list[SharedDigest]]:
    shared: dict[int, list[SharedDigest]] = {}
    for report, values in _contents_in(connection, "shared", folder):
        digest = SharedDigest._make(values)
        gpus = tuple((name, memory, hashed) for name, memory, hashed in digest.gpus)
        whole = digest._replace(gpus=gpus, parts=tuple(digest.parts))
        shared.setdefault(report, []).append(whole)
    return shared


def _failed_in(connection: sqlite3.Connection, folder: str) -> dict[int, list[FailedDigest]]:
    failed: dict[int, list[FailedDigest]] = {}
    for report, values in _contents_in(connection, "failed", folder):
        failed.setdefault(report, []).append(FailedDigest._make(values))
    return failed


def _contents_in(
    connection: sqlite3.Connection, table: Literal["shared", "failed"], folder: str
) -> Iterator[tuple[int, list[Any]]]:
    """Yield a report's number and a digest's fields for each row of a table of such."""
    found = connection.execute(
        f"SELECT report, content FROM {table} WHERE report IN "
        "(SELECT id FROM report WHERE folder = ?)",
        (folder,),
    )
    for report, content in found:
        yield report, json.loads(content)


def _known_in(
    connection: sqlite3.Connection,
    folder: str,
    files: set[File],
    inside: tuple[Mapping[int, Sequence[Any]], ...],
) -> Iterator[tuple[File, Entry]]:
    rows = connection.execute(
        "SELECT id, name, size, mtime_ns, complaint, on_gpu, gpu, gpu_memory_mib, gpu_hash, "
        "cpu, cores_logical, ram_mib, unfinished "
        "FROM report WHERE folder = ?",
        (folder,),
    )
    for report, name, size, mtime_ns, complaint, on_gpu, *machine in rows:
        file = File(folder, name, size, mtime_ns)
        if file not in files:
            continue
        own = (tuple(kind.get(report, ())) for kind in inside)
        digest = ReportDigest._make((name, bool(on_gpu), *machine, *own))
        yield file, Entry(None, complaint) if complaint else Entry(digest, None)


def keep(connection: sqlite3.Connection, fresh: Iterable[tuple[File, Entry]]) -> None:
    """Write entries; where another process holds the file or the disk is full, do without."""
    with contextlib.suppress(sqlite3.Error), connection:
        connection.execute("BEGIN IMMEDIATE")
        for file, entry in fresh:
            connection.execute("SAVEPOINT entry")
            try:
                _keep_one(connection, file, entry)
            # A number or a name that SQLite does not take: this one is read again the next time.
            except (sqlite3.DataError, sqlite3.IntegrityError, OverflowError, ValueError):
                connection.execute("ROLLBACK TO entry")
            connection.execute("RELEASE entry")


def _keep_one(connection: sqlite3.Connection, file: File, entry: Entry) -> None:
    """Write an entry in place of an older one of that file."""
    digest = entry.digest or NOTHING
    connection.execute("DELETE FROM report WHERE folder = ? AND name = ?", (file.folder, file.name))
    added = connection.execute(
        "INSERT INTO report VALUES (NULL, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*file, entry.complaint, *digest[1:-3]),
    )
    places = ", ".join("?" * (1 + len(CellDigest._fields)))
    rows = [(added.lastrowid, *cell) for cell in digest.cells]
    connection.executemany(f"INSERT INTO cell VALUES ({places})", rows)
    for table, found in (("shared", digest.shared), ("failed", digest.failed)):
        contents = [(added.lastrowid, json.dumps(one)) for one in found]
        connection.executemany(f"INSERT INTO {table} VALUES (?, ?)", contents)
