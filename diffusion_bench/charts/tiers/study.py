"""A study of an upgrade path: everything the command, the page and the tab show, computed once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from diffusion_bench.charts.tiers.left_out import counted_words, left_out_of, left_out_words
from diffusion_bench.charts.tiers.limits import bottleneck_sentences
from diffusion_bench.charts.tiers.measured import Findings
from diffusion_bench.charts.tiers.numbers import TierRow, tier_rows, with_costs
from diffusion_bench.charts.tiers.speech import SpeechRow, speech_rows
from diffusion_bench.charts.tiers.steps import Prices, StepBought, steps_bought
from diffusion_bench.reports.digests import ReportDigest
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.path import UpgradePath
from diffusion_bench.tiers.voice_workload import VoiceWorkload
from diffusion_bench.tiers.workload import Workload

APPROXIMATE = "approximate: set your own"
CORES = "cores are shown and change no figure: one of them launches a card's kernels"


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


def rests_on(
    findings: Findings, digests: Sequence[ReportDigest], cards: Sequence[Card] | None = None
) -> list[str]:
    """Return how many reports the figures rest on, and how many of their cells were left out."""
    if not digests:
        return ["No report is used: predicted from specifications, and published figures."]
    here = sum(one.here for one in findings.measured)
    rests = (
        f"Rests on {counted_words(len(digests), 'report')} ({counted_words(here, 'workload')} "
        f"measured on this machine's card, {len(findings.measured) - here} imported, unverified)."
    )
    without = left_out_words(left_out_of(digests, cards))
    return [rests, f"{without}."] if without else [rests]


def path_notes(path: UpgradePath, cards: Sequence[Card] | None = None) -> list[str]:
    """Return what was assumed of the names of a path's cards, and that cores count for nothing."""
    notes = [find_card(name, cards).note for tier in path.tiers for name in tier.gpus]
    if len({tier.cores for tier in path.tiers}) > 1:
        notes.append(CORES)
    return [f"note: {note}" for note in dict.fromkeys(notes) if note]


def price_lines(path: UpgradePath) -> list[str]:
    """Return what each tier costs, and whether anybody has set it."""
    lines = []
    for tier in path.tiers:
        price = "none set" if tier.price is None else f"{tier.price:,.12g} {path.currency}"
        told = [price, *([APPROXIMATE] if tier.approximate else [])]
        if tier.cloud_price is not None:
            told.append(f"as fast in the cloud {tier.cloud_price:,.12g} {path.currency} an hour")
        lines.append(f"{tier.name}: {', '.join(told)}")
    return lines
