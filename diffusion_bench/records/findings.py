"""What the doctor says of a machine or a report: one record a thing it saw."""

from __future__ import annotations

from typing import Literal, Self, get_args

from pydantic import model_validator

from diffusion_bench.records.base import Record

Level = Literal["problem", "warning", "note", "ok"]
LEVELS: tuple[Level, ...] = get_args(Level)  # the gravest first


class Finding(Record):
    """One thing seen. `advice` is what to do; only what is in order has none."""

    level: Level
    title: str
    detail: str = ""
    advice: str = ""

    @model_validator(mode="after")
    def _has_advice(self) -> Self:
        if self.level != "ok" and not self.advice:
            raise ValueError(f"a finding needs advice: {self.title}")
        return self
