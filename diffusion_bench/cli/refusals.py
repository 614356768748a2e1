"""What a command will not do: options that mean nothing beside another, files written over.

What is wrong with a value is told by the name of its option.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from diffusion_bench.records import complaints_of
from diffusion_bench.whole_file import check_writable, is_stream

# The options of fields that they are not called after.
OPTIONS = {
    "guidance_scale": "--guidance",
    "negative_prompt": "--negative",
    "width": "--size",
    "height": "--size",
}
HTML = (".html", ".htm")
COLUMNS = ("prompt", "text", "seed")  # the row of a --batch may have said it


def option_of(field: str, own: Mapping[str, str]) -> str:
    """Return the option that says a field of a request; `own` are those of a command alone."""
    return {**OPTIONS, **own}.get(field, f"--{field.replace('_', '-')}")


@contextmanager
def told_by_option(own: Mapping[str, str]) -> Iterator[None]:
    """Raise ValueError, in one line by the options, for what pydantic finds wrong in the block."""
    try:
        yield
    except ValidationError as error:
        told = []
        for one in complaints_of(error):
            field = str(one.place[0]) if one.place else ""
            name = field if field in COLUMNS or not field else option_of(field, own)
            told.append(f"{name}: {one.what}" if name else one.what)
        # A side that is wrong twice is one --size.
        raise ValueError("; ".join(dict.fromkeys(told))) from None


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


def refuse_unwritable(
    option: str, file: Path, endings: Collection[str], *, ending_says_format: bool = False
) -> None:
    """Raise ValueError, before any work, for a file to write of another kind or in no folder.

    Also for one that cannot be written. A pipe or a device may be called anything, unless it is
    the ending that says what is written.
    """
    free = is_stream(file) and not ending_says_format
    if not free and file.suffix.lower() not in endings:
        told = ", ".join(endings)
        told = f"one of {told}" if len(endings) > 1 else told
        raise ValueError(f"{option} {file} does not end in {told}")
    if not file.parent.is_dir():
        raise ValueError(f"{option} {file}: there is no folder {file.parent}")
    check_writable(file)


def _is_one_file(file: Path, other: Path) -> bool:
    """Return whether two paths lead to one file, however they are spelled."""
    try:
        return file.samefile(other)
    except OSError:  # one of them is not there, or neither is yet
        return os.path.realpath(file) == os.path.realpath(other)
