"""The axes of a sweep, of pictures and of speech: what is varied, and in which order."""

from __future__ import annotations

import itertools
import math
from typing import Annotated, Any, ClassVar, Literal

from pydantic import Field

from diffusion_bench.records import (
    BUNDLED_MODEL,
    BUNDLED_SIDE,
    BUNDLED_VOICE,
    BUNDLED_VOICE_MODEL,
    AskedSpeed,
    PrecisionName,
    Record,
    SamplerName,
    Seed,
    Speed,
    VoiceSamplerName,
)

Resolution = int | Annotated[str, Field(pattern=r"^\d{1,5}x\d{1,5}$")]
SHORT_TEXT = "The river was quiet that morning, and a thin mist lay over the fields."


Switch = tuple[bool, ...]


class SpeedAxes(Record):
    """The values of each option of `records.Speed`; an empty one is as the speeds have it."""

    attention: tuple[Literal["sdpa", "plain", "sliced"], ...] = ()
    guidance: tuple[Literal["batched", "split"], ...] = ()
    compute: tuple[Literal["as asked", "bf16", "bf16 products"], ...] = ()
    channels_last: Switch = ()
    packed: Switch = ()
    keep_prompts: Switch = ()
    keep_keys: Switch = ()
    vae: tuple[Literal["whole", "sliced", "tiled"], ...] = ()
    traced: Switch = ()
    threads: tuple[Literal["all", "one"], ...] = ()
    compile: tuple[Literal["off", "on", "cuda graphs"], ...] = ()
    offload: tuple[Literal["none", "model", "sequential"], ...] = ()
    inference_mode: Switch = ()


class Axes(SpeedAxes):
    """The values of each axis of pictures. `resolution` is a side, or "WIDTHxHEIGHT".

    `speed` holds words as `--speed` takes them. Each of its options is an axis as well, which sets
    it in every speed but "auto".
    """

    ORDER: ClassVar[tuple[str, ...]] = (
        "model",
        "precision",
        "speed",
        "guidance_scale",
        "resolution",
        "batch",
        "seed",
        "steps",
        "eta",
        "sampler",
    )

    model: Annotated[tuple[str, ...], Field(min_length=1)] = (BUNDLED_MODEL,)
    sampler: Annotated[tuple[SamplerName, ...], Field(min_length=1)] = ("ddim", "ddpm")
    eta: Annotated[tuple[float, ...], Field(min_length=1)] = (0.0,)
    steps: Annotated[tuple[int, ...], Field(min_length=1)] = (20,)
    resolution: Annotated[tuple[Resolution, ...], Field(min_length=1)] = (BUNDLED_SIDE,)
    batch: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    precision: Annotated[tuple[PrecisionName, ...], Field(min_length=1)] = ("fp32",)
    guidance_scale: Annotated[tuple[float, ...], Field(min_length=1)] = (3.0,)
    seed: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)
    speed: Annotated[tuple[AskedSpeed, ...], Field(min_length=1)] = (Speed(),)

    def slowest_first(self) -> tuple[str, ...]:
        """Return the axes from the one that changes least often to the sampler."""
        return self.ORDER

    def count(self, name: str) -> int:
        """Return how many values an axis has at most, without making them."""
        return self._most_speeds() if name == "speed" else len(getattr(self, name))

    def values(self, name: str) -> tuple[Any, ...]:
        """Return the values of an axis. Raise ValueError for options that exclude each other."""
        return self._speeds() if name == "speed" else getattr(self, name)

    def _options(self) -> dict[str, tuple[Any, ...]]:
        """Return the values, each once, of the options that are axes."""
        given = {name: getattr(self, name) for name in SpeedAxes.model_fields}
        return {name: tuple(dict.fromkeys(values)) for name, values in given.items() if values}

    def _most_speeds(self) -> int:
        combinations = math.prod(map(len, self._options().values()))
        return sum(combinations if isinstance(speed, Speed) else 1 for speed in set(self.speed))

    def _speeds(self) -> tuple[Any, ...]:
        """Return each speed with each combination of the options that are axes."""
        varied = self._options()
        options = [
            dict(zip(varied, values, strict=True)) for values in itertools.product(*varied.values())
        ]
        speeds: dict[Any, None] = {}
        for speed in dict.fromkeys(self.speed):
            if isinstance(speed, Speed):
                made = (Speed.model_validate(speed.model_dump() | each) for each in options)
                speeds.update(dict.fromkeys(made))
            else:
                speeds[speed] = None
        return tuple(speeds)


class VoiceAxes(Record):
    """The values of each axis of speech. `text` holds whole texts, `voice` names of voices."""

    ORDER: ClassVar[tuple[str, ...]] = (
        "model",
        "precision",
        "vocoder",
        "guidance_scale",
        "text",
        "voice",
        "batch",
        "temperature",
        "speed",
        "seed",
        "steps",
        "eta",
        "sampler",
    )

    model: Annotated[tuple[str, ...], Field(min_length=1)] = (BUNDLED_VOICE_MODEL,)
    sampler: Annotated[tuple[VoiceSamplerName, ...], Field(min_length=1)] = ("ddim", "ddpm")
    eta: Annotated[tuple[float, ...], Field(min_length=1)] = (0.0,)
    steps: Annotated[tuple[int, ...], Field(min_length=1)] = (25,)
    text: Annotated[tuple[str, ...], Field(min_length=1)] = (SHORT_TEXT,)
    voice: Annotated[tuple[str, ...], Field(min_length=1)] = (BUNDLED_VOICE,)
    batch: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    precision: Annotated[tuple[PrecisionName, ...], Field(min_length=1)] = ("fp32",)
    guidance_scale: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0,)
    temperature: Annotated[tuple[float, ...], Field(min_length=1)] = (0.2,)
    speed: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0,)
    vocoder: Annotated[tuple[str, ...], Field(min_length=1)] = ("native",)
    seed: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)

    def slowest_first(self) -> tuple[str, ...]:
        """Return the axes from the one that changes least often to the sampler."""
        return self.ORDER

    def count(self, name: str) -> int:
        """Return how many values an axis has."""
        return len(self.values(name))

    def values(self, name: str) -> tuple[Any, ...]:
        """Return the values of an axis."""
        found: tuple[Any, ...] = getattr(self, name)
        return found
