"""An index of reports, so that ten thousand of them need not be read again to be asked.

Of each report it keeps what a prediction learns from: the device, of each measured cell its request
and its figures, of each that ran out of memory its request; and how many cells of its plan are
still to be measured. An entry holds for a file of the same path, size and time. It is a SQLite
file, which two processes may write at once; one that is damaged is thrown away, and one that cannot
be written is done without. A report that it cannot hold is read each time. Nothing is lost with it:
the reports are what is kept.
"""

from __future__ import annotations

import contextlib
import json
import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NamedTuple

from diffusion_bench.reports.digests import (
    NOTHING,
    CellDigest,
    FailedDigest,
    ReportDigest,
    SharedDigest,
    digest_of,
)
from diffusion_bench.reports.read import (
    UnopenedReport,
    UnreadableReport,
    path_text,
    read_report,
)
from diffusion_bench.reports.schema import SCHEMA_VERSION

__all__ = [
    "Asked",
    "CellDigest",
    "FailedDigest",
    "ReportDigest",
    "ReportIndex",
    "SharedDigest",
    "digest_of",
]

INDEX_NAME = "reports-index.sqlite"  # in the cache folder, for command and page alike
# Of what is kept, with the newest format that was read: a report too new for then may be read now.
VERSION = 900 + SCHEMA_VERSION  # an index of another one is thrown away
AT_ONCE = 64  # reports read between two writes, so that a kill loses no more
ALWAYS_READ = 16  # reports, however little patience there is
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


class Asked(NamedTuple):
    """What is known of the reports asked for, in no order; a line for each that is none.

    `unread` counts those for which there was no time.
    """

    digests: tuple[ReportDigest, ...]
    complaints: tuple[str, ...] = ()
    unread: int = 0


class _File(NamedTuple):
    """A report file as it is now."""

    folder: str
    name: str
    size: int
    mtime_ns: int


class _Entry(NamedTuple):
    """What is known of a file: its digest, or the complaint of the reader; whether that lasts."""

    digest: ReportDigest | None
    complaint: str | None
    lasts: bool = True


class ReportIndex:
    """The index in one file, which need not exist and need not be writable; `None` keeps none."""

    def __init__(self, path: Path | None) -> None:
        self._path = path

    def ask(
        self, paths: Sequence[Path], *, patience_s: float | None = None, with_cells: bool = True
    ) -> Asked:
        """Return what is known of these reports; those not known yet are read, newest first.

        After `patience_s` seconds of reading the rest is left for another time and counted; a
        few are always read. `None` reads all. A file that is no report costs a complaint. Cells of
        what is known are left out unless `with_cells`: they are most of the work.
        """
        files, complaints = _files(paths)
        connection, known = self._open(files, with_cells=with_cells)
        with contextlib.closing(connection):
            unknown = sorted(files - known.keys(), key=lambda file: (-file.mtime_ns, file.name))
            entries = list(known.values())
            entries += _read(connection, unknown, patience_s)
        digests = tuple(entry.digest for entry in entries if entry.digest)
        complaints += (entry.complaint for entry in entries if entry.complaint)
        return Asked(digests, tuple(complaints), len(files) - len(entries))

    def _open(
        self, files: set[_File], *, with_cells: bool
    ) -> tuple[sqlite3.Connection, dict[_File, _Entry]]:
        """Return the index and what it holds: a new one in place of a damaged one.

        Where it cannot be had, the index is one that is not kept.
        """
        if self._path is None:
            return _connect(":memory:"), {}
        for _ in range(2):
            try:
                connection = _connect(self._path)
                try:
                    return connection, dict(_known(connection, files, with_cells))
                except (sqlite3.Error, TypeError, ValueError):
                    connection.close()
                    raise
            except sqlite3.OperationalError:  # locked for long, no folder, no permission, no room
                break
            except (sqlite3.DatabaseError, TypeError, ValueError):
                with contextlib.suppress(OSError):
                    self._path.unlink()
        return _connect(":memory:"), {}


def _connect(path: Path | str) -> sqlite3.Connection:
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


def _files(paths: Sequence[Path]) -> tuple[set[_File], list[str]]:
    """Return the files as they are now, each once, and a complaint for each there is not."""
    files, complaints = set(), []
    folders: dict[Path, str] = {}
    for path in paths:
        try:
            stat = os.stat(path)
        except OSError as error:
            complaints.append(f"{path_text(path)}: cannot be read: {error.strerror or error}")
            continue
        parent = path.parent
        if parent not in folders:
            folders[parent] = os.path.abspath(parent)
        files.add(_File(folders[parent], path.name, stat.st_size, stat.st_mtime_ns))
    return files, complaints


def _known(
    connection: sqlite3.Connection, files: set[_File], with_cells: bool
) -> Iterator[tuple[_File, _Entry]]:
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
    files: set[_File],
    inside: tuple[Mapping[int, Sequence[Any]], ...],
) -> Iterator[tuple[_File, _Entry]]:
    rows = connection.execute(
        "SELECT id, name, size, mtime_ns, complaint, on_gpu, gpu, gpu_memory_mib, gpu_hash, "
        "cpu, cores_logical, ram_mib, unfinished "
        "FROM report WHERE folder = ?",
        (folder,),
    )
    for report, name, size, mtime_ns, complaint, on_gpu, *machine in rows:
        file = _File(folder, name, size, mtime_ns)
        if file not in files:
            continue
        own = (tuple(kind.get(report, ())) for kind in inside)
        digest = ReportDigest._make((name, bool(on_gpu), *machine, *own))
        yield file, _Entry(None, complaint) if complaint else _Entry(digest, None)


def _read(
    connection: sqlite3.Connection, files: Sequence[_File], patience_s: float | None
) -> Iterator[_Entry]:
    """Read reports in full while there is patience, and keep what was read."""
    start_s = time.monotonic()
    fresh: list[tuple[_File, _Entry]] = []
    for number, file in enumerate(files):
        spent_s = time.monotonic() - start_s
        if patience_s is not None and number >= ALWAYS_READ and spent_s > patience_s:
            break
        entry = _digest_file(Path(file.folder, file.name))
        if entry.lasts:
            fresh.append((file, entry))
        if len(fresh) >= AT_ONCE:
            _keep(connection, fresh)
            fresh = []
        yield entry
    _keep(connection, fresh)


def _digest_file(path: Path) -> _Entry:
    try:
        return _Entry(digest_of(read_report(path)), None)
    except UnreadableReport as error:
        return _Entry(None, str(error), lasts=not isinstance(error, UnopenedReport))


def _keep(connection: sqlite3.Connection, fresh: Iterable[tuple[_File, _Entry]]) -> None:
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


def _keep_one(connection: sqlite3.Connection, file: _File, entry: _Entry) -> None:
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
