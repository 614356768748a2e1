"""What the doctor says of a machine or a report: one record a thing it saw."""

from __future__ import annotations

from typing import Literal, get_args

from diffusion_bench.records.base import Record

Level = Literal["problem", "warning", "note", "ok"]
LEVELS: tuple[Level, ...] = get_args(Level)  # the gravest first


class Finding(Record):
    """One thing seen. `advice` is what to do, empty where nothing is to be done."""

    level: Level
    title: str
    detail: str = ""
    advice: str = ""
