"""What a report must not outgrow to be read again, and the lines that it can do without.

A sweep in rounds writes a cell anew after every visit, and the last line of a cell is the one that
is read. Nothing is lost with those before it.
"""

from __future__ import annotations

import re

from diffusion_bench.reports import read

# How this program begins the line of a cell or a fit. Any other line is kept as it is.
NAMED = re.compile(rb'\{"kind":"(?:(?:cell|shared)","cell_id|fit","shape)":"[^"\\]+"')


def is_readable(num_bytes: int, num_lines: int) -> bool:
    """Return whether a report of so many bytes and whole lines is one that is read."""
    return num_bytes <= read.MAX_REPORT_BYTES and num_lines < read.MAX_LINES


def why_unreadable(line: bytes) -> str:
    """Return why nobody could read a line back, "" where it can be."""
    if len(line) > read.MAX_LINE_BYTES:
        size, limit = len(line) / 2**20, read.MAX_LINE_BYTES / 2**20
        return f"a line of {size:.4g} MiB, and at most {limit:.4g} are read"
    if (values := read.num_values(line)) > read.MAX_VALUES:
        return f"a line of {values} values, and at most {read.MAX_VALUES} are read"
    return ""


def without_replaced(data: bytes) -> bytes:
    """Return a report's whole lines without those that a later one of the same name replaces."""
    last: dict[bytes, int] = {}
    lines: list[tuple[int, int, bytes | None]] = []
    start = 0
    while end := data.find(b"\n", start) + 1:
        found = NAMED.match(data, start, end)
        if found:
            last[found[0]] = start
        lines.append((start, end, found and found[0]))
        start = end
    whole = memoryview(data)  # slices of it are no copies
    return b"".join(
        whole[start:end] for start, end, name in lines if name is None or last[name] == start
    )
