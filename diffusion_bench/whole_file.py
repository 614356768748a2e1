"""Files that are whole or not there: written under another name, then given their own."""

from __future__ import annotations

import contextlib
import errno
import os
import secrets
import stat
import sys
import time
from pathlib import Path
from typing import TextIO

# Windows replaces no file that somebody has open: not while a scanner of viruses reads it, either.
HELD_S = 0.0 if os.name == "posix" else 1.0
LOOK_EVERY_S = 0.05


class NotWritten(ValueError):
    """A file that could not be written, and why, in one line."""


def write_whole(path: Path, content: bytes) -> None:
    """Write a file durably. A reader sees the old one or the whole new one.

    Behind a link it is the link's target that is written. A pipe, a device and our own output
    (`/dev/stdout`) are written into as they are: they are no files that could be replaced.

    Raises `NotWritten` when it cannot be done (no such folder, no permission, disk full); nothing
    half-written stays. Raises BrokenPipeError where who read our own output has gone.
    """
    _refuse_dash(path)
    output = None
    try:
        found = _status(path)
        output = _own_output(found)
        if output is not None:
            output.flush()
            _pour(os.dup(output.fileno()), content)
        elif found is not None and not stat.S_ISREG(found.st_mode):
            _pour(os.open(path, os.O_WRONLY), content)
        else:
            _replace(Path(os.path.realpath(path)), content)
    except OSError as error:
        if output is not None and isinstance(error, BrokenPipeError):
            raise
        raise NotWritten(f"cannot write {path}: {error.strerror or error}") from error


def check_writable(path: Path) -> None:
    """Raise `NotWritten`, before any work, for what `write_whole` could not write.

    What lies there stays as it is: of a file its folder is tried, and a pipe is not opened.
    """
    _refuse_dash(path)
    try:
        found = _status(path)
        if found is not None and stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if found is None or stat.S_ISREG(found.st_mode):
            target = Path(os.path.realpath(path))
            draft = _draft(target)
            os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
            draft.unlink()
            if found is not None:
                _rename(target, target)  # does nothing, or is refused where a program has it open
        elif not os.access(path, os.W_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise NotWritten(f"cannot write {path}: {error.strerror or error}") from error


def is_stream(path: Path) -> bool:
    """Return whether a path leads to a pipe or a device, into which is written as it is."""
    try:
        mode = path.stat().st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def is_standard_output(path: Path) -> bool:
    """Return whether a path leads to where we print."""
    return sys.stdout is not None and _own_output(_status(path)) is sys.stdout


def _refuse_dash(path: Path) -> None:
    if str(path) == "-":
        raise NotWritten("cannot write -: name a file")


def _status(path: Path) -> os.stat_result | None:
    """Return what lies at a path, behind links, or `None` where nothing does."""
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _own_output(found: os.stat_result | None) -> TextIO | None:
    """Return the stream of ours, standard output or error, that has this file open.

    What a shell's `>` or `>>` opened is gone on with where it is: replaced, what was printed
    would be lost.
    """
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(OSError, ValueError, AttributeError):  # closed, or none at all
            output = os.fstat(stream.fileno())
            # Windows has no numbers for devices: NUL would be the same as the console.
            if found is not None and output.st_ino and os.path.samestat(found, output):
                return stream
    return None


def _pour(file: int, content: bytes) -> None:
    with os.fdopen(file, "wb") as stream:
        stream.write(content)


def _draft(path: Path) -> Path:
    """Return a name beside a file; not after its own, which may be as long as is allowed."""
    return path.with_name(f".{secrets.token_hex(8)}.part")


def _replace(path: Path, content: bytes) -> None:
    draft = _draft(path)
    try:
        # 0o666 less the umask, as for any file that a person makes; exclusive, so never a link.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        file = os.open(draft, flags, 0o666)
        with os.fdopen(file, "wb") as stream:
            _keep_mode(path, file)
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        _rename(draft, path)
        _sync_folder(path.parent)
    finally:
        with contextlib.suppress(OSError):
            draft.unlink()


def _rename(old: Path, new: Path) -> None:
    """Give a file another's name, as soon as nobody has that one open for a moment."""
    give_up_at_s = time.monotonic() + HELD_S
    while True:
        try:
            os.replace(old, new)
            return
        except PermissionError:
            if time.monotonic() >= give_up_at_s:
                raise
        time.sleep(LOOK_EVERY_S)


def _keep_mode(path: Path, draft: int) -> None:
    """Let those read a file who could read the one it replaces: it may be its owner's alone."""
    before = _status(path)
    if before is not None and hasattr(os, "fchmod"):  # Windows has no such modes
        with contextlib.suppress(OSError):  # a file system may have none either
            os.fchmod(draft, stat.S_IMODE(before.st_mode))


def _sync_folder(folder: Path) -> None:
    """Make a rename inside a folder durable, where that can be.

    The file is there already: a folder that may be written and not listed, or of a file system
    that syncs none (a virtual machine's share), is no reason to call it not written. Windows opens
    no folder, and need not.
    """
    if os.name != "posix":
        return
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
