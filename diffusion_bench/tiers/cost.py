"""What one call of each stage of a model costs, read from counts that were made once.

Every count of these networks is a polynomial of the second degree in `p`, the latent's cells, plus
another one for each picture of the batch:

    count = f0 + f1 p + f2 p**2 + passes (g0 + g1 p + g2 p**2)

The weights' bytes are in `f0`, convolutions and matrix products in `g1`, attention in `g2`. It is
exact where width and height are multiples of the model's `multiple`. `backends/counting` counts on
torch's meta device and writes `costs.json`; here nothing but that file is needed.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Literal

from diffusion_bench.records import PrecisionName, Record

OPERATORS = ("matmul", "convolution", "attention", "normalisation", "elementwise")
COSTS = Path(__file__).parent / "costs.json"

StageName = Literal["text encoder", "denoising step", "decoder"]
STAGES: tuple[StageName, ...] = ("text encoder", "denoising step", "decoder")
Attention = Literal["fused", "plain"]
Guidance = Literal["batched", "split"]  # both passes of a step in one call, or one after the other
Width = Literal["32", "16"]  # bits of a value: fp16 and bf16 cost the same


class OperatorCost(Record):
    """What one class of operators costs in one call of a stage; `launches` counts GPU kernels."""

    operator: str
    flops: float
    bytes_moved: float
    launches: int


class StageCost(Record):
    """A stage once: all prompts, both guidance passes, or all pictures of the batch."""

    stage: StageName
    operators: tuple[OperatorCost, ...]


class WorkloadCost(Record):
    """What a workload costs, by stage. `weights_params` counts parameters by part."""

    model: str
    width: int
    height: int
    batch: int
    precision: PrecisionName
    guided: bool
    stages: tuple[StageCost, ...]
    weights_params: dict[str, float]


class Line(Record):
    """A count as a polynomial: `fixed` of the call, `each` of one pass of one picture."""

    fixed: tuple[float, float, float] = (0, 0, 0)
    each: tuple[float, float, float] = (0, 0, 0)

    def at(self, cells: float, passes: int) -> float:
        """Return the count for a latent of so many cells and so many passes at once."""
        powers = (1.0, cells, cells * cells)
        fixed = sum(k * power for k, power in zip(self.fixed, powers, strict=True))
        return fixed + passes * sum(k * power for k, power in zip(self.each, powers, strict=True))


class OperatorLines(Record):
    """One class of operators of one stage, counted."""

    flops: Line = Line()
    bytes_moved: Line = Line()
    launches: int = 0


class PassLines(Record):
    """One stage counted at one width of value.

    `live_bytes`: activations alive at the moments that can be the peak; the largest is the peak.
    `plain_*`: attention that writes its scores out, and what is alive then.
    """

    operators: dict[str, OperatorLines]
    plain_attention: OperatorLines | None = None
    live_bytes: tuple[Line, ...]
    plain_live_bytes: tuple[Line, ...]


class StageLines(Record):
    """One stage for a single pass, and for several at once: a batch of one is copied less."""

    single: PassLines
    several: PassLines

    def of(self, passes: int) -> PassLines:
        """Return the lines that hold for so many passes at once."""
        return self.single if passes == 1 else self.several


class Part(Record):
    """A network of the model, in parameters.

    `largest_layer`: of its largest single module; `linear`: of its linear layers, the ones that are
    quantised; `kept_fp32`: of those that stay in fp32 when the rest is fp16.
    """

    params: int
    largest_layer: int
    linear: int
    kept_fp32: int


class ModelCounts(Record):
    """A model counted; `source`: where its configuration was read.

    `cell_pixels`: the side in pixels of one cell of its latent. `multiple`: the side in pixels at
    whose multiples the counts are exact. `decoder_upcast`: its pipeline decodes in fp32 when the
    model is fp16. `tile_pixels`: the side of its decoder's tiles. `crossing_bytes`: what a call of
    its denoiser sends between two cards that hold half of it each, there and back.
    """

    aliases: tuple[str, ...]
    source: str
    cell_pixels: int
    multiple: int
    text_tokens: int
    decoder_upcast: bool
    tile_pixels: int
    parts: dict[str, Part]
    stages: dict[StageName, dict[Width, StageLines]]
    crossing_bytes: dict[Width, Line]


@cache
def counts() -> dict[str, ModelCounts]:
    """Return the shipped counts by the model's short name."""
    rows = json.loads(COSTS.read_text(encoding="utf-8"))
    return {name: ModelCounts.model_validate(row) for name, row in rows.items()}


def known_models() -> tuple[str, ...]:
    """Return the short names of the models that were counted."""
    return tuple(counts())


def short_name(model: str) -> str:
    """Return the short name of a short name or hub id; raise ValueError where it is neither.

    Of a hub id at a commit the commit does not count.
    """
    hub_id = model.partition("@")[0].lower()
    for name, row in counts().items():
        if model == name or hub_id in (alias.lower() for alias in row.aliases):
            return name
    from diffusion_bench.tiers.voice_cost import voice_counts  # which is built on this file

    known = f"{', '.join(known_models())}; of speech: {', '.join(voice_counts())}"
    raise ValueError(f"no counts of model {model!r}; known: {known}")


def cost_of(
    model: str,
    *,
    width: int,
    height: int,
    batch: int,
    precision: PrecisionName,
    guided: bool,
    attention: Attention = "fused",
    guidance: Guidance = "batched",
) -> WorkloadCost:
    """Return what a workload costs, by stage and class of operators; bytes and FLOPs of it once.

    `attention` "plain" is software that writes the scores out: vanilla attention, torch before 2.

    What the sampler and the guidance add between two calls (some ten launches on one latent) is
    not counted. Raises ValueError for a model without counts and for a size it cannot draw.
    """
    name = short_name(model)
    found = counts()[name]
    cells = latent_cells(name, width, height)
    if batch < 1:
        raise ValueError(f"a batch has at least 1 picture, not {batch}")
    stages = []
    for stage in STAGES:
        lines = found.stages[stage][value_width(found, stage, precision)]
        calls, passes = _calls(stage, batch, guided=guided, guidance=guidance)
        operators = operators_at(_attended(lines.of(passes), attention), cells, passes, calls)
        stages.append(StageCost(stage=stage, operators=operators))
    return WorkloadCost(
        model=name,
        width=width,
        height=height,
        batch=batch,
        precision=precision,
        guided=guided,
        stages=tuple(stages),
        weights_params={part: row.params for part, row in found.parts.items()},
    )


def _calls(stage: StageName, batch: int, *, guided: bool, guidance: Guidance) -> tuple[int, int]:
    """Return how many calls a stage is, and of how many passes each.

    A pipeline encodes the negative prompt in a call of its own, and denoises both at once unless
    its guidance is split (`backends/speed/split_guidance.py`).
    """
    if not guided or stage == "decoder":
        return 1, batch
    if stage == "text encoder" or guidance == "split":
        return 2, batch
    return 1, 2 * batch


def crossing_bytes(
    model: str, *, width: int, height: int, batch: int, precision: PrecisionName, guided: bool
) -> float:
    """Return the bytes that one call of a denoiser, split in half, sends from card to card.

    Raises ValueError for a model without counts and for a size it cannot draw.
    """
    found = counts()[short_name(model)]
    cells = latent_cells(model, width, height)
    bits = value_width(found, "denoising step", precision)
    return found.crossing_bytes[bits].at(cells, 2 * batch if guided else batch)


def value_width(found: ModelCounts, stage: StageName, precision: PrecisionName) -> Width:
    """Return the bits of a value in a stage; SDXL's decoder works in fp32 under fp16."""
    if stage == "decoder" and found.decoder_upcast and precision == "fp16":
        return "32"
    return "32" if precision == "fp32" else "16"


def latent_cells(model: str, width: int, height: int) -> float:
    """Return the cells of a picture's latent; raise ValueError for a size that has none."""
    found = counts()[short_name(model)]
    side = found.cell_pixels
    for name, pixels in (("width", width), ("height", height)):
        if pixels < side or pixels % side:
            raise ValueError(f"{model} draws multiples of {side} pixels; {name} is {pixels}")
    return (width // side) * (height // side)


def _attended(lines: PassLines, attention: Attention) -> dict[str, OperatorLines]:
    if attention == "plain" and lines.plain_attention is not None:
        return lines.operators | {"attention": lines.plain_attention}
    return lines.operators


def operators_at(
    lines: dict[str, OperatorLines], cells: float, passes: int, calls: int = 1
) -> tuple[OperatorCost, ...]:
    """Return what so many calls cost by class of operators, each of so many cells and passes."""
    return tuple(
        OperatorCost(
            operator=operator,
            flops=calls * row.flops.at(cells, passes),
            bytes_moved=calls * row.bytes_moved.at(cells, passes),
            launches=calls * row.launches,
        )
        for operator, row in lines.items()
    )
