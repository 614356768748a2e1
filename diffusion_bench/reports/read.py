"""Reading reports back, strictly: what is damaged is said, what is not a report is refused.

A line that is not JSON was damaged on the way to the disk: at the end it is a torn write and is
cut, in the middle it is skipped, and a note says so. A line that is JSON but not what a report
holds was not written by this program, and the whole file is refused.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, NoReturn

from pydantic import ValidationError

from diffusion_bench.records import explain
from diffusion_bench.reports.schema import SCHEMA_VERSION, Cell, Header, Report

MAX_REPORT_BYTES = 256 * 2**20
MAX_LINES = 100_000
MAX_SAMPLES = 10_000  # of one cell
SHORTEST_S, LONGEST_S = 1e-7, 1e9
MAX_COMPLAINT = 300  # characters of one error, so that a hostile file cannot flood a terminal
BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # editors on Windows put it in front of UTF-8


class UnreadableReport(ValueError):
    """A file that is not a report this version can read, in one line that names it."""


class _Damaged(Exception):
    """A line that is not JSON."""


def read_report(path: str | Path) -> Report:
    """Return the report in a file; its `source` is the file's name. Raise `UnreadableReport`."""
    path = Path(path)
    return parse_report(read_bytes(path), path.name)


def read_bytes(path: Path) -> bytes:
    """Return a report file's bytes, at most `MAX_REPORT_BYTES`. Raise `UnreadableReport`."""
    try:
        if path.is_dir():
            raise UnreadableReport(f"{path}: is a folder, not a report file")
        if path.exists() and not path.is_file():
            raise UnreadableReport(f"{path}: is a device or pipe, not a report file")
        with path.open("rb") as file:
            data = file.read(MAX_REPORT_BYTES + 1)
    except FileNotFoundError:
        raise UnreadableReport(f"{path}: no such file") from None
    except (OSError, ValueError) as error:
        if isinstance(error, UnreadableReport):
            raise
        reason = getattr(error, "strerror", None) or error
        raise UnreadableReport(f"{str(path)!r}: cannot be read: {reason}") from None
    return data


def parse_report(text: bytes | str, source: str) -> Report:
    """Return the report in an upload's content. `source` names it in errors and charts."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    _refuse_other_files(data, source)
    end = intact_bytes(data)
    lines = data[:end].removeprefix(BYTE_ORDER_MARK).split(b"\n")
    if len(lines) > MAX_LINES:
        raise UnreadableReport(f"{source}: more than {MAX_LINES} lines, the most that is read")
    header = _read_header(lines[0], source)
    cells, notes = _read_cells(lines, source)
    if end < len(data):
        notes.append(f"the last line was torn by an interruption: {len(data) - end} bytes left out")
    return Report(header=header, cells=tuple(cells.values()), notes=tuple(notes), source=source)


def intact_bytes(data: bytes) -> int:
    """Return how many bytes, from the start, end with a line that is complete and JSON."""
    end = data.rfind(b"\n") + 1
    while end:
        start = data.rfind(b"\n", 0, end - 1) + 1
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
    first, newline, _ = data.removeprefix(BYTE_ORDER_MARK).partition(b"\n")
    if not first.lstrip().startswith(b"{") or b"\0" in first:
        raise UnreadableReport(f"{source}: not a report (a report is JSON Lines with a header)")
    if not newline:
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
            f"{source}: written in report format {version}, and this version of Diffusion Bench "
            f"reads up to format {SCHEMA_VERSION}; update Diffusion Bench to open it"
        )
    try:
        return Header.model_validate_json(line, strict=True)
    except ValidationError as error:
        raise UnreadableReport(f"{source}: line 1: {_complaint(error)}") from None


def _read_cells(lines: list[bytes], source: str) -> tuple[dict[str, Cell], list[str]]:
    """Return the cells of all lines but the first by id, the last of each id, and notes."""
    cells: dict[str, Cell] = {}
    notes = []
    for number, line in enumerate(lines[1:], start=2):
        if not line.strip():
            continue
        try:
            cell = _read_cell(line, f"{source}: line {number}")
        except _Damaged:
            notes.append(f"line {number} is damaged and was skipped")
            continue
        cells.pop(cell.cell_id, None)
        cells[cell.cell_id] = cell
    return cells, notes


def _read_cell(line: bytes, where: str) -> Cell:
    try:
        cell = Cell.model_validate_json(line, strict=True)
    except ValidationError as error:
        _decode(line, where)
        raise UnreadableReport(f"{where}: {_complaint(error)}") from None
    _refuse_impossible(cell, where)
    if cell.cell_id != cell.request.workload_id():
        raise UnreadableReport(
            f"{where}: cell_id {cell.cell_id!r:.60} is not that of its request "
            f"({cell.request.workload_id()}), so the line was changed after it was measured"
        )
    return cell


def _refuse_impossible(cell: Cell, where: str) -> None:
    """Refuse counts no sweep reaches and times no clock gave, which would overflow later on."""
    if cell.order > MAX_LINES:
        raise UnreadableReport(f"{where}: order: more than {MAX_LINES} cells")
    if len(cell.samples) > MAX_SAMPLES:
        raise UnreadableReport(f"{where}: more than {MAX_SAMPLES} samples in one cell")
    for sample in cell.samples:
        times = (sample.wall_s, *sample.step_s, *(time for _, time in sample.stages))
        if sample.wall_s < SHORTEST_S or any(abs(time) > LONGEST_S for time in times):
            raise UnreadableReport(f"{where}: samples: a time that cannot have been measured")


def _decode(line: bytes, where: str) -> Any:
    """Return a line's JSON value; raise `_Damaged` where there is none."""
    try:
        return json.loads(line.decode("utf-8"), parse_constant=_refuse_constant)
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise _Damaged from None
    except RecursionError:
        raise UnreadableReport(f"{where}: nested too deeply") from None
    except ValueError as error:  # NaN, or an integer longer than Python converts
        raise UnreadableReport(f"{where}: {error!s:.{MAX_COMPLAINT}}") from None


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
    text = explain(error)
    return text if len(text) <= MAX_COMPLAINT else text[:MAX_COMPLAINT] + "..."
