"""Reading reports back, strictly: what is damaged is said, what is not a report is refused.

A line that is not JSON was damaged on the way to the disk: at the end it is a torn write and is
cut, in the middle it is skipped, and a note says so. A line that is JSON but not what a report
holds was not written by this program, and the whole file is refused.
"""

from __future__ import annotations

import codecs
import itertools
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, NoReturn

from pydantic import Field, TypeAdapter, ValidationError

from diffusion_bench.records import explain
from diffusion_bench.reports.impossible import why_extreme, why_impossible
from diffusion_bench.reports.migrate import to_newest
from diffusion_bench.reports.schema import (
    SCHEMA_VERSION,
    Cell,
    Fit,
    Header,
    Limit,
    Report,
    SharedCell,
)

MAX_REPORT_BYTES = 256 * 2**20
MAX_LINES = 100_000
# The longest a sweep writes is a thousand repeats of a thousand steps. Beyond, checking one line
# would take more memory than a small machine has: a complaint takes hundreds of bytes a value.
MAX_LINE_BYTES = 32 * 2**20
MAX_VALUES = 1_200_000  # of one line
MAX_COMPLAINT = 300  # characters of one error, so that a hostile file cannot flood a terminal
MAX_ERRORS = 100  # explained one by one; each is a few hundred bytes before it is cut
MAX_NOTES = 20
Line = Cell | Fit | Limit | SharedCell
LINES: TypeAdapter[Line] = TypeAdapter(Annotated[Line, Field(discriminator="kind")])
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # editors on Windows put it in front of UTF-8


class UnreadableReport(ValueError):
    """A file that is not a report this version can read, in one line that names it."""


class UnopenedReport(UnreadableReport):
    """A file whose bytes cannot be had now; they may be later, though it stays as it is."""


class _Damaged(Exception):
    """A line that is not JSON."""


def read_report(path: str | Path) -> Report:
    """Return the report in a file; its `source` is the file's name. Raise `UnreadableReport`."""
    path = Path(path)
    return parse_report(read_bytes(path), path_text(path.name))


def path_text(path: str | Path) -> str:
    r"""Return a path as text that can be printed and stored: a byte that is no UTF-8 as `\xff`."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def read_bytes(path: Path) -> bytes:
    """Return a report file's bytes, at most `MAX_REPORT_BYTES`. Raise `UnopenedReport`."""
    try:
        if path.is_dir():
            raise UnopenedReport(f"{path_text(path)}: is a folder, not a report file")
        if path.exists() and not path.is_file():
            raise UnopenedReport(f"{path_text(path)}: is a device or pipe, not a report file")
        with path.open("rb") as file:
            data = file.read(MAX_REPORT_BYTES + 1)
    except FileNotFoundError:
        raise UnopenedReport(f"{path_text(path)}: no such file") from None
    except (OSError, ValueError) as error:
        if isinstance(error, UnreadableReport):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UnopenedReport(f"{str(path)!r}: cannot be read: {reason}") from None
    return data


def parse_report(text: bytes | str, source: str) -> Report:
    """Return the report in an upload's content. `source` names it in errors and charts."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    _refuse_other_files(data, source)
    end = intact_bytes(data)
    lines = _lines(data, end, source)
    body = _Body(_read_header(next(lines), source))
    for number, line in enumerate(lines, start=2):
        body.add(line, number, source)
    notes = body.all_notes()
    if end < len(data):
        notes.append(f"the last line was torn by an interruption: {len(data) - end} bytes left out")
    return Report(
        header=body.header,
        # Lines have another order: cells end in different rounds, and some are tried again.
        cells=tuple(sorted(body.cells.values(), key=lambda cell: cell.order)),
        fits=tuple(body.fits.values()),
        limits=tuple(body.limits),
        shared=tuple(sorted(body.shared.values(), key=lambda cell: cell.order)),
        written=(*body.cells, *body.shared),
        notes=tuple(notes),
        source=source,
    )


def _lines(data: bytes, end: int, source: str) -> Iterator[bytes]:
    """Return the lines up to `end` one by one: all at once would be the file again in memory."""
    start = len(BYTE_ORDER_MARK) if data.startswith(BYTE_ORDER_MARK) else 0
    for number in itertools.count(1):
        newline = data.find(b"\n", start, end)
        stop = newline if newline >= 0 else end
        if start >= end and number > 1:
            return
        if stop - start > MAX_LINE_BYTES:
            limit = MAX_LINE_BYTES // 2**20
            raise UnreadableReport(f"{source}: line {number}: longer than {limit} MiB")
        if num_values(data, start, stop) > MAX_VALUES:
            raise UnreadableReport(f"{source}: line {number}: more than {MAX_VALUES} values")
        yield data[start:stop]
        start = stop + 1


def num_values(data: bytes, start: int = 0, end: int | None = None) -> int:
    """Return at least how many values a text of JSON has: each opens, or follows a comma."""
    return sum(data.count(sign, start, end) for sign in (b",", b"{", b"["))


def intact_bytes(data: bytes) -> int:
    """Return how many bytes, from the start, end with a line that is complete and JSON."""
    end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
        # Refused when it is read, not taken for torn.
        if end - start > MAX_LINE_BYTES or num_values(data, start, end) > MAX_VALUES:
            break
        line = data[start:end]
        if not line.strip() or _is_json(line.removeprefix(BYTE_ORDER_MARK)):
            break
        end = start
    return end


def _refuse_other_files(data: bytes, source: str) -> None:
    if not data.strip():
        raise UnreadableReport(f"{source}: the file is empty")
    if len(data) > MAX_REPORT_BYTES:
        limit = MAX_REPORT_BYTES // 2**20
        raise UnreadableReport(f"{source}: larger than {limit} MiB, the most that is read")
    if data.count(b"\n") >= MAX_LINES:
        raise UnreadableReport(f"{source}: more than {MAX_LINES} lines, the most that is read")
    newline = data.find(b"\n")
    first = data[: newline if newline >= 0 else None][: MAX_LINE_BYTES + 1]
    starts_well = first.removeprefix(BYTE_ORDER_MARK).lstrip().startswith(b"{")
    if first.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):  # PowerShell's `>`
        raise UnreadableReport(f"{source}: is text in UTF-16; save it as UTF-8")
    if not starts_well or b"\0" in first:
        raise UnreadableReport(f"{source}: not a report (a report is JSON Lines with a header)")
    if newline < 0:
        raise UnreadableReport(f"{source}: ends within its first line, so it has no header")


def _read_header(line: bytes, source: str) -> Header:
    try:
        raw = _decode(line, f"{source}: line 1")
    except _Damaged:
        raise UnreadableReport(f"{source}: line 1 is not JSON, so it has no header") from None
    if not isinstance(raw, dict) or raw.get("kind") != "header":
        raise UnreadableReport(f"{source}: line 1: not a report's header (kind is not 'header')")
    version = raw.get("schema_version")
    if isinstance(version, int) and version > SCHEMA_VERSION:
        raise UnreadableReport(
            f"{source}: written in report format {version!s:.20}, and this version of Diffusion "
            f"Bench reads up to format {SCHEMA_VERSION}; update Diffusion Bench to open it"
        )
    try:
        header = Header.model_validate_json(json.dumps(to_newest(raw)), strict=True)
    except ValidationError as error:
        raise UnreadableReport(f"{source}: line 1: {_complaint(error)}") from None
    except RecursionError:
        raise UnreadableReport(f"{source}: line 1: nested too deeply") from None
    _refuse(why_extreme(header), f"{source}: line 1")
    return header


class _Body:
    """The lines of a report after its header: the last of each cell and fit, and notes."""

    def __init__(self, header: Header) -> None:
        self.header = header
        self.cells: dict[str, Cell] = {}
        self.fits: dict[str, Fit] = {}
        self.limits: list[Limit] = []
        self.shared: dict[str, SharedCell] = {}
        self.notes: list[str] = []
        self.renamed: dict[str, str] = {}  # of earlier names, those of today

    def add(self, line: bytes, number: int, source: str) -> None:
        """Take one line. Raise `UnreadableReport` for one that no report of ours holds."""
        if not line.strip():
            return
        where = f"{source}: line {number}"
        try:
            found = _read_line(line, where)
        except _Damaged:
            self.notes.append(f"line {number} is damaged and was skipped")
            return
        if isinstance(found, Cell | SharedCell):
            if found.order > MAX_LINES:
                raise UnreadableReport(f"{where}: order: more than {MAX_LINES} cells")
            _refuse(why_impossible(found, self.header), where)
            found = self._named(found, where)
        _refuse(why_extreme(found), where)
        if isinstance(found, Fit):
            off_line = tuple(self.renamed.get(name, name) for name in found.off_line)
            self.fits[found.shape] = found.model_copy(update={"off_line": off_line})
        elif isinstance(found, Limit):
            self.limits.append(found)
        elif isinstance(found, SharedCell):
            self.shared.pop(found.cell_id, None)  # the last line has the place too, as of a cell
            self.shared[found.cell_id] = found
        else:
            self.cells.pop(found.cell_id, None)
            self.cells[found.cell_id] = found

    def _named(self, cell: Cell | SharedCell, where: str) -> Cell | SharedCell:
        """Return a cell under today's name. Refuse one whose name is not of its request."""
        name = _name(cell, self.header)
        if cell.cell_id == name:
            return cell
        if cell.cell_id != _name(cell, self.header, as_written=True):
            raise UnreadableReport(
                f"{where}: cell_id {cell.cell_id!r:.60} is not that of its request "
                f"({name}), so the line was changed after it was measured"
            )
        self.renamed[cell.cell_id] = name
        return cell.model_copy(update={"cell_id": name})

    def all_notes(self) -> list[str]:
        """Return the notes, the first few and how many more there are."""
        more = len(self.notes) - MAX_NOTES
        told = self.notes[:MAX_NOTES]
        return [*told, f"{more} more lines are damaged and were skipped"] if more > 0 else told


def _read_line(line: bytes, where: str) -> Line:
    try:
        return LINES.validate_json(line, strict=True)
    except ValidationError as error:
        _decode(line, where)
        raise UnreadableReport(f"{where}: {_complaint(error)}") from None


def _name(cell: Cell | SharedCell, header: Header, *, as_written: bool = False) -> str:
    if isinstance(cell, Cell):
        return header.cell_id(cell.request, as_written=as_written)
    return header.shared_id(cell.request, cell.share, as_written=as_written)


def _refuse(why: str, where: str) -> None:
    if why:
        raise UnreadableReport(f"{where}: {why}")


def _decode(line: bytes, where: str) -> Any:
    """Return a line's JSON value; raise `_Damaged` where there is none."""
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise _Damaged from None
    except RecursionError:
        raise UnreadableReport(f"{where}: nested too deeply") from None
    except ValueError as error:  # NaN, or an integer longer than Python converts
        raise UnreadableReport(f"{where}: {_plain(str(error))}") from None


def _is_json(line: bytes) -> bool:
    try:
        _decode(line, "")
    except _Damaged:
        return False
    except UnreadableReport:
        return True
    return True


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a number in JSON")


def _complaint(error: ValidationError) -> str:
    if error.error_count() > MAX_ERRORS:
        return f"{error.error_count()} values in it are none that a report holds"
    return _plain(explain(error))


def _plain(text: str) -> str:
    """Return a text as one line of bounded length: the names in a file are its writer's."""
    cut = text if len(text) <= MAX_COMPLAINT else text[:MAX_COMPLAINT] + "..."
    return "".join(letter if letter.isprintable() else "?" for letter in cut)
