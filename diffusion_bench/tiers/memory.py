"""How much of a card's memory a workload needs, whether it fits, and what would make it fit.

    peak = context + the largest, over the stages, of weights resident + factor * activations alive

What a stage holds is in `stage_memory.py`, what may be done about it in `remedies.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Literal, NamedTuple

from diffusion_bench.records import PrecisionName, Record
from diffusion_bench.tiers.cost import Attention, StageName, counts, short_name
from diffusion_bench.tiers.remedies import OFFLOADS, REMEDIES, changes_of
from diffusion_bench.tiers.stage_memory import Workload, part_bytes, stage_needs

MIB = 2**20
FitName = Literal["fits", "tight", "fits with", "tight with", "does not fit"]

# CUDA's context and its libraries' kernels, where `cards.GIVEN` takes what grows with the card.
CONTEXT_MIB = 300.0
# Tried in this order, cheapest in time first; what an attempt does without is left out of it again.
SLICED = ("attention slicing", "VAE slicing", "VAE tiling")
# The picture stays what it is, and the weights stay where they are.
IN_PLACE: tuple[tuple[str, ...], ...] = (
    ("VAE slicing",),
    ("VAE tiling",),
    ("VAE slicing", "VAE tiling"),
    SLICED,
)
# Which of these is the fastest depends on the card, the bus and the steps; gentlest first.
DEARER: tuple[tuple[str, ...], ...] = (
    ("model offload", *SLICED),
    ("8-bit weights", *SLICED),
    ("8-bit weights", "model offload", *SLICED),
    ("4-bit weights", *SLICED),
    ("4-bit weights", "model offload", *SLICED),
    ("sequential offload", *SLICED),
)
RAM_SHARE = 0.8  # of the machine's memory, for weights that wait there; the system has the rest
REMEMBERED = 8192  # needs: a path asks the same of each of its cards, some dozens of times


class Ram(NamedTuple):
    """The machine's memory. `None` GiB are enough; `None` of 10**9 bytes a second is the usual."""

    gib: float | None = None
    gbs: float | None = None


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


SecondsOf = Callable[[MemoryNeed], float]


class Gentler(Record):
    """Remedies that do as well and change pictures less, and their time over the chosen ones'."""

    remedies: tuple[str, ...]
    times: float

    @property
    def words(self) -> str:
        """Return what they would do, as a clause."""
        pictures = "change pictures less" if changes_of(self.remedies) else "not change pictures"
        times = f"{self.times:.3g} times as long as that"
        return f"{' and '.join(self.remedies)} would take {times} and {pictures}"


class Fit(Record):
    """A verdict in words, the remedies it takes, and the need that goes with it.

    `gentler` are others with the same verdict that take longer.
    """

    verdict: FitName
    remedies: tuple[str, ...] = ()
    need: MemoryNeed
    vram_mib: float
    gentler: tuple[Gentler, ...] = ()

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
    return remembered_need(asked, remedies)


@lru_cache(maxsize=REMEMBERED)
def remembered_need(asked: Workload, remedies: frozenset[str]) -> MemoryNeed:
    """Return what a workload needs with these remedies, remembered: it is the same for any card."""
    stages = stage_needs(asked, remedies)
    peak = max(stages, key=lambda stage: stage.held("reserved"))
    offloaded = bool(remedies & OFFLOADS)
    found = counts()[asked.model]
    everything = sum(part_bytes(part, name, asked, remedies) for name, part in found.parts.items())
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


def fit_of(
    need: MemoryNeed,
    vram_mib: float,
    *,
    ram_mib: float | None = None,
    seconds: SecondsOf | None = None,
) -> Fit:
    """Return how a need fits a card of `vram_mib`, with the cheapest remedies where it must.

    `seconds` of a call with a need's remedies choose among those that move or change weights: the
    fastest, so that more memory makes nothing slower. Without it the gentlest is taken.

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
    in_place = _surest(_helped(need, vram_mib, spare_mib, IN_PLACE))
    if plain.verdict == "tight":
        return in_place[0] if in_place and in_place[0].verdict == "fits with" else plain
    if in_place:
        return in_place[0]
    dearer = _surest(_helped(need, vram_mib, spare_mib, DEARER))
    if not dearer:
        return plain
    return dearer[0] if seconds is None else _fastest(dearer, seconds)


def _helped(
    need: MemoryNeed, vram_mib: float, spare_mib: float, attempts: tuple[tuple[str, ...], ...]
) -> Iterator[Fit]:
    """Yield each attempt that fits or is tight, without what it does without."""
    for attempt in attempts:
        lesser = _with(need, attempt)
        found = verdict(lesser.low_mib, lesser.high_mib, vram_mib)
        if found == "does not fit" or lesser.ram_mib > spare_mib:
            continue
        useful, lesser = _needed(need, attempt, vram_mib)
        told: FitName = "fits with" if found == "fits" else "tight with"
        yield Fit(verdict=told, remedies=useful, need=lesser, vram_mib=vram_mib)


def _surest(fits: Iterable[Fit]) -> list[Fit]:
    """Return those that fit, in their order; those that are tight where none does."""
    found = list(fits)
    return [fit for fit in found if fit.verdict == "fits with"] or found


def _fastest(fits: Sequence[Fit], seconds: SecondsOf) -> Fit:
    """Return the fit that takes least, of those that take as long the gentlest.

    Beside it are those that change pictures less, each faster than what changes them less still.
    """
    timed = sorted(
        ((seconds(fit.need), changes_of(fit.remedies), fit) for fit in fits),
        key=lambda one: one[:2],
    )
    least_s, change, chosen = timed[0]
    gentler = []
    for taken_s, less, fit in timed[1:]:
        if less < change:
            gentler.append(Gentler(remedies=fit.remedies, times=taken_s / least_s))
            change = less
    return chosen.model_copy(update={"gentler": tuple(gentler)})


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
    return remembered_need(need.workload, taken)


def verdict(low_mib: float, high_mib: float, vram_mib: float) -> FitName:
    """Return how an interval of what is needed lies to a card's memory, without any remedy."""
    if high_mib <= vram_mib:
        return "fits"
    return "tight" if low_mib <= vram_mib else "does not fit"


def weights_of(need: MemoryNeed) -> dict[str, float]:
    """Return the bytes of each part's weights, as a need's remedies leave them."""
    asked, remedies = need.workload, frozenset(need.remedies)
    parts = counts()[asked.model].parts
    return {name: part_bytes(part, name, asked, remedies) for name, part in parts.items()}
