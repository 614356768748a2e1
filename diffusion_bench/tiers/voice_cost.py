"""What one chunk of speech costs, stage by stage, read from counts that were made once.

The counts are polynomials as those of pictures (`cost.py`); `p` is the frames of a spectrogram or
of a latent, and a pass is one candidate of a batch. `backends/counting` writes `voice_costs.json`.
"""

from __future__ import annotations

import json
import math
from functools import cache
from pathlib import Path
from typing import Literal

from diffusion_bench.records import PrecisionName, Record
from diffusion_bench.tiers.cost import OperatorCost, Part, StageLines, Width, operators_at

VOICE_COSTS = Path(__file__).parent / "voice_costs.json"

VoiceStageName = Literal["text encoder", "prior", "denoising step", "vocoder"]
VoicePartName = VoiceStageName | Literal["voice encoder"]


class VoiceCounts(Record):
    """A voice model counted; `source`: where its configuration was read.

    `frames_per_s`: of what is denoised. `multiple`: frames at whose multiples the counts are exact.
    `steps` and `guided` are the model's usual ones; where guidance is not `guidance_at_once` its
    two passes are two calls. `reference_s`: of recording that is denoised before the speech.
    `text_tokens`: that the text is taken to have. `chars_per_s`: that it speaks in a second, if
    known. `chunk_chars`: of the longest chunk. `one_pass`: stages of one pass whatever the
    batch. `widths`: of stages that do not follow the model's precision. `not_counted`: what else a
    call runs; then neither its time nor its memory can be told.
    """

    aliases: tuple[str, ...]
    source: str
    frames_per_s: float
    multiple: int = 1
    steps: int
    guided: bool
    guidance_at_once: bool = False
    reference_s: float = 0.0
    text_tokens: int = 0
    chars_per_s: float | None = None
    chunk_chars: int
    one_pass: tuple[VoiceStageName, ...] = ()
    widths: dict[VoiceStageName, dict[PrecisionName, Width]] = {}
    not_counted: str = ""
    parts: dict[VoicePartName, Part]
    stages: dict[VoiceStageName, dict[Width, StageLines]]

    def width(self, part: VoicePartName, precision: PrecisionName) -> Width:
        """Return the bits of a value, and of a weight, in a part at a model's precision."""
        usual: Width = "32" if precision == "fp32" else "16"
        return next((own[precision] for name, own in self.widths.items() if name == part), usual)


class VoiceStageCost(Record):
    """One call of a stage; a chunk takes `calls` of it. `live_bytes`: activations at its peak."""

    stage: VoiceStageName
    width: Width
    calls: int
    operators: tuple[OperatorCost, ...]
    live_bytes: float


@cache
def voice_counts() -> dict[str, VoiceCounts]:
    """Return the shipped counts by the model's name in the catalog."""
    rows = json.loads(VOICE_COSTS.read_text(encoding="utf-8"))
    return {name: VoiceCounts.model_validate(row) for name, row in rows.items()}


def told_voices() -> tuple[str, ...]:
    """Return the models counted in full, whose time and memory can be told."""
    return tuple(name for name, row in voice_counts().items() if not row.not_counted)


def voice_name(model: str) -> str | None:
    """Return the name in the catalog of a counted voice model's name or hub id, if it is one."""
    for name, row in voice_counts().items():
        if model.casefold() in (known.casefold() for known in (name, *row.aliases)):
            return name
    return None


def chunk_cost(
    model: str,
    *,
    seconds: float,
    batch: int,
    precision: PrecisionName,
    steps: int,
    guided: bool,
) -> tuple[VoiceStageCost, ...]:
    """Return what a chunk of so many seconds of speech costs, the voice being encoded before.

    What the sampler adds between two calls is not counted, nor what finds the phones of a text.
    """
    found = voice_counts()[model]
    spoken = _frames(found, seconds)
    denoised = _frames(found, seconds + found.reference_s)
    together = batch * (2 if guided and found.guidance_at_once else 1)
    calls = steps * (2 if guided and not found.guidance_at_once else 1)
    stages = []
    for stage, by_width in found.stages.items():
        is_step = stage == "denoising step"
        width = found.width(stage, precision)
        passes = 1 if stage in found.one_pass else together if is_step else batch
        cells = denoised if is_step else spoken
        lines = by_width[width].of(passes)
        stages.append(
            VoiceStageCost(
                stage=stage,
                width=width,
                calls=calls if is_step else 1,
                operators=operators_at(lines.operators, cells, passes),
                live_bytes=max(line.at(cells, passes) for line in lines.live_bytes),
            )
        )
    return tuple(stages)


def _frames(found: VoiceCounts, seconds: float) -> int:
    return found.multiple * max(1, math.ceil(seconds * found.frames_per_s / found.multiple))
