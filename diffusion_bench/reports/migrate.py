"""Older report formats, brought to the newest one step at a time. Pure: JSON in, JSON out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

Json = dict[str, Any]


def _from_1(header: Json) -> Json:
    """Format 2 only added fields, all of which may be absent."""
    return {**header, "schema_version": 2}


def _from_2(header: Json) -> Json:
    """Format 3 added cells of speech; those of pictures are as they were."""
    return {**header, "schema_version": 3}


def _from_3(header: Json) -> Json:
    """Format 4 only added fields, all of which may be absent."""
    return {**header, "schema_version": 4}


def _from_4(header: Json) -> Json:
    """Format 5 only added fields, all of which may be absent."""
    return {**header, "schema_version": 5}


def _from_5(header: Json) -> Json:
    """Format 6 added cells of several devices, and fields that may be absent."""
    return {**header, "schema_version": 6}


def _from_6(header: Json) -> Json:
    """Format 7 probes the machine's speed by other work; earlier probes are kept as they are."""
    return {**header, "schema_version": 7}


def _from_7(header: Json) -> Json:
    """Format 8 added the quality of speech; that of pictures is as it was."""
    return {**header, "schema_version": 8}


STEPS: dict[int, Callable[[Json], Json]] = {
    1: _from_1,
    2: _from_2,
    3: _from_3,
    4: _from_4,
    5: _from_5,
    6: _from_6,
    7: _from_7,
}


def to_newest(header: Json) -> Json:
    """Return a header in the newest format; one of an unknown format as it is.

    Lines after the header have kept their form since format 1.
    """
    while isinstance(version := header.get("schema_version"), int) and version in STEPS:
        header = STEPS[version](header)
    return header
