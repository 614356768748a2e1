"""What stands behind the figures of one tier and workload: all evidence, memory, two GPUs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from diffusion_bench.charts.tiers.bars import row_key
from diffusion_bench.charts.tiers.fits import verdict_words
from diffusion_bench.charts.tiers.numbers import TierRow
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.evidence import Evidence
from diffusion_bench.tiers.figures import figure_words
from diffusion_bench.tiers.memory import memory_of
from diffusion_bench.tiers.remedies import REMEDIES

BEST_FIRST = "Evidence, best first; the first one gives the figures, kinds are not averaged:"


def why(rows: Sequence[TierRow], key: str, cards: Sequence[Card] | None = None) -> str:
    """Return, as lines of plain text, what a row's figures rest on; ValueError for no such row."""
    row = next((row for row in rows if row_key(row) == key), None)
    if row is None:
        raise ValueError(f"there is no figure {key!r:.120}")
    lines = [f"{row.tier}, {row.card}", row.workload.name, ""]
    alone = " of one card alone" if row.only_split else ""
    told = [_evidence(one, row) for one in row.evidence]
    lines += [BEST_FIRST, *told] if told else [f"Cannot tell{alone}: {row.reason}"]
    below = _memory(row, cards)
    below += [f"Two GPUs, {one.words}" for one in row.measured_together]
    below += [f"Two GPUs, {way.words}" for way in row.two_gpus]
    return "\n".join([*lines, "", *below] if below else lines)


def fit_table(rows: Sequence[TierRow]) -> tuple[list[str], list[list[Any]]]:
    """Return a row a tier and workload: verdict, need, what each remedy costs in time."""
    header = ["tier", "card", "workload", "verdict", "needs (GiB)", "from", "to"]
    header += ["price", "measured"]
    table: list[list[Any]] = []
    for row in rows:
        verdict = row.verdict if row.fit else f"cannot tell: {row.reason}"
        if row.only_split:
            verdict = f"{verdict_words(f'{row.fit} one card', row.fit_kind)}; split over both"
        need = [row.memory_gib, row.memory_gib_low, row.memory_gib_high]
        table.append(
            [
                row.tier,
                row.card,
                row.workload.name,
                verdict,
                *need,
                "; ".join(_prices(row)),
                row.fit_basis,
            ]
        )
    return header, table


def _evidence(one: Evidence, row: TierRow) -> str:
    each = 1 / one.workload.batch
    interval = ""
    if one.seconds_low is not None and one.seconds_high is not None:
        low, high = one.seconds_low * each, one.seconds_high * each
        interval = f" ({figure_words(low)} to {figure_words(high)})"
    told = []
    if one.reports and one.reports > 1:
        told.append(f"{one.reports} reports")
    if one.records:
        told.append(f"{one.records} {'records' if one.kind == 'published' else 'timed calls'}")
    if one.energy_j is not None:
        told.append(f"{figure_words(one.energy_j * each)} J/image measured")
    if one.kind == "predicted" and row.slower != 1:
        told.append(f"before its remedies: {row.price}")
    counted = f", {', '.join(told)}" if told else ""
    return (
        f"- {one.kind}: {figure_words(one.seconds * each)} s/image{interval}{counted}; {one.source}"
    )


def _memory(row: TierRow, cards: Sequence[Card] | None) -> list[str]:
    if row.memory_gib is None:
        return []
    card = find_card(row.faster_card, cards).card
    of = f", of {card.vram_mib / 1024:.3g}" if card else ""
    need = f"{row.memory_gib:.1f} GiB ({row.memory_gib_low:.1f} to {row.memory_gib_high:.1f})"
    lines = [f"Memory: {need}, predicted{of}: {row.verdict}"]
    if row.fit_basis:
        lines.append(f"- {row.fit_basis}")
    lines.append(f"- {_parts_of(row)}")
    lines += [f"- {price}" for price in _prices(row)]
    if card and row.at_most_j_per_image is not None:
        most = figure_words(row.at_most_j_per_image)
        seconds = figure_words(row.seconds_per_image_high or row.seconds_per_image)
        lines.append(
            f"Energy: at most {most} J/image, {card.tdp_w:g} W of rated power for {seconds} s"
        )
    return [*lines, *_card_lines(card)] if card else lines


def _parts_of(row: TierRow) -> str:
    """Return what the predicted memory of a row is made of."""
    need = memory_of(**row.workload.work, remedies=frozenset(row.remedies))
    parts = (need.weights_mib, need.activations_mib, need.overhead_mib)
    weights, activations, beside = (f"{mib / 1024:.1f}" for mib in parts)
    return (
        f"in the {need.peak_stage}: {weights} of weights, {activations} of activations, "
        f"{beside} of context and workspace; {need.basis}"
    )


def _card_lines(card: Card) -> list[str]:
    """Return the figures of a card that predictions rest on, with where each was found."""
    peaks = f"{card.tensor_tflops:g} TFLOP/s in 16 bits, {card.fp32_tflops:g} in 32"
    found = {
        "": ": ".join(filter(None, (card.source, card.source_locator))),
        "in 16 bits: ": ", ".join(filter(None, (card.tensor_value, card.tensor_source))),
        "memory as its driver reports it: ": card.usable_source,
    }
    lines = [f"- {what}{where}" for what, where in found.items() if where]
    return [f"The card: {card.bandwidth_gbs:g} GB/s, {peaks}, {card.tdp_w:g} W", *lines]


def _prices(row: TierRow) -> list[str]:
    """Return what each remedy saves and costs."""
    return [f"{name}: {REMEDIES[name].price} ({REMEDIES[name].source})" for name in row.remedies]
