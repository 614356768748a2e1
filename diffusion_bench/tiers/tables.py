"""TOML files of tables, as [[tier]] and [[card]]: read, and their faults said by table name."""

from __future__ import annotations

import tomllib
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from diffusion_bench.records import Complaint, Record, complaints_of


def read_text(path: Path, kind: str) -> str:
    """Return the text of a user's file; `kind` is what it is to be, in a one-line ValueError."""
    try:
        return path.read_text(encoding="utf-8-sig")  # editors on Windows add a mark
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror or error}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is no {kind}: {error}") from None


def read_tables(text: str, name: str, source: str) -> dict[str, Any]:
    """Return a TOML text that holds tables called `name`.

    `source` names it in the one line of a ValueError, for a text without such tables.
    """
    try:
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ValueError(f"{source} is no TOML file: {error}") from None
    tables = document.get(name, [])
    if not isinstance(tables, list) or not all(isinstance(one, dict) for one in tables):
        raise ValueError(f"{source}: write [[{name}]], in two pairs of brackets, over each {name}")
    if not tables:
        raise ValueError(f"{source} describes no {name}; give each a table [[{name}]]")
    return document


def explain_tables(
    error: ValidationError, document: dict[str, Any], name: str, kind: type[Record]
) -> str:
    """Return what is wrong with such a text in one line; `kind` is what a table describes."""
    known = ", ".join(kind.model_fields)
    return "; ".join(_said(one, document, name, known) for one in complaints_of(error))


def _said(one: Complaint, document: dict[str, Any], name: str, known: str) -> str:
    place, table, allowed = one.place, "", ""
    if len(place) > 1 and place[0] == name:
        index = int(place[1])
        table, place = f"{name} {_title(document[name][index], index)}: ", place[2:]
        allowed = f"; known: {known}"
    field = ".".join(map(str, place))
    if one.kind == "missing":
        return f"{table}{field} is missing"
    if one.kind == "extra_forbidden":
        return f"{table}{field} is unknown{allowed}"
    return f"{table}{field}: {one.what}" if field else f"{table}{one.what}"


def _title(table: dict[str, Any], index: int) -> str:
    """Return what a person calls a table: its name, else its number from 1."""
    given = table.get("name")
    return repr(given) if isinstance(given, str) and given else str(index + 1)
