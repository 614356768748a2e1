"""The axes of a sweep, of pictures and of speech: what is varied, and in which order."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from diffusion_bench.records import (
    BUNDLED_MODEL,
    BUNDLED_VOICE,
    BUNDLED_VOICE_MODEL,
    PrecisionName,
    Record,
    SamplerName,
    Seed,
    VoiceSamplerName,
)

Resolution = int | Annotated[str, Field(pattern=r"^\d{1,5}x\d{1,5}$")]
SHORT_TEXT = "The river was quiet that morning, and a thin mist lay over the fields."


class Axes(Record):
    """The values of each axis of pictures. `resolution` is a side, or "WIDTHxHEIGHT"."""

    ORDER: ClassVar[tuple[str, ...]] = (
        "model",
        "precision",
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
    resolution: Annotated[tuple[Resolution, ...], Field(min_length=1)] = (64,)
    batch: Annotated[tuple[int, ...], Field(min_length=1)] = (1,)
    precision: Annotated[tuple[PrecisionName, ...], Field(min_length=1)] = ("fp32",)
    guidance_scale: Annotated[tuple[float, ...], Field(min_length=1)] = (3.0,)
    seed: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)

    def slowest_first(self) -> tuple[str, ...]:
        """Return the axes from the one that changes least often to the sampler."""
        return self.ORDER


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
    temperature: Annotated[tuple[float, ...], Field(min_length=1)] = (0.5,)
    speed: Annotated[tuple[float, ...], Field(min_length=1)] = (1.0,)
    vocoder: Annotated[tuple[str, ...], Field(min_length=1)] = ("native",)
    seed: Annotated[tuple[Seed, ...], Field(min_length=1)] = (0,)

    def slowest_first(self) -> tuple[str, ...]:
        """Return the axes from the one that changes least often to the sampler."""
        return self.ORDER
