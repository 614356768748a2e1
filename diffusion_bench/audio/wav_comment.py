"""The comment of a wav file: RIFF's LIST chunk of type INFO (Microsoft and IBM, 1991).

libsndfile passes over one of more than 2 KiB, so that those are ours to write and read.
"""

from __future__ import annotations

import struct
from pathlib import Path

INFO_TITLE, INFO_SOFTWARE, INFO_COMMENT = b"INAM", b"ISFT", b"ICMT"
LONGEST_COMMENT = 16 * 2**20


def with_comment(content: bytes, comment: str, *, title: str, software: str) -> bytes:
    """Return a wav file with a LIST chunk that says what it is, at its end."""
    told = {INFO_TITLE: title, INFO_SOFTWARE: software, INFO_COMMENT: comment}
    body = b"INFO"
    for name, text in told.items():
        value = text.encode() + b"\0"
        body += name + struct.pack("<I", len(value)) + value + b"\0" * (len(value) % 2)
    whole = content + b"LIST" + struct.pack("<I", len(body)) + body
    return whole[:4] + struct.pack("<I", len(whole) - 8) + whole[8:]


def read_comment(path: Path) -> str:
    """Return the comment of a wav file's LIST chunk, or nothing."""
    with path.open("rb") as file:
        file.seek(12)  # RIFF, its size, WAVE
        while len(head := file.read(8)) == 8:
            name, size = head[:4], struct.unpack("<I", head[4:])[0]
            following = file.tell() + size + size % 2
            if name == b"LIST" and size <= LONGEST_COMMENT:
                comment = _info_comment(file.read(size))
                if comment:
                    return comment
            file.seek(following)
    return ""


def _info_comment(body: bytes) -> str:
    at = 4
    while body[:4] == b"INFO" and at + 8 <= len(body):
        name, size = body[at : at + 4], struct.unpack("<I", body[at + 4 : at + 8])[0]
        if name == INFO_COMMENT:
            return body[at + 8 : at + 8 + size].rstrip(b"\0").decode(errors="replace")
        at += 8 + size + size % 2
    return ""
