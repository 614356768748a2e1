"""A study of an upgrade path: everything the command, the page and the tab show, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from diffusion_bench.charts.tiers.limits import bottleneck_sentences
from diffusion_bench.charts.tiers.measured import Findings
from diffusion_bench.charts.tiers.numbers import TierRow, tier_rows, with_costs
from diffusion_bench.charts.tiers.speech import SpeechRow, speech_rows
from diffusion_bench.charts.tiers.steps import Prices, StepBought, steps_bought
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.path import UpgradePath
from diffusion_bench.tiers.voice_workload import VoiceWorkload
from diffusion_bench.tiers.workload import Workload

APPROXIMATE = "approximate: set your own"


class Study(NamedTuple):
    """A path and its workloads, what is known of them, and what follows."""

    path: UpgradePath
    workloads: tuple[Workload, ...]
    prices: Prices
    findings: Findings
    rows: tuple[TierRow, ...]
    steps: tuple[StepBought, ...]
    bottlenecks: tuple[str, ...]
    cards: Sequence[Card] | None = None
    speech: tuple[SpeechRow, ...] = ()


def study(
    path: UpgradePath,
    workloads: Sequence[Workload],
    findings: Findings | None = None,
    *,
    prices: Prices | None = None,
    cards: Sequence[Card] | None = None,
    spoken: Sequence[VoiceWorkload] = (),
) -> Study:
    """Return what a path does with workloads; `cards` are those known, the shipped ones if none."""
    known, paid = findings or Findings(), prices or Prices()
    rows = [with_costs(row, paid.per_kwh) for row in tier_rows(path, workloads, known, cards)]
    # None where only speech was asked for.
    held_back = bottleneck_sentences(path, rows, cards) if rows else []
    return Study(
        path=path,
        workloads=tuple(workloads),
        prices=paid,
        findings=known,
        rows=tuple(rows),
        steps=tuple(steps_bought(path, rows, prices=paid, cards=cards)),
        bottlenecks=tuple(words for _, words in held_back),
        cards=cards,
        speech=tuple(speech_rows(path, spoken, cards)),
    )


def card_notes(path: UpgradePath, cards: Sequence[Card] | None = None) -> list[str]:
    """Return what was assumed of the names of a path's cards."""
    notes = (find_card(name, cards).note for tier in path.tiers for name in tier.gpus)
    return [f"note: {note}" for note in dict.fromkeys(notes) if note]


def price_lines(path: UpgradePath) -> list[str]:
    """Return what each tier costs, and whether anybody has set it."""
    lines = []
    for tier in path.tiers:
        price = "cannot tell" if tier.price is None else f"{tier.price:g} {path.currency}"
        told = [price, *([APPROXIMATE] if tier.approximate else [])]
        if tier.cloud_price is not None:
            told.append(f"as fast in the cloud {tier.cloud_price:g} {path.currency} an hour")
        lines.append(f"{tier.name}: {', '.join(told)}")
    return lines
