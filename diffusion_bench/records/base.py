"""The frozen record all nouns are, names of records, and pydantic's complaints in one line."""

from __future__ import annotations

import hashlib
import json
import re
import sys
from collections.abc import Collection, Mapping
from functools import cache
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, ValidationError

MAX_SEED = 2**63 - 1
MOST_PRICE = 1e9  # of whatever a user types a price, in whatever currency
AMOUNT = re.compile(r"\s*\d*\.?\d+\s*[a-z]*\s*", re.IGNORECASE)

PrecisionName = Literal["fp32", "bf16", "fp16"]
Seed = Annotated[int, Field(ge=0, le=MAX_SEED)]


def _to_its_end(value: object) -> object:
    """Raise ValueError for a text that goes on after an amount, of which pydantic reads that only.

    "1,5GiB" would be a byte.
    """
    if isinstance(value, str) and not AMOUNT.fullmatch(value):
        raise ValueError(f"{value!r:.40} is no amount of memory; say it as 12GiB")
    return value


MemoryBytes = Annotated[ByteSize, BeforeValidator(_to_its_end)]


class Record(BaseModel):
    """A frozen record. Unknown fields, NaN and infinities are refused."""

    model_config = ConfigDict(
        frozen=True, extra="forbid", allow_inf_nan=False, protected_namespaces=()
    )


Trusted = TypeVar("Trusted", bound=Record)
_NO_FIELDS: set[str] = set()
_set = object.__setattr__


def trusted(kind: type[Trusted], **values: Any) -> Trusted:
    """Return a record of values that are right by construction, unchecked and half as large.

    For records that are made and kept by the ten thousand: pydantic's note of which fields were
    given takes more memory than the fields, and this one is shared. Not for anything from outside.
    Defaults are shared too. It is pydantic's `model_construct` without the search for aliases,
    which takes three times as long: a third of what a look at two GPUs would cost.
    """
    made = kind.__new__(kind)
    _set(made, "__dict__", {**_defaults(kind), **values})
    _set(made, "__pydantic_fields_set__", _NO_FIELDS)
    _set(made, "__pydantic_extra__", None)
    _set(made, "__pydantic_private__", None)
    return made


@cache
def _defaults(kind: type[Record]) -> dict[str, Any]:
    """Return every field of a kind in its order, at its default or `None` where it has none."""
    return {
        name: None if field.is_required() else field.get_default(call_default_factory=True)
        for name, field in kind.model_fields.items()
    }


def by_reason(missing: Mapping[str, str]) -> dict[str, list[str]]:
    """Return each reason once, with the fields that it is of; both in the given order."""
    fields: dict[str, list[str]] = {}
    for field, why in missing.items():
        fields.setdefault(why, []).append(field)
    return fields


class Cancelled(Exception):
    """Raised by a step callback to stop a generation; the engine lets it through."""


def digest(value: Any) -> str:
    """Return 16 hexadecimal digits of the SHA-256 of a JSON value, keys sorted."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def named_fields(record: Record, first: Collection[str]) -> dict[str, Any]:
    """Return the fields, as JSON, that name what a record asks for.

    Those of the `first` reports always, and of later ones those that are not at their default: so a
    field that is added changes no name that stands in a report.
    """
    fields = type(record).model_fields
    return {
        name: value
        for name, value in record.model_dump(mode="json").items()
        if name in first or getattr(record, name) != fields[name].default
    }


class Complaint(NamedTuple):
    """What is wrong with a value: pydantic's name of the fault, where, and what in words.

    `given` is the value in words, as they end with it, empty where it says nothing.
    """

    kind: str
    place: tuple[int | str, ...]
    what: str
    given: str = ""


def complaints_of(error: ValidationError) -> list[Complaint]:
    """Return pydantic's complaints, but for those that only follow from others.

    A tuple is said to be too short where what it holds is wrong.
    """
    items = error.errors(include_url=False)
    places = [item["loc"] for item in items]
    found = []
    for item in items:
        deep = len(item["loc"])
        inside = any(len(place) > deep and place[:deep] == item["loc"] for place in places)
        if item["type"] == "too_short" and inside:
            continue
        told = item["type"] in ("missing", "value_error")
        given = "" if told else f" (got {item['input']!r:.80})"
        what = item["msg"].removeprefix("Value error, ")
        if item["type"] == "string_unicode":
            what = f"is no text in {sys.getfilesystemencoding()}"  # of a command's arguments
        found.append(Complaint(item["type"], item["loc"], f"{what}{given}", given))
    return found


def explain(error: ValidationError) -> str:
    """Return pydantic's complaints as one line a person can act on."""
    told = ((".".join(map(str, one.place)), one.what) for one in complaints_of(error))
    return "; ".join(f"{where}: {what}" if where else what for where, what in told)
