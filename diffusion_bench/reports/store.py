"""Writing a report as it is measured, so that a crash, a kill or a full disk loses no cell.

A cell is one `write` of a whole line to a file opened for appending, then `fsync`. When `append`
returns, the cell is on the disk. What a kill can leave is a torn last line; `resume` cuts it.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import json
import os
from pathlib import Path
from typing import Any, NoReturn, Self

from filelock import FileLock, Timeout

from diffusion_bench.records import Record
from diffusion_bench.reports.compact import is_readable, why_unreadable, without_replaced
from diffusion_bench.reports.differences import find_differences
from diffusion_bench.reports.privacy import short_plan, without_names
from diffusion_bench.reports.read import intact_bytes, parse_report, read_bytes
from diffusion_bench.reports.schema import Cell, Fit, Header, Limit, Report, SharedCell
from diffusion_bench.whole_file import NotWritten, write_whole

MOST_TOLD = 12  # differences named one by one
UNHARMED = "what was saved before is unharmed"
NO_ROOM = (errno.ENOSPC, errno.EFBIG, getattr(errno, "EDQUOT", errno.ENOSPC))


class ReportRefused(ValueError):
    """A file that may not be written: it exists, is in use, or holds another sweep."""


class ReportNotWritten(OSError):
    """The disk did not take what was written; what was there before is unharmed."""


def to_line(record: Record) -> bytes:
    """Return a record as one line of JSON in UTF-8, its messages without the home folder.

    Raises ValueError on NaN or infinity.
    """
    value = without_names(record.model_dump(mode="json"))
    text = json.dumps(value, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    return text.encode() + b"\n"


def refuse_taken(path: Path) -> None:
    """Raise `ReportRefused` where there is a file with content, or what is no file."""
    if path.exists() and not path.is_file():
        raise ReportRefused(f"{path}: is a folder, device or pipe; a report is a file")
    if path.exists() and path.stat().st_size:
        raise ReportRefused(f"{path}: exists; use --resume or another name")


class ReportWriter:
    """The one writer of a report file; a context manager. Make it by `create` or `resume`."""

    def __init__(self, path: Path, lock: FileLock, num_lines: int = 1) -> None:
        """Open an existing report for appending; takes over a lock that is held."""
        self.path = path
        self._lock = lock
        self._num_lines = num_lines
        self._file: int | None = _open(path)

    @classmethod
    def create(cls, path: str | Path, header: Header) -> Self:
        """Start a report. Raise `ReportRefused` where a file with content exists.

        The header appears in the file whole or not at all.
        """
        path = Path(path)
        lock = _hold(path)
        try:
            refuse_taken(path)
            line = to_line(header)
            if why := why_unreadable(line):
                raise ReportRefused(f"{path}: not begun: the plan makes {why}; make it shorter")
            write_whole(path, line)
            return cls(path, lock)
        except NotWritten as error:
            lock.release()
            raise ReportNotWritten(str(error)) from error
        except BaseException:
            lock.release()
            raise

    @classmethod
    def resume(cls, path: str | Path, header: Header) -> tuple[Self, Report]:
        """Continue a report, or start one where there is none; return what it already holds.

        A torn last line is cut and its bytes are added to `<name>.corrupt`. Raise
        `ReportRefused` where the file holds another plan or was measured on another machine.
        """
        path = Path(path)
        if not path.exists() or (path.is_file() and not path.stat().st_size):
            return cls.create(path, header), Report(header=header, source=path.name)
        lock = _hold(path)
        try:
            data = read_bytes(path)
            report = parse_report(data, path.name)
            refuse_another_sweep(report, header)
            end = intact_bytes(data)
            writer = cls(path, lock, data.count(b"\n", 0, end))
            writer._cut(data, end)
        except BaseException:
            lock.release()
            raise
        return writer, report

    def append(self, record: Cell | Fit | Limit | SharedCell) -> None:
        """Write a line and wait until it is on the disk. Raise `ReportNotWritten`.

        After that error the file ends with the last whole line, and `append` may be tried again.
        """
        if self._file is None:
            raise ValueError(f"{self.path}: the report is closed")
        line = to_line(record)
        if why := why_unreadable(line):
            raise ReportNotWritten(f"{self.path}: not written: the cell makes {why}; {UNHARMED}")
        if not self._is_in_place():
            self._keep_beside(line)
        size = os.fstat(self._file).st_size
        if not is_readable(size + len(line), self._num_lines + 1):
            self._write_shorter(line)
            return
        try:
            _write(self._file, line)
        except OSError as error:
            # Where even this fails, the next reader cuts the torn line.
            with contextlib.suppress(OSError):
                os.ftruncate(self._file, size)
                os.fsync(self._file)
            raise _not_written(self.path, error) from error
        self._num_lines += 1

    def close(self) -> None:
        """Close the file and let others write it. A second call does nothing.

        Raise `ReportNotWritten`, as `append` does, where another file lies in its place.
        """
        try:
            if self._file is not None and not self._is_in_place():
                self._keep_beside(b"")
        finally:
            if self._file is not None:
                os.close(self._file)
                self._file = None
            self._lock.release()

    def __enter__(self) -> Self:
        """Return this writer."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the report."""
        self.close()

    def _is_in_place(self) -> bool:
        """Return whether the open file is still the one at its path."""
        assert self._file is not None
        try:
            return os.path.samestat(os.fstat(self._file), self.path.stat())
        except FileNotFoundError:
            return False

    def _keep_beside(self, line: bytes) -> NoReturn:
        """Write all that was measured, and a line, beside the report; raise `ReportNotWritten`.

        Where an editor saves a file it puts another in its place: ours has no name any more.
        """
        assert self._file is not None
        names = (f"{self.path.stem}-kept{number}.jsonl" for number in itertools.count(1))
        kept = next(path for path in map(self.path.with_name, names) if not path.exists())
        with os.fdopen(self._file, "rb") as file:
            self._file = None
            file.seek(0)
            try:
                write_whole(kept, file.read() + line)
            except NotWritten as error:
                raise ReportNotWritten(str(error)) from error
        raise ReportNotWritten(
            f"{self.path}: removed or replaced by another program while it was written; all that "
            f"was measured is in {kept}: go on with that by --resume"
        )

    def _write_shorter(self, line: bytes) -> None:
        """Write the report anew with one more line, without those that later ones replace.

        It appears whole or not at all.
        """
        assert self._file is not None
        content = without_replaced(read_bytes(self.path) + line)
        if not is_readable(len(content), content.count(b"\n")):
            raise ReportNotWritten(
                f"{self.path}: not written: the report would be larger than is read; {UNHARMED}: "
                "measure the cells that are left into another report"
            )
        os.close(self._file)  # Windows replaces no file that is open
        self._file = None
        try:
            write_whole(self.path, content)
        except NotWritten as error:
            raise ReportNotWritten(f"{error}; {UNHARMED}") from error
        finally:
            self._file = _open(self.path)
        self._num_lines = content.count(b"\n")

    def _cut(self, data: bytes, end: int) -> None:
        """Keep the bytes after `end` in `<name>.corrupt`, then take them off the report."""
        assert self._file is not None
        if end == len(data):
            return
        try:
            with self.path.with_name(self.path.name + ".corrupt").open("ab") as kept:
                kept.write(data[end:] + b"\n")
                kept.flush()
                os.fsync(kept.fileno())
            os.ftruncate(self._file, end)
            os.fsync(self._file)
        except OSError as error:
            os.close(self._file)
            raise _not_written(self.path, error) from error


def _hold(path: Path) -> FileLock:
    """Return the file's lock, taken. The system frees it when a writer dies."""
    if not path.parent.is_dir():
        raise ReportRefused(f"{path}: the folder {path.parent} does not exist")
    lock = FileLock(path.with_name(path.name + ".lock"), timeout=0, thread_local=False)
    try:
        lock.acquire()
    except Timeout:
        raise ReportRefused(f"{path}: another sweep is writing this report") from None
    except OSError as error:
        raise _not_written(path, error) from error
    return lock


def _open(path: Path) -> int:
    # Windows would otherwise write two bytes for a newline.
    flags = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
    try:
        return os.open(path, flags)
    except OSError as error:
        raise _not_written(path, error) from error


def _write(file: int, content: bytes) -> None:
    written = os.write(file, content)
    if written < len(content):
        raise OSError(errno.ENOSPC, f"only {written} of {len(content)} bytes were taken")
    os.fsync(file)


def _not_written(path: Path, error: OSError) -> ReportNotWritten:
    reason, remedy = error.strerror or str(error), "continue with --resume when it can be written"
    if error.errno in NO_ROOM:
        reason = f"the disk is full, or its quota used up ({reason})"
        remedy = "make room and continue with --resume"
    return ReportNotWritten(f"{path}: not written: {reason}; {UNHARMED}: {remedy}")


def refuse_another_sweep(report: Report, header: Header) -> None:
    """Raise `ReportRefused`, with all that differs, for a report of another sweep or machine."""
    before, now = _comparable(report.header), _comparable(header)
    cards = [sweep["plan"].pop("gpu_uuid_hash") for sweep in (before, now)]
    if None not in cards:  # older reports do not tell
        before["card"], now["card"] = cards
    if before == now:
        return
    raise ReportRefused(
        f"{report.source}: holds another sweep, so it cannot be resumed: "
        + _differences(before, now)
    )


def _comparable(header: Header) -> dict[str, Any]:
    """Return what decides whether two headers belong to one sweep, cells as their ids."""
    header = header.model_copy(update={"plan": short_plan(header.plan)})
    plan = header.plan.model_dump(mode="json")
    plan["models"] = {facts.name: facts.revision for facts in header.plan.models}
    plan["cells"] = [header.cell_id(request) for request in header.plan.cells]
    return {**header.environment(), "plan": plan}


def _differences(old: dict[str, Any], new: dict[str, Any]) -> str:
    """Return how two sweeps differ; of their cells, whose ids say nothing, only that they do."""
    cells = [sweep["plan"].pop("cells") for sweep in (old, new)]
    found = find_differences(old, new)
    told = [f"{one.field} ({one.baseline} in the file, {one.other} now)" for one in found]
    if cells[0] != cells[1]:
        told.append(f"plan.cells ({len(cells[0])} in the file, {len(cells[1])} now, not the same)")
    more = [f"and {len(told) - MOST_TOLD} more"] if len(told) > MOST_TOLD else []
    words = "; ".join(told[:MOST_TOLD] + more)
    return "".join(letter if letter.isprintable() else "?" for letter in words)
