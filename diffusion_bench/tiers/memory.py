"""How much of a card's memory a workload needs, whether it fits, and what would make it fit.

    peak = context + the largest, over the stages, of weights resident + factor * activations alive

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
    short_name,
    value_width,
)

MIB = 2**20
Measure = Literal["least", "allocated", "reserved", "most"]
FitName = Literal["fits", "tight", "fits with", "tight with", "does not fit"]

PART_OF: dict[StageName, str] = {
    "text encoder": "text encoder",
    "denoising step": "denoiser",
    "decoder": "decoder",
}
CONTEXT_MIB = 450.0  # CUDA's context and its libraries' kernels; our estimate, 300 to 600 are usual


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
OTHERS = Factor(least=1.08, allocated=1.2, reserved=1.2, most=1.6)
# Fitted on benchmarks/published/vram.csv as tests/test_tiers_memory.py does it.
FACTORS: dict[tuple[StageName, Width], Factor] = {
    ("text encoder", "32"): OTHERS,
    ("text encoder", "16"): OTHERS,
    ("denoising step", "32"): OTHERS,
    ("denoising step", "16"): OTHERS,
    ("decoder", "32"): DECODER_32,
    ("decoder", "16"): DECODER_16,
}


class Remedy(Record):
    """A way to need less memory. `slower`: the call's time over what it was without.

    What offloaded weights take to cross the bus comes on top of it, see `remedy_price.py`.
    """

    saves: str
    price: str
    slower: float
    source: str


SDXL_BLOG = "HF blog, simple_sdxl_optimizations.md (SDXL, 4 pictures, A100 40GB)"
QUANTIZATION_BLOG = "HF blog, diffusers-quantization.md (FLUX.1-dev, H100)"

REMEDIES: dict[str, Remedy] = {
    "attention slicing": Remedy(
        saves="half of the attention's scores; nothing where attention is fused",
        price="about 10 percent",
        slower=1.1,
        source="diffusers docs, optimization/fp16.mdx",
    ),
    "VAE slicing": Remedy(
        saves="decodes one picture at a time",
        price="nothing measurable: 11.2 s, and 11.4 s without",
        slower=1.0,
        source=SDXL_BLOG,
    ),
    "VAE tiling": Remedy(
        saves="decodes pictures larger than a tile in tiles that overlap by a quarter",
        price="the overlap: up to 1.8 times the decoder's time",
        slower=1.05,
        source="our estimate, from the overlap",
    ),
    "model offload": Remedy(
        saves="only the network at work is on the card; the rest is in the machine's memory",
        price="every network crosses the bus once a generation: 16.1 s, and 11.4 s without",
        slower=1.0,
        source=SDXL_BLOG,
    ),
    "sequential offload": Remedy(
        saves="only the layer at work is on the card",
        price="every layer crosses the bus at every step: 67 s, and 11.4 s without",
        slower=1.0,
        source=SDXL_BLOG,
    ),
    "8-bit weights": Remedy(
        saves="linear layers of the denoiser and the text encoders at 1.07 bytes a parameter",
        price="15 s, and 12 s without; pictures change a little",
        slower=1.25,
        source=QUANTIZATION_BLOG,
    ),
    "4-bit weights": Remedy(
        saves="linear layers of the denoiser and the text encoders at 0.77 bytes a parameter",
        price="12 s, as without, on a fast card; pictures change",
        slower=1.0,
        source=QUANTIZATION_BLOG,
    ),
}
# GiB after loading: 17.0 (8-bit, torchao) and 12.3 (4-bit, quanto), 0.39 of them not quantised.
QUANTISED_BYTES = {"8-bit weights": 1.07, "4-bit weights": 0.77}
# Tried in this order, cheapest in time first; what an attempt does without is left out of it again.
SLICED = ("attention slicing", "VAE slicing", "VAE tiling")
# The picture stays what it is, and the weights stay where they are.
IN_PLACE: tuple[tuple[str, ...], ...] = (
    ("VAE slicing",),
    ("VAE tiling",),
    ("VAE slicing", "VAE tiling"),
    SLICED,
)
# A model that is too large for a card takes longer to cross the bus than in 8 bits, which change
# its pictures a little; in 4 they change more.
DEARER: tuple[tuple[str, ...], ...] = (
    ("8-bit weights", *SLICED),
    ("model offload", *SLICED),
    ("4-bit weights", *SLICED),
    ("8-bit weights", "model offload", *SLICED),
    ("4-bit weights", "model offload", *SLICED),
    ("sequential offload", *SLICED),
)
OFFLOADS = frozenset({"model offload", "sequential offload"})
RAM_SHARE = 0.8  # of the machine's memory, for weights that wait there; the system has the rest
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


class MemoryNeed(Record):
    """What a workload needs of a card. `peak_mib` is what must be free, the context included.

    `weights_mib`, `activations_mib` and `overhead_mib` (context, workspace, allocator) are those of
    `peak_stage` and add up to the peak. `decoder_mib` is what decoding holds beside weights.
    `allocated_mib` is what torch's `max_memory_allocated` would say, the context not included.
    `ram_mib` of weights wait in the machine's memory. `basis` says what all of it rests on.
    """

    workload: Workload
    remedies: tuple[str, ...]
    peak_stage: StageName
    peak_mib: float
    allocated_mib: float
    weights_mib: float
    activations_mib: float
    decoder_mib: float
    overhead_mib: float
    ram_mib: float
    low_mib: float
    high_mib: float
    basis: str


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


class Fit(Record):
    """A verdict in words, the remedies it takes, and the need that goes with it."""

    verdict: FitName
    remedies: tuple[str, ...] = ()
    need: MemoryNeed
    vram_mib: float

    def words(self) -> str:
        """Return the verdict as it is shown."""
        if not self.remedies:
            return self.verdict
        return f"{self.verdict} {' and '.join(self.remedies)}"


def memory_of(
    model: str,
    *,
    width: int,
    height: int,
    batch: int,
    precision: PrecisionName,
    guided: bool,
    remedies: frozenset[str] = frozenset(),
    attention: Attention = "fused",
) -> MemoryNeed:
    """Return the memory a workload needs; raise ValueError for a model without counts.

    `attention` "plain" is software that writes the scores out: vanilla attention, torch before 2.
    """
    unknown = remedies - REMEDIES.keys()
    if unknown:
        raise ValueError(f"no remedy {sorted(unknown)[0]!r}; known: {', '.join(REMEDIES)}")
    asked = Workload(
        model=short_name(model),
        width=width,
        height=height,
        batch=batch,
        precision=precision,
        guided=guided,
        attention=attention,
    )
    stages = stage_needs(asked, remedies)
    peak = max(stages, key=lambda stage: stage.held("reserved"))
    offloaded = bool(remedies & OFFLOADS)
    found = counts()[asked.model]
    everything = sum(_part_bytes(part, name, asked, remedies) for name, part in found.parts.items())
    return MemoryNeed(
        workload=asked,
        remedies=tuple(sorted(remedies)),
        peak_stage=peak.stage,
        peak_mib=CONTEXT_MIB + peak.held("reserved") / MIB,
        allocated_mib=max(stage.held("allocated") for stage in stages) / MIB,
        weights_mib=peak.weights / MIB,
        activations_mib=peak.live / MIB,
        decoder_mib=stages[-1].factor.reserved * stages[-1].live / MIB,
        overhead_mib=CONTEXT_MIB + (peak.factor.reserved - 1) * peak.live / MIB,
        ram_mib=everything / MIB if offloaded else 0.0,
        low_mib=CONTEXT_MIB + max(stage.held("least") for stage in stages) / MIB,
        high_mib=CONTEXT_MIB + max(stage.held("most") for stage in stages) / MIB,
        basis="weights by precision, activations traced, factors fitted on published rows",
    )


def fit_of(need: MemoryNeed, vram_mib: float, *, ram_mib: float | None = None) -> Fit:
    """Return how a need fits a card of `vram_mib`, with the cheapest remedies where it must.

    fits           even the high end of the interval
    tight          the card is inside the interval: another program's window may decide, and no
                   remedy that leaves the weights where they are makes it sure to fit
    fits with      remedies bring the high end inside; `ram_mib` must hold what is offloaded
    tight with     remedies bring the low end inside. Those that leave the weights where they are
                   go before any offload, even if that would fit; else none makes it fit
    does not fit   not even the low end, whatever is tried
    """
    plain = Fit(
        verdict=verdict(need.low_mib, need.high_mib, vram_mib), need=need, vram_mib=vram_mib
    )
    if plain.verdict == "fits":
        return plain
    spare_mib = float("inf") if ram_mib is None else RAM_SHARE * ram_mib
    in_place = _helped(need, vram_mib, spare_mib, IN_PLACE)
    if plain.verdict == "tight":
        return in_place if in_place is not None and in_place.verdict == "fits with" else plain
    return in_place or _helped(need, vram_mib, spare_mib, DEARER) or plain


def _helped(
    need: MemoryNeed, vram_mib: float, spare_mib: float, attempts: tuple[tuple[str, ...], ...]
) -> Fit | None:
    """Return the first attempt that fits, else the first that is tight; `None` if none is."""
    tight: Fit | None = None
    for attempt in attempts:
        lesser = _with(need, attempt)
        found = verdict(lesser.low_mib, lesser.high_mib, vram_mib)
        if found == "does not fit" or lesser.ram_mib > spare_mib:
            continue
        if found == "fits":
            useful, lesser = _needed(need, attempt, vram_mib)
            return Fit(verdict="fits with", remedies=useful, need=lesser, vram_mib=vram_mib)
        if tight is None:
            useful, lesser = _needed(need, attempt, vram_mib)
            tight = Fit(verdict="tight with", remedies=useful, need=lesser, vram_mib=vram_mib)
    return tight


def _needed(
    need: MemoryNeed, attempt: tuple[str, ...], vram_mib: float
) -> tuple[tuple[str, ...], MemoryNeed]:
    """Return an attempt without the remedies that its verdict does without, and its need."""
    kept, lesser = attempt, _with(need, attempt)
    for name in attempt:
        fewer = tuple(other for other in kept if other != name)
        without = _with(need, fewer)
        same = verdict(without.low_mib, without.high_mib, vram_mib) == (
            verdict(lesser.low_mib, lesser.high_mib, vram_mib)
        )
        if same and without.ram_mib <= lesser.ram_mib:
            kept, lesser = fewer, without
    return kept, lesser


def _with(need: MemoryNeed, remedies: tuple[str, ...]) -> MemoryNeed:
    """Return a need with more remedies."""
    taken = frozenset(need.remedies) | frozenset(remedies)
    return memory_of(**need.workload.model_dump(), remedies=taken)


def verdict(low_mib: float, high_mib: float, vram_mib: float) -> FitName:
    """Return how an interval of what is needed lies to a card's memory, without any remedy."""
    if high_mib <= vram_mib:
        return "fits"
    return "tight" if low_mib <= vram_mib else "does not fit"


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
    sizes = {name: _part_bytes(part, name, asked, remedies) for name, part in found.parts.items()}
    if stage == "decoder" and value_width(found, stage, asked.precision) == "32":
        sizes[own_name] = 4.0 * own.params
    if "sequential offload" in remedies:
        return min(sizes[own_name], LAYERS_RESIDENT * 4.0 * own.largest_layer)
    return sizes[own_name] if "model offload" in remedies else sum(sizes.values())


def weights_of(need: MemoryNeed) -> dict[str, float]:
    """Return the bytes of each part's weights, as a need's remedies leave them."""
    asked, remedies = need.workload, frozenset(need.remedies)
    parts = counts()[asked.model].parts
    return {name: _part_bytes(part, name, asked, remedies) for name, part in parts.items()}


def _part_bytes(part: Part, name: str, asked: Workload, remedies: frozenset[str]) -> float:
    value = 4.0 if asked.precision == "fp32" else 2.0
    for remedy, quantised in QUANTISED_BYTES.items():
        if remedy in remedies and name != "decoder":
            return quantised * part.linear + value * (part.params - part.linear)
    kept = part.kept_fp32 if asked.precision == "fp16" else 0
    return value * part.params + 2.0 * kept
