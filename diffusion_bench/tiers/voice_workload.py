"""Speech as a row of a table names it: "echo 10s b1 fp32 25 steps", or "echo 160chars"."""

from __future__ import annotations

import re
from typing import Annotated, Any

from pydantic import Field

from diffusion_bench.records import MAX_TEXT, Record
from diffusion_bench.tiers.voice_cost import voice_counts, voice_name
from diffusion_bench.tiers.workload import TypedPrecision, said_once

VOICE_EXAMPLE = "echo 10s b1 fp32 25"
SECONDS = 10.0  # of speech, where neither these nor a text's length is said
MAX_SECONDS = 3600.0
LENGTH = re.compile(r"(?P<seconds>\d+(\.\d+)?)s|(?P<chars>\d+)chars?")
WORDS = tuple(
    map(
        re.compile,
        (
            r"(?P<length>\d+(\.\d+)?s|\d+chars?)",
            r"b(?P<batch>\d+)",
            r"(?P<precision>fp32|fp16|bf16)",
            r"(?P<steps>\d+)",
            r"steps?",
        ),
    )
)


class VoiceWorkload(Record):
    """What is said, and how. `seconds` of speech, of each candidate of the batch.

    `chars` of text, where the seconds follow from those.
    """

    model: str
    seconds: Annotated[float, Field(gt=0, le=MAX_SECONDS)] = SECONDS
    batch: Annotated[int, Field(ge=1, le=16)] = 1
    precision: TypedPrecision = "fp32"
    steps: Annotated[int, Field(ge=1, le=1000)] = 25
    guided: bool = False
    chars: int | None = None

    @property
    def length_note(self) -> str:
        """Return how a length in characters was read, nothing where it was in seconds."""
        if self.chars is None:
            return ""
        return f"{self.chars} characters read as {self.seconds:g} s of speech of {self.model}"

    @property
    def name(self) -> str:
        """Return the workload in the words of `parse_voice_workload`."""
        return f"{self.model} {self.seconds:g}s b{self.batch} {self.precision} {self.steps} steps"


def is_voice_workload(text: str) -> bool:
    """Return whether a workload's first word is a voice model that was counted."""
    words = text.replace(",", " ").split()
    return bool(words) and voice_name(words[0]) is not None


def parse_voice_workload(text: str) -> VoiceWorkload:
    """Return speech in words like "echo 160chars b1 fp32 25 steps", the model first.

    The length is that of the speech or of its text; what is left out is as usual for the model.
    Raise ValueError for a word that says nothing known, and for a thing said twice.
    """
    model, *words = text.replace(",", " ").split() or [""]
    return voice_workload_of(model=model, **said_once(words, WORDS, text, VOICE_EXAMPLE))


def voice_workload_of(*, model: str, length: str | None = None, **given: Any) -> VoiceWorkload:
    """Return speech of a voice model and the fields that are given, the others as is usual for it.

    `length` as in "10s" or "160chars". Raise ValueError for a model that was not counted, and for a
    value that is none.
    """
    name = voice_name(model)
    if name is None:
        raise ValueError(f"no counts of voice model {model!r}; known: {', '.join(voice_counts())}")
    if length is not None:
        given |= _length_of(name, length)
    found = voice_counts()[name]
    usual = {"model": name, "steps": found.steps, "guided": found.guided}
    return VoiceWorkload.model_validate(usual | given)


def chunks_of(workload: VoiceWorkload) -> int:
    """Return in how many chunks, of equal length, a speech is made."""
    found = voice_counts()[workload.model]
    if found.chars_per_s is None:
        return 1
    chars = workload.seconds * found.chars_per_s
    return max(1, -int(-chars // found.chunk_chars))


def _length_of(model: str, length: str) -> dict[str, Any]:
    """Return the seconds that a length of speech is, or that one of text takes to be said."""
    found = LENGTH.fullmatch(length.strip().casefold())
    if not found:
        raise ValueError(f"{length!r} is no length of speech; say 10s, or 160chars of text")
    if found["seconds"] is not None:
        return {"seconds": float(found["seconds"])}
    chars, chars_per_s = int(found["chars"]), voice_counts()[model].chars_per_s
    if chars_per_s is None:
        raise ValueError(f"how fast {model} speaks is not known; say how many seconds, as 10s")
    if not 1 <= chars <= MAX_TEXT:
        raise ValueError(f"a text has 1 to {MAX_TEXT} characters, not {chars}")
    return {"seconds": round(chars / chars_per_s, 2), "chars": chars}
