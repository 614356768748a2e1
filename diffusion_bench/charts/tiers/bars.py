"""Time, throughput, energy and money by tier and workload: a bar a piece of evidence.

The four kinds of evidence look different in colour and in pattern, and are never averaged. What is
predicted of a card's energy is its rated power over the longest time of the interval, which it does
not exceed unless its limit was raised.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Literal, NamedTuple, get_args

from diffusion_bench.charts.tiers.measured import interval_words
from diffusion_bench.charts.tiers.numbers import TierRow
from diffusion_bench.charts.tiers.steps import Prices
from diffusion_bench.reports.cost import cost_per_1000
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.evidence import Evidence, EvidenceKind
from diffusion_bench.tiers.figures import figure_words

Metric = Literal["seconds an image", "images an hour", "joules an image", "money for 1000 images"]
METRICS: tuple[str, ...] = get_args(Metric)
UNITS: dict[str, str] = {
    "seconds an image": "s/image",
    "images an hour": "images/h",
    "joules an image": "J/image",
    "money for 1000 images": "for 1000 images",
}


class TierBar(NamedTuple):
    """One piece of evidence of one tier and workload as a value of one metric.

    `low` and `high` are the ends of its interval, where it has one. `detail` says what else is to
    be known of it. `at_most` marks an upper bound, `way` names one of using two cards.
    """

    tier: str
    card: str
    workload: str
    kind: EvidenceKind
    value: float
    low: float | None
    high: float | None
    source: str
    detail: str = ""
    at_most: bool = False
    way: str = ""


class TierBars(NamedTuple):
    """The bars of one metric, and why a tier has none for a workload."""

    metric: str
    unit: str
    bars: tuple[TierBar, ...]
    absent: tuple[tuple[str, str, str], ...]  # tier, workload, reason


def bars_numbers(
    rows: Sequence[TierRow],
    metric: str,
    *,
    currency: str = "USD",
    prices: Prices | None = None,
    cards: Sequence[Card] | None = None,
) -> TierBars:
    """Return every piece of evidence of the rows as bars of one metric, best first in each row.

    Raises ValueError for a metric that is none, and for money without a price of a kilowatt-hour.
    """
    if metric not in METRICS:
        raise ValueError(f"metric {metric!r:.40} is unknown; known: {', '.join(METRICS)}")
    tariff = (prices or Prices()).per_kwh
    if metric == "money for 1000 images" and tariff is None:
        raise ValueError("money needs the price of a kWh")
    bars: list[TierBar] = []
    absent = []
    for row in rows:
        found = [_bar(row, one, metric, tariff, cards) for one in row.evidence]
        if metric == "images an hour":
            found += _two_gpu_bars(row)
        bars += found
        if not found:
            absent.append((row.tier, row.workload.name, _reason(row)))
    unit = f"{currency} {UNITS[metric]}" if "money" in metric else UNITS[metric]
    return TierBars(metric, unit, tuple(bars), tuple(absent))


def _reason(row: TierRow) -> str:
    split = "; split over both cards it runs, see images an hour" if row.only_split else ""
    return f"{row.reason or 'cannot tell'}{split}"


def _bar(
    row: TierRow,
    one: Evidence,
    metric: str,
    tariff: float | None,
    cards: Sequence[Card] | None,
) -> TierBar:
    """Return one piece of evidence as a bar."""
    each = 1 / one.workload.batch
    paid = (row.slower_low, row.slower, row.slower_high) if one.kind == "predicted" else (1, 1, 1)
    seconds = one.seconds * each * paid[1]
    given = ((one.seconds_low, paid[0]), (one.seconds_high, paid[2]))
    ends = [end and end * each * slower for end, slower in given]
    of_time = metric in ("seconds an image", "images an hour")
    detail = _detail(row, one, of_time=of_time)
    at_most = not of_time and one.energy_j is None
    if metric == "seconds an image":
        value, (low, high) = seconds, ends
    elif metric == "images an hour":
        value, (high, low) = 3600 / seconds, (end and 3600 / end for end in ends)
    else:
        scale = 1.0 if metric == "joules an image" else cost_per_1000(1.0, tariff) or 0.0
        low = high = None
        if one.energy_j is not None:
            value = scale * one.energy_j / one.workload.batch
        else:
            card = find_card(row.faster_card, cards).card
            watts, longest = card.tdp_w if card else 0.0, ends[1] or seconds
            value = scale * watts * longest
            words = f"at most: {watts:g} W, the rated power, for {figure_words(longest)} s"
            detail = "; ".join(filter(None, (words, detail)))
    return TierBar(
        row.tier,
        row.card,
        row.workload.name,
        one.kind,
        value,
        low,
        high,
        one.source,
        detail,
        at_most,
    )


def _detail(row: TierRow, one: Evidence, *, of_time: bool) -> str:
    """Return what else is to be known of a figure; an interval is told of times alone."""
    interval = interval_words(one) if of_time else ""
    if one.reports and one.reports > 1:
        told = [", ".join(filter(None, (f"median of {one.reports} reports", interval)))]
    else:
        what = "users' records" if one.kind == "published" else "timed calls"
        told = [f"{one.records} {what}" if one.records else "", interval]
    if one.kind == "predicted" and row.slower != 1:
        told.append(f"{row.slower:.3g} times as long, since it {row.fit_words}")
    return "; ".join(filter(None, told))


def _two_gpu_bars(row: TierRow) -> list[TierBar]:
    predicted = [
        TierBar(
            row.tier,
            row.card,
            row.workload.name,
            "predicted",
            way.images_per_hour,
            way.images_per_hour_low,
            way.images_per_hour_high,
            "the two cards' predictions",
            "both cards together",
            way=f"2 GPUs, {way.way}",
        )
        for way in row.two_gpus
        if way.images_per_hour is not None
    ]
    measured = [
        TierBar(
            row.tier,
            row.card,
            row.workload.name,
            one.kind,
            one.images_per_hour,
            None,
            None,
            one.source,
            one.words,
            way=f"2 GPUs, {one.way}",
        )
        for one in row.measured_together
    ]
    return [*measured, *predicted]


def row_key(row: TierRow | TierBar) -> str:
    """Return the name of a tier and workload, by which `why.py` finds its evidence."""
    workload = row.workload if isinstance(row.workload, str) else row.workload.name
    return f"{row.tier} | {workload}"


def bars_table(numbers: TierBars) -> tuple[list[str], list[list[Any]]]:
    """Return a row a bar with its evidence, and a row for each that is absent with the reason."""
    header = [
        "tier",
        "card",
        "workload",
        "evidence",
        numbers.unit,
        "from",
        "to",
        "rests on",
        "detail",
    ]
    rows: list[list[Any]] = [
        [
            bar.tier,
            bar.card,
            bar.workload,
            f"{bar.kind}, {bar.way}" if bar.way else bar.kind,
            bar.value,
            bar.low,
            bar.high,
            bar.source,
            bar.detail,
        ]
        for bar in numbers.bars
    ]
    rows += [
        [tier, "", workload, "none", None, None, None, "", reason]
        for tier, workload, reason in numbers.absent
    ]
    return header, rows
