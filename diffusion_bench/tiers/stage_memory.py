"""The bytes that a stage of a workload holds: weights on the card, and activations alive.

Weights are parameters by precision. Activations alive are traced, not guessed (`cost.py`,
`live_bytes`). The factors stand for what a trace cannot see: the workspace of convolutions and what
the allocator holds and cannot give back. They are fitted on published rows, see `FACTORS`.
"""

from __future__ import annotations

from typing import Literal

from diffusion_bench.records import PrecisionName, Record
from diffusion_bench.tiers.cost import (
    STAGES,
    Attention,
    ModelCounts,
    Part,
    StageName,
    Width,
    counts,
    latent_cells,
    value_width,
)
from diffusion_bench.tiers.remedies import QUANTISED_BYTES

PART_OF: dict[StageName, str] = {
    "text encoder": "text encoder",
    "denoising step": "denoiser",
    "decoder": "decoder",
}
Measure = Literal["least", "allocated", "reserved", "most"]


class Factor(Record):
    """Memory held over bytes alive: what is least, torch's two measures, and what is most.

    `allocated` is what `max_memory_allocated` sees, `reserved` what `memory_reserved` does.
    """

    least: float
    allocated: float
    reserved: float
    most: float


DECODER_32 = Factor(least=1.0, allocated=1.5, reserved=2.1, most=2.4)
# cuDNN reorders the channels of 16-bit convolutions, in workspace of the size of their tensors.
DECODER_16 = Factor(least=1.0, allocated=2.5, reserved=2.8, most=3.2)
OTHERS = Factor(least=1.05, allocated=1.2, reserved=1.2, most=1.6)
# Fitted on benchmarks/published/vram.csv as tests/test_tiers_memory.py does it.
FACTORS: dict[tuple[StageName, Width], Factor] = {
    ("text encoder", "32"): OTHERS,
    ("text encoder", "16"): OTHERS,
    ("denoising step", "32"): OTHERS,
    ("denoising step", "16"): OTHERS,
    ("decoder", "32"): DECODER_32,
    ("decoder", "16"): DECODER_16,
}
LAYERS_RESIDENT = 2  # one at work and the next on its way
TILES_KEPT = 3  # a picture's bytes, while tiles that overlap are kept and joined


class Workload(Record):
    """What a need was asked for."""

    model: str
    width: int
    height: int
    batch: int
    precision: PrecisionName
    guided: bool
    attention: Attention = "fused"


class StageNeed(Record):
    """One stage's bytes: weights on the card while it runs, activations alive, and its factor."""

    stage: StageName
    weights: float
    live: float
    factor: Factor

    def held(self, which: Measure) -> float:
        """Return the bytes that torch holds at this stage's peak."""
        share: float = getattr(self.factor, which)
        return self.weights + share * self.live


def stage_needs(asked: Workload, remedies: frozenset[str] = frozenset()) -> list[StageNeed]:
    """Return what each stage needs, in the order of `cost.STAGES`."""
    return [_stage_need(asked, stage, remedies) for stage in STAGES]


def _stage_need(asked: Workload, stage: StageName, remedies: frozenset[str]) -> StageNeed:
    found = counts()[asked.model]
    width = value_width(found, stage, asked.precision)
    live = _live_bytes(asked, found, stage, width, remedies)
    return StageNeed(
        stage=stage,
        weights=_resident_bytes(asked, found, stage, remedies),
        live=live,
        factor=FACTORS[stage, width],
    )


def _live_bytes(
    asked: Workload, found: ModelCounts, stage: StageName, width: Width, remedies: frozenset[str]
) -> float:
    cells = latent_cells(asked.model, asked.width, asked.height)
    passes = asked.batch * (2 if asked.guided and stage == "denoising step" else 1)
    kept = 0.0
    if stage == "decoder":
        picture = 3 * asked.width * asked.height * (4 if width == "32" else 2)
        if "VAE tiling" in remedies and found.tile_pixels < max(asked.width, asked.height):
            cells = min(cells, (found.tile_pixels / found.cell_pixels) ** 2)
            kept += TILES_KEPT * picture * passes
        if "VAE slicing" in remedies and passes > 1:
            kept += picture * passes
            passes = 1
    lines = found.stages[stage][width].of(passes)
    live = max(line.at(cells, passes) for line in lines.live_bytes)
    if asked.attention == "plain":
        plain = max(line.at(cells, passes) for line in lines.plain_live_bytes)
        live += (plain - live) / (2 if "attention slicing" in remedies else 1)
    return live + kept


def _resident_bytes(
    asked: Workload, found: ModelCounts, stage: StageName, remedies: frozenset[str]
) -> float:
    """Return the bytes of weights on the card while a stage runs."""
    own_name = PART_OF[stage]
    own = found.parts[own_name]
    sizes = {name: part_bytes(part, name, asked, remedies) for name, part in found.parts.items()}
    if stage == "decoder" and value_width(found, stage, asked.precision) == "32":
        sizes[own_name] = 4.0 * own.params
    if "sequential offload" in remedies:
        return min(sizes[own_name], LAYERS_RESIDENT * 4.0 * own.largest_layer)
    return sizes[own_name] if "model offload" in remedies else sum(sizes.values())


def part_bytes(part: Part, name: str, asked: Workload, remedies: frozenset[str]) -> float:
    """Return the bytes of one part's weights at the precision asked for, or quantised."""
    value = 4.0 if asked.precision == "fp32" else 2.0
    for remedy, quantised in QUANTISED_BYTES.items():
        if remedy in remedies and name != "decoder":
            return quantised * part.linear + value * (part.params - part.linear)
    kept = part.kept_fp32 if asked.precision == "fp16" else 0
    return value * part.params + 2.0 * kept
