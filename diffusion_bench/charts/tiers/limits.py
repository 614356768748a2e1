"""What holds a tier back at each workload, in a few words, and in a sentence a tier."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, NamedTuple

from diffusion_bench.charts.tiers.cells import card_words
from diffusion_bench.charts.tiers.numbers import TierRow
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.path import Tier, UpgradePath
from diffusion_bench.tiers.predict import limit_of
from diffusion_bench.tiers.rows import fit_on, need_of
from diffusion_bench.tiers.workload import Software, Workload, sized_name

LimitName = Literal["VRAM", "RAM", "CPU", "GPU arithmetic", "GPU bandwidth", "unknown"]

PACES: dict[str, tuple[LimitName, str]] = {
    "processor": ("CPU", "the CPU, which launches kernels no faster; larger batches help"),
    "arithmetic": ("GPU arithmetic", "the GPU's arithmetic"),
    "bandwidth": ("GPU bandwidth", "the GPU's memory bandwidth"),
}
HOLDS: dict[LimitName, str] = {
    "VRAM": "VRAM holds back",
    "RAM": "RAM holds back",
    "CPU": "the CPU, which launches the kernels, sets the pace of",
    "GPU arithmetic": "the GPU's arithmetic sets the pace of",
    "GPU bandwidth": "the GPU's memory bandwidth sets the pace of",
    "unknown": "nothing can be told of",
}
# Most pressing first: what does not run at all before what runs slowly.
ORDER: tuple[LimitName, ...] = (*HOLDS,)


class Bottleneck(NamedTuple):
    """What holds a tier back at one workload."""

    limit: LimitName
    words: str


def bottleneck(
    row: TierRow, cards: Sequence[Card] | None = None, ram_gib: float | None = None
) -> Bottleneck:
    """Return what holds a tier back at a workload; `ram_gib` is the tier's."""
    if row.fit is None:
        return Bottleneck("unknown", f"cannot tell: {row.reason}")
    card = find_card(row.faster_card, cards).card
    assert card is not None, row.faster_card
    if row.fit == "does not fit":
        return _misfit(row, card, ram_gib)
    plain_mib = need_of(row.workload, Software()).peak_mib
    if row.ran is False or (row.ran is None and plain_mib > card.vram_mib):
        ram = ", and RAM holds what is offloaded" if "offload" in row.fit else ""
        needed = f"{plain_mib / 1024:.3g} GiB predicted of {card.vram_mib / 1024:.3g}"
        more = ram if row.remedies else f", {needed}"
        return Bottleneck("VRAM", "; ".join([f"VRAM: it {row.fit_words}{more}", *row.gentler]))
    return Bottleneck(*PACES[limit_of(card, row.workload)])


def held_back_by(
    row: TierRow, cards: Sequence[Card] | None = None, ram_gib: float | None = None
) -> str:
    """Return what holds a tier back at a workload, in a few words."""
    return bottleneck(row, cards, ram_gib).words


def _misfit(row: TierRow, card: Card, ram_gib: float | None) -> Bottleneck:
    """Return whether more of the machine's memory would do where the card's does not."""
    split = "; split over both cards it runs" if row.only_split else ""
    if ram_gib is not None:
        roomy = fit_on(card, row.workload, Software())
        if roomy.remedies:
            needed = roomy.need.ram_mib / 1024
            fits = roomy.words().replace("tight", "is tight")
            words = f"RAM: it {fits}, but {needed:.0f} GiB of weights must wait in RAM"
            return Bottleneck("RAM", words + split)
    fits = "it fits neither card alone" if split else "it does not fit, whatever is tried"
    if row.fit_kind != "predicted":
        fits = f"it did not fit, {row.fit_kind}, and no remedy is predicted to do"
    return Bottleneck("VRAM", f"VRAM: {fits}{split}")


def bottleneck_sentences(
    path: UpgradePath, rows: Sequence[TierRow], cards: Sequence[Card] | None = None
) -> list[tuple[str, str]]:
    """Return each tier's name and a sentence on what holds it back then."""
    found = []
    for tier in path.tiers:
        own = [(row, bottleneck(row, cards, tier.ram_gib)) for row in rows if row.tier == tier.name]
        found.append((tier.name, _sentence(tier, own, cards)))
    return found


def _sentence(
    tier: Tier, own: Sequence[tuple[TierRow, Bottleneck]], cards: Sequence[Card] | None
) -> str:
    parts = f"{card_words(tier.gpus, cards)}, {tier.ram_gib:g} GB RAM, {tier.cores} cores"
    asked = [row.workload for row, _ in own]
    told = []
    for limit in ORDER:
        names = [_short(row, limit, asked) for row, found in own if found.limit == limit]
        if names:
            every = "any workload" if limit == "unknown" else "every workload"
            which = every if len(names) == len(own) else ", ".join(names)
            told.append(f"{HOLDS[limit]} {which}")
    return f"After {tier.name} ({parts}) {'; '.join(told) or 'nothing was asked'}."


def _short(row: TierRow, limit: LimitName, asked: Sequence[Workload]) -> str:
    detail = f" ({row.fit})" if limit == "VRAM" and row.fit != "does not fit" else ""
    if row.only_split:
        detail = " (split over both cards)"
    return sized_name(row.workload, asked, between=" at ") + detail
