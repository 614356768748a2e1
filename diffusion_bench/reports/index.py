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
import os
import sqlite3
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

from diffusion_bench.reports.digests import ReportDigest, digest_of
from diffusion_bench.reports.index_database import Entry, File, connect, keep, known_entries
from diffusion_bench.reports.read import UnopenedReport, UnreadableReport, path_text, read_report

INDEX_NAME = "reports-index.sqlite"  # in the cache folder, for command and page alike
AT_ONCE = 64  # reports read between two writes, so that a kill loses no more
ALWAYS_READ = 16  # reports, however little patience there is


class Asked(NamedTuple):
    """What is known of the reports asked for, in no order; a line for each that is none.

    `unread` counts those for which there was no time.
    """

    digests: tuple[ReportDigest, ...]
    complaints: tuple[str, ...] = ()
    unread: int = 0


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
        self, files: set[File], *, with_cells: bool
    ) -> tuple[sqlite3.Connection, dict[File, Entry]]:
        """Return the index and what it holds: a new one in place of a damaged one.

        Where it cannot be had, the index is one that is not kept.
        """
        if self._path is None:
            return connect(":memory:"), {}
        for _ in range(2):
            try:
                connection = connect(self._path)
                try:
                    return connection, dict(known_entries(connection, files, with_cells))
                except (sqlite3.Error, TypeError, ValueError):
                    connection.close()
                    raise
            except (sqlite3.Error, TypeError, ValueError) as error:
                if _is_refused(error):
                    break
                with contextlib.suppress(OSError):
                    self._path.unlink()
        return connect(":memory:"), {}


def _is_refused(error: Exception) -> bool:
    """Return whether an index is locked for long, in no folder, not permitted or has no room.

    One without a table or a column of it is a damaged one.
    """
    code = getattr(error, "sqlite_errorcode", None)
    return isinstance(error, sqlite3.OperationalError) and code != sqlite3.SQLITE_ERROR


def _files(paths: Sequence[Path]) -> tuple[set[File], list[str]]:
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
        files.add(File(folders[parent], path.name, stat.st_size, stat.st_mtime_ns))
    return files, complaints


def _read(
    connection: sqlite3.Connection, files: Sequence[File], patience_s: float | None
) -> Iterator[Entry]:
    """Read reports in full while there is patience, and keep what was read."""
    start_s = time.monotonic()
    fresh: list[tuple[File, Entry]] = []
    for number, file in enumerate(files):
        spent_s = time.monotonic() - start_s
        if patience_s is not None and number >= ALWAYS_READ and spent_s > patience_s:
            break
        entry = _digest_file(Path(file.folder, file.name))
        if entry.lasts:
            fresh.append((file, entry))
        if len(fresh) >= AT_ONCE:
            keep(connection, fresh)
            fresh = []
        yield entry
    keep(connection, fresh)


def _digest_file(path: Path) -> Entry:
    try:
        return Entry(digest_of(read_report(path)), None)
    except UnreadableReport as error:
        return Entry(None, str(error), lasts=not isinstance(error, UnopenedReport))
