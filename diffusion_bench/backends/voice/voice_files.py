"""The file of a saved voice: its tensors as safetensors, and what they are in the metadata."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import ValidationError
from safetensors import SafetensorError, safe_open

from diffusion_bench.audio.reference import Reference
from diffusion_bench.backends.voice.base import VoiceState
from diffusion_bench.records import Record, explain

KEY = "diffusion_bench"  # of the metadata
SAMPLES, RECORDING = "samples", "recording"


class VoiceUnavailable(ValueError):
    """A voice that is known but cannot be used: damaged, missing, or another model's."""


class SavedFacts(Record):
    """The metadata of a saved voice's file; `model` is empty for a recording.

    `weights` of the model encoded it; older files do not name them.
    """

    format: Literal["diffusion_bench voice 1"] = "diffusion_bench voice 1"
    kind: Literal["state", "recording"]
    created_utc: str
    model: str = ""
    weights: str | None = None
    facts: dict[str, str] = {}
    sample_rate: int = 0
    transcript: str | None = None


def voice_file(voice: Reference | VoiceState) -> bytes:
    """Return the content of a voice's file, made now."""
    import torch
    from safetensors.torch import save

    created_utc = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    if isinstance(voice, VoiceState):
        facts = SavedFacts(
            kind="state",
            created_utc=created_utc,
            model=voice.model,
            weights=voice.weights,
            facts=voice.facts,
        )
        tensors = {name: tensor.contiguous() for name, tensor in voice.tensors.items()}
    else:
        facts = SavedFacts(
            kind="recording",
            created_utc=created_utc,
            sample_rate=voice.sample_rate,
            transcript=voice.transcript,
        )
        tensors = {SAMPLES: torch.from_numpy(np.ascontiguousarray(voice.samples))}
    content: bytes = save(tensors, {KEY: facts.model_dump_json()})
    return content


def read_facts(path: Path) -> SavedFacts:
    """Return what a voice's file says of itself, without torch; raises `VoiceUnavailable`."""
    with _opened(path, "np") as (facts, _):
        return facts


def read_voice_file(path: Path) -> tuple[SavedFacts, dict[str, Any]]:
    """Return what a voice's file says of itself, and its tensors; raises `VoiceUnavailable`."""
    with _opened(path, "pt") as (facts, file):
        return facts, {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118


@contextlib.contextmanager
def _opened(path: Path, framework: str) -> Iterator[tuple[SavedFacts, Any]]:
    """Open a voice's file; safetensors imports the library of the framework."""
    try:
        path.open("rb").close()  # safetensors takes what may not be read for what is not there
        with safe_open(path, framework=framework) as file:
            facts = SavedFacts.model_validate_json((file.metadata() or {})[KEY])
            has_samples = SAMPLES in set(file.keys()) and facts.sample_rate > 0
            if facts.kind == RECORDING and not has_samples:
                raise VoiceUnavailable(f"{path.name} is damaged: it holds no recording")
            yield facts, file
    except KeyError:
        raise VoiceUnavailable(f"{path.name} is no voice of Diffusion Bench") from None
    except (SafetensorError, OSError) as error:
        reason = getattr(error, "strerror", None) or error
        raise VoiceUnavailable(f"{path.name} cannot be read: {reason}") from None
    except ValidationError as error:
        raise VoiceUnavailable(f"{path.name} is damaged: {explain(error):.200}") from None
