"""What a command will not do: options that mean nothing beside another, files written over."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path


def refuse_beside(option: str, others: Mapping[str, object]) -> None:
    """Raise ValueError if any of `others`, by name, is given (is not None) beside `option`."""
    clashing = [name for name, value in others.items() if value is not None]
    if clashing:
        raise ValueError(f"{option} says that itself: leave out {', '.join(clashing)}")


def refuse_over(
    written: Iterable[Path], read: Mapping[str, Path | None], *, option: str = "--out"
) -> None:
    """Raise ValueError if a file to write is one of those that are read, by what they are.

    `option` names the files to write.
    """
    for file in written:
        for what, path in read.items():
            if path is not None and _is_one_file(file, path):
                raise ValueError(f"{option} {file} is {what} itself; write to another file")


def refuse_unwritable(option: str, file: Path, endings: Collection[str]) -> None:
    """Raise ValueError, before any work, for a file to write of another kind or in no folder."""
    if file.suffix.lower() not in endings:
        told = ", ".join(endings)
        told = f"one of {told}" if len(endings) > 1 else told
        raise ValueError(f"{option} {file} does not end in {told}")
    if not file.parent.is_dir():
        raise ValueError(f"{option} {file}: there is no folder {file.parent}")


def _is_one_file(file: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, however they are spelled."""
    try:
        return file.samefile(other)
    except OSError:  # one of them is not there, or neither is yet
        return os.path.realpath(file) == os.path.realpath(other)
