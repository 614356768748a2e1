"""What is wrong with a sweep's TOML text, in the words of the text."""

from __future__ import annotations

import difflib
from typing import get_args

from pydantic import BaseModel, ValidationError

from diffusion_bench.records import Complaint, complaints_of

# Pydantic's names of faults, in the words of TOML, which has lists and tables.
WORDS = {
    "missing": "is missing",
    "tuple_type": "should be a list, as in [2, 3]",
    "model_type": "should be a table, as [stop] is",
    "dict_type": "should be a table, as [stop] is",
    "too_short": "is an empty list; it needs a value",
}


def explain_sweep(error: ValidationError, kind: type[BaseModel]) -> str:
    """Return in one line what is wrong; an unknown setting is told those that there are.

    `kind` is the record that was read.
    """
    return "; ".join(_said(one, kind) for one in complaints_of(error))


def _said(one: Complaint, kind: type[BaseModel]) -> str:
    where = _place(one)
    if one.kind == "extra_forbidden":
        *above, name = one.place
        known = sorted(_record_at(kind, above).model_fields)
        near = difflib.get_close_matches(str(name), known, 1)
        guess = f"did you mean {near[0]}? " if near else ""
        return f"{where} is no setting; {guess}there are {', '.join(known)}"
    if one.kind in WORDS:
        return f"{where} {WORDS[one.kind]}{one.given}"
    return f"{where}: {one.what}" if where else one.what


def _place(one: Complaint) -> str:
    """Return where a fault is; the values of a list are counted from 1."""
    words, counted = "", False
    for part in one.place:
        if isinstance(part, int):
            words, counted = f"{words}, value {part + 1}", True
        elif not counted:  # behind a value pydantic names the kinds that it might have been
            words += f".{part}" if words else part
    return words


def _record_at(kind: type[BaseModel], place: list[int | str]) -> type[BaseModel]:
    """Return the record that a place of another one holds."""
    for part in place:
        field = kind.model_fields.get(str(part))
        held = None if field is None else field.annotation
        inside = [held, *get_args(held)]
        kind = next(
            (each for each in inside if isinstance(each, type) and issubclass(each, BaseModel)),
            kind,
        )
    return kind
