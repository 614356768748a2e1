"""What a model runs on, and several devices at once: which, and what each does of the work."""

from __future__ import annotations

import re
from typing import Annotated, Literal, Self, get_args

from pydantic import Field, model_validator

from diffusion_bench.records.base import Record

# "jobs": each has the whole request. "batch": each draws its part of the batch. "model": the
# networks of one model lie on several cards.
DeviceShare = Literal["jobs", "batch", "model"]
SHARES: tuple[DeviceShare, ...] = get_args(DeviceShare)
MAX_DEVICES = 8
BETWEEN_CARDS = ","


class ModelDevice(Record):
    """What one model runs on: a device, or several cards that its networks are laid on together.

    Its name, which is what a worker and an engine are told, is that of the device, or those of the
    cards with commas between them. Whether there is such a device is for `pick_device` to say.
    """

    cards: Annotated[tuple[str, ...], Field(min_length=1)]

    @classmethod
    def parse(cls, name: str) -> Self:
        """Return the device of a name: "cpu", "cuda:0,cuda:1"."""
        return cls(cards=tuple(name.split(BETWEEN_CARDS)))

    def __str__(self) -> str:
        return BETWEEN_CARDS.join(self.cards)

    @property
    def is_several(self) -> bool:
        """Return whether these are several cards."""
        return len(self.cards) > 1


class DevicesPlan(Record):
    """The devices that a sweep measures at once, and how they share the work, each way a cell."""

    names: Annotated[
        tuple[Annotated[str, Field(pattern=r"^(cpu|mps|cuda:\d{1,3})$")], ...],
        Field(min_length=2, max_length=MAX_DEVICES),
    ]
    share: Annotated[tuple[DeviceShare, ...], Field(min_length=1)] = ("jobs", "batch")

    @model_validator(mode="after")
    def _devices_that_differ(self) -> Self:
        twice = {name for name in self.names if self.names.count(name) > 1} - {"cpu"}
        if twice:
            raise ValueError(f"{min(twice)} is named twice; only cpu, for a trial, may be")
        if len(set(self.share)) < len(self.share):
            raise ValueError("a share is named twice")
        others = [name for name in self.names if not name.startswith("cuda")]
        if "model" in self.share and others:
            raise ValueError(
                f'share "model" lays one model on CUDA cards alone; {others[0]} is none, so leave '
                '"model" out of share'
            )
        return self

    @property
    def words(self) -> str:
        """Return the devices as a person names them: "cuda:0 and cuda:1"."""
        return f"{', '.join(self.names[:-1])} and {self.names[-1]}"


def is_one_processor(names: tuple[str, ...]) -> bool:
    """Return whether two or more of the devices are the same processor."""
    return sum(not re.match(r"cuda|mps", name) for name in names) > 1
