"""What a report does not say: whose it is. The home folder, often named after a person, is `~`.

A folder that a request names becomes `~/...` before it is measured, since its name is part of a
cell's identity; whatever reads such a name expands it. Messages and reasons, which come from
libraries and from the system, are changed as they are written.
"""

from __future__ import annotations

import getpass
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

from diffusion_bench.records import Record
from diffusion_bench.reports.schema import Plan

# Fields that may name a folder: of a request, of what is known of its model, of a plan of quality.
FOLDERS = ("model", "vocoder", "name", "scorer")
TOLD = ("message", "missing", "notes")  # fields of words, at any depth
CASE = re.IGNORECASE if os.name == "nt" else re.NOFLAG
Named = TypeVar("Named", bound=Record)


def without_home(record: Named) -> Named:
    """Return a record whose own folders begin with `~` where they lie in the home folder."""
    named = {name: getattr(record, name, None) for name in FOLDERS}
    short = {name: short_path(path) for name, path in named.items() if isinstance(path, str)}
    changed = {name: path for name, path in short.items() if path != named[name]}
    return record.model_copy(update=changed) if changed else record


def short_path(path: str) -> str:
    """Return a path with `~` for the home folder; any other text, such as a hub id, as it is."""
    whole = os.path.expanduser(path)  # `~ann` names its user too
    for home in _homes():
        # Windows takes either slash: "C:/Users/ann" is what a TOML file has.
        spelled = re.escape(home).replace("\\\\", r"[\\/]")
        if found := re.match(rf"{spelled}(?=[\\/]|$)", whole, CASE):
            return "~" + whole[found.end() :].replace(os.sep, "/")
    return path


def short_plan(plan: Plan) -> Plan:
    """Return a plan as it is stored now: older reports have whole paths."""
    changes = {
        "models": tuple(map(without_home, plan.models)),
        "cells": tuple(map(without_home, plan.cells)),
        "quality": plan.quality and without_home(plan.quality),
    }
    return plan.model_copy(update=changes)


def without_names(value: Any) -> Any:
    """Return a JSON value with `~` for the home folder in its messages, reasons and notes."""
    names = _names()
    return value if names is None else _walk(value, names, told=False)


def words_without_names(words: str) -> str:
    """Return words with `~` for the home folder."""
    names = _names()
    return words if names is None else names.sub("~", words)


def _walk(value: Any, names: re.Pattern[str], *, told: bool) -> Any:
    if isinstance(value, dict):
        return {name: _walk(each, names, told=told or name in TOLD) for name, each in value.items()}
    if isinstance(value, list):
        return [
            _walk(each, names, told=told) if isinstance(each, dict | list | str) else each
            for each in value
        ]
    return names.sub("~", value) if told and isinstance(value, str) else value


def _names() -> re.Pattern[str] | None:
    """Return what finds the home folder, and torch's folder of the user's name, in a text."""
    spelled = {
        text
        for home in _homes()
        for text in (home, home.replace(os.sep, "/"), home.replace("\\", "\\\\"))  # as in a repr
    }
    # /home/ann-old and /home/ann.bak are other folders; "... in /home/ann." ends a sentence.
    found = [re.escape(text) + r"(?![\w-]|\.\w)" for text in sorted(spelled, key=len, reverse=True)]
    if (user := _user()) is not None:
        found.append(rf"(?<=torchinductor_){re.escape(user)}(?!\w)")  # in the temporary folder
    return re.compile("|".join(found), CASE) if found else None


def _homes() -> tuple[str, ...]:
    """Return the home folder as it is called and as it lies; none where it is not known."""
    try:
        return _places(str(Path.home()))
    except RuntimeError:  # neither a variable nor the system's table names one
        return ()


@lru_cache(maxsize=8)
def _places(home: str) -> tuple[str, ...]:
    """Return a folder as it is called and as it lies; nothing of the root, which is nobody's."""
    places = dict.fromkeys((home, os.path.realpath(home)))
    return tuple(place for place in places if os.path.dirname(place) not in (place, ""))


def _user() -> str | None:
    try:
        return re.sub(r'[\\/:*?"<>|]', "_", getpass.getuser())  # as torch writes it
    except (OSError, KeyError, ImportError):
        return None
