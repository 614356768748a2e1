"""Files that are whole or not there: written under another name, then given their own."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path


class NotWritten(ValueError):
    """A file that could not be written, and why, in one line."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file durably. A reader sees the old one or the whole new one.

    Raises `NotWritten` when it cannot be done (no such folder, no permission, disk full); nothing
    half-written stays.
    """
    # Not after the name itself, which may be as long as the system allows.
    draft = path.with_name(f".{secrets.token_hex(8)}.part")
    try:
        # 0o666 less the umask, as for any file that a person makes; exclusive, so never a link.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        file = os.open(draft, flags, 0o666)
        with os.fdopen(file, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(draft, path)
        sync_folder(path.parent)
    except OSError as error:
        raise NotWritten(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def sync_folder(folder: Path) -> None:
    """Make a rename inside a folder durable. Windows cannot open a folder, and need not."""
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
