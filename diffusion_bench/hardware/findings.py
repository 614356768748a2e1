"""What the doctor says: one record a thing it saw."""

from __future__ import annotations

from typing import Literal

from diffusion_bench.records import Record

Level = Literal["problem", "warning", "note", "ok"]
LEVELS: tuple[Level, ...] = ("problem", "warning", "note", "ok")


class Finding(Record):
    """One thing seen. `advice` is what to do, empty where nothing is to be done."""

    level: Level
    title: str
    detail: str = ""
    advice: str = ""
