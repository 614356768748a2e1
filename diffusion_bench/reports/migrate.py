"""Older report formats, brought to the newest one. Pure: JSON in, JSON out."""

from __future__ import annotations

from typing import Any

from diffusion_bench.reports.schema import SCHEMA_VERSION

Json = dict[str, Any]


def to_newest(header: Json) -> Json:
    """Return a header in the newest format; one of an unknown format as it is.

    Formats only added what may be absent (`schema.py` tells what), so that their number is all that
    changes. Lines after the header have kept their form since format 1.
    """
    version = header.get("schema_version")
    if isinstance(version, int) and 1 <= version < SCHEMA_VERSION:
        return {**header, "schema_version": SCHEMA_VERSION}
    return header
