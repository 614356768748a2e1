"""Choices of speed that were measured on this machine, kept in a small file in the cache folder.

The file is another process's, perhaps half-written, perhaps a stranger's: it is read with limits,
and what does not read is measured anew. A choice names options only; it can make nothing run.
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from diffusion_bench.backends.device import cache_folder, cache_lock
from diffusion_bench.records import Record, Speed, parse_speed
from diffusion_bench.whole_file import NotWritten, write_whole

NAME = "speed.json"
MAX_CHOICES = 200
MAX_FILE_BYTES = 2**20

Word = Annotated[str, Field(max_length=300)]


class Choice(Record):
    """What was chosen and why: seconds a short picture by speed, and how far its pixels are off.

    Both are by the words of a speed. Differences are means of 255 from the picture of "plain".
    What memory demanded is the same from `free_from_mib` of free memory to below `free_below_mib`.
    """

    speed: Word
    seconds: Annotated[dict[Word, Annotated[float, Field(gt=0)]], Field(max_length=20)]
    differences: Annotated[dict[Word, Annotated[float, Field(ge=0)]], Field(max_length=20)]
    measured_utc: Word
    free_from_mib: Annotated[float, Field(ge=0)] = 0.0
    free_below_mib: Annotated[float, Field(ge=0)] | None = None

    def suits(self, free_mib: float) -> bool:
        """Return whether memory demands now what it demanded when this was chosen."""
        most = math.inf if self.free_below_mib is None else self.free_below_mib
        return self.free_from_mib <= free_mib < most

    def parsed(self) -> Speed:
        """Return the speed; raise ValueError if its words are none."""
        speed = parse_speed(self.speed)
        if not isinstance(speed, Speed):
            raise ValueError("a choice cannot be auto")
        return speed


class _File(Record):
    version: Literal[1] = 1
    choices: Annotated[dict[Word, Choice], Field(max_length=MAX_CHOICES)] = {}


def recall(key: str) -> tuple[Choice | None, str | None]:
    """Return the choice kept under a key, `None` if there is none, and what is wrong if it is."""
    kept, complaint = _read(cache_folder() / NAME)
    choice = kept.choices.get(key)
    if choice is None:
        return None, complaint
    try:
        choice.parsed()
    except ValueError as error:
        return None, f"{NAME}: {error}"[:300]
    return choice, None


def remember(key: str, choice: Choice) -> str | None:
    """Keep a choice, the newest of a limited number; return why it could not be kept if so."""
    path = cache_folder() / NAME
    try:
        with cache_lock(f"{NAME}.lock"):  # what another process remembers meanwhile is kept, too
            kept, _ = _read(path)
            others = [item for item in kept.choices.items() if item[0] != key]
            choices = dict([*others[-(MAX_CHOICES - 1) :], (key, choice)])
            write_whole(path, _File(choices=choices).model_dump_json(indent=1).encode())
    except (NotWritten, OSError) as error:
        # Goes into reports, which tell nobody's folders.
        return str(error).replace(str(path), f"{NAME} in the cache folder")
    return None


def _read(path: Path) -> tuple[_File, str | None]:
    try:
        with path.open("rb") as file:
            content = file.read(MAX_FILE_BYTES + 1)
    except FileNotFoundError:
        return _File(), None
    except OSError as error:
        return _File(), f"{NAME} cannot be read ({error.strerror})"
    if len(content) > MAX_FILE_BYTES:
        return _File(), f"{NAME} is larger than {MAX_FILE_BYTES} bytes"
    try:
        return _File.model_validate_json(content), None
    except ValidationError as error:
        what = error.errors(include_url=False, include_input=False)[0]["msg"]
        return _File(), f"{NAME} is damaged ({what:.100})"
