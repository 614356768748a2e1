"""TOML that people write (sweeps, cards, tiers): read, and its faults said in its own words."""

from __future__ import annotations

import difflib
import tomllib
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from diffusion_bench.records.base import Complaint, complaints_of

# Pydantic's names of faults, in the words of TOML, which has lists and tables.
WORDS = {
    "missing": "is missing",
    "tuple_type": "should be a list, as in [2, 3]",
    "model_type": "should be a table, as [stop] is",
    "dict_type": "should be a table, as [stop] is",
    "too_short": "is an empty list; it needs a value",
}

WINDOWS_PATH = r"; a path of Windows stands in single quotes: 'C:\models\sd15'"


def read_text(path: Path, kind: str) -> str:
    """Return the text of a user's file; `kind` is what it is to be, in a one-line ValueError."""
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows add a mark
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError:
        raise ValueError(f"{path} is no {kind}: it is not text in UTF-8") from None


def parse_toml(text: str, source: str) -> dict[str, Any]:
    """Return what a TOML text holds; `source` names it in the one line of a ValueError."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        hint = WINDOWS_PATH if "\\" in text else ""
        raise ValueError(f"{source} is no TOML file: {error}{hint}") from None
    except RecursionError:
        raise ValueError(f"{source}: nested too deeply") from None
    except ValueError as error:  # an integer longer than Python converts
        raise ValueError(f"{source}: {error}") from None


def parse_tables(text: str, name: str, source: str) -> dict[str, Any]:
    """Return a TOML text that holds tables called `name`; raise ValueError if there are none."""
    document = parse_toml(text, source)
    tables = document.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise ValueError(f"{source}: write [[{name}]], in two pairs of brackets, over each {name}")
    if not tables:
        raise ValueError(f"{source} describes no {name}; give each a table [[{name}]]")
    return document


def explain_toml(error: ValidationError, kind: type[BaseModel], document: dict[str, Any]) -> str:
    """Return in one line what is wrong; an unknown setting is told where it belongs.

    Where it belongs nowhere, those are told that there are, once. `kind` is the record that was to
    be read from the document.
    """
    listed: set[type[BaseModel]] = set()
    told = []
    for one in complaints_of(error):
        table, where = _place(one, document)
        if one.kind == "extra_forbidden":
            told.append(f"{table}{where} is no setting{_instead(one, kind, listed)}")
        elif one.kind in WORDS:
            told.append(f"{table}{where} {WORDS[one.kind]}{one.given}")
        else:
            told.append(f"{table}{where}: {one.what}" if where else f"{table}{one.what}")
    return "; ".join(told)


def _instead(one: Complaint, kind: type[BaseModel], listed: set[type[BaseModel]]) -> str:
    """Return what to write in place of an unknown setting; `listed` are the records told before."""
    *above, name = one.place
    if homes := _homes(kind, str(name), above):
        return f"; it belongs {' or '.join(homes)}"
    record = _record_at(kind, above)
    known = sorted(_fields(record))
    near = difflib.get_close_matches(str(name), known, 1)
    told = [f"did you mean {near[0]}?"] if near else []
    if record not in listed:
        listed.add(record)
        told.append(f"there are {', '.join(known)}")
    return f"; {' '.join(told)}" if told else ""


def _homes(kind: type[BaseModel], name: str, above: list[int | str]) -> list[str]:
    """Return in words the other places of a document that have a setting of that name."""
    fields = _fields(kind)
    at_top = ["at the top, above every table"] if above and name in fields else []
    held = {table: _record_at(kind, [table]) for table in fields if table not in above}
    return at_top + [
        f"under {_heading(table, fields[table])}"
        for table, record in held.items()
        if record is not kind and name in _fields(record)
    ]


def _heading(table: str, field: FieldInfo) -> str:
    """Return how a table is headed: one of several in two pairs of brackets."""
    several = get_origin(field.annotation) in (tuple, list)
    return f"[[{table}]]" if several else f"[{table}]"


def _place(one: Complaint, document: Any) -> tuple[str, str]:
    """Return which of several tables a fault is in, "" where there is one, and where in it.

    The values of a list are counted from 1.
    """
    table, words, held = "", "", document
    for part in one.place:
        found = (isinstance(held, dict) and part in held) or isinstance(held, list)
        held = held[part] if found else None
        if not isinstance(part, int):
            words += f".{part}" if words else part
        elif isinstance(held, dict):
            table, words = f"{words} {_title(held, part)}: ", ""
        else:  # behind a value pydantic names the kinds that it might have been
            words += f", value {part + 1}"
            break
    return table, words


def _title(table: dict[str, Any], index: int) -> str:
    """Return what a person calls a table: its name, else its number from 1."""
    given = table.get("name")
    return repr(given) if isinstance(given, str) and given else str(index + 1)


def _fields(kind: type[BaseModel]) -> dict[str, FieldInfo]:
    """Return the fields of a record by the names that a text has for them."""
    return {field.alias or name: field for name, field in kind.model_fields.items()}


def _record_at(kind: type[BaseModel], place: list[int | str]) -> type[BaseModel]:
    """Return the record that a place of another one holds."""
    for part in place:
        field = _fields(kind).get(str(part))
        held = None if field is None else field.annotation
        inside = [held, *get_args(held)]
        kind = next(
            (each for each in inside if isinstance(each, type) and issubclass(each, BaseModel)),
            kind,
        )
    return kind
