"""What each step of an upgrade path buys, workload by workload, and what then holds it back."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Annotated, NamedTuple

from pydantic import Field, ValidationError

from diffusion_bench.charts.tiers.limits import held_back_by
from diffusion_bench.charts.tiers.numbers import TierRow
from diffusion_bench.records import MOST_PRICE, Record
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.efficiency import shipped_efficiency
from diffusion_bench.tiers.path import CloudPrice, Tier, UpgradePath
from diffusion_bench.tiers.predict import Z_80


class Prices(Record):
    """What a user pays: an hour of a rented GPU, and a kilowatt-hour. `None`: not told.

    A tier's own `cloud_price` goes before `cloud_per_hour`.
    """

    cloud_per_hour: CloudPrice | None = None
    per_kwh: Annotated[float, Field(ge=0, lt=MOST_PRICE)] | None = None


class StepBought(Record):
    """What a tier's step buys for one workload. `None` where it cannot be told.

    Both rates are predicted, corrected by reports, so that they compare; of two cards, used the
    best way, or of one of them alone where that is faster. `times_low` and `times_high` are the
    ends of an 80 percent interval, `None` where no card is another than before. `first_time`: the
    tier before could not run the workload at all. `break_even_hours`: of use at which renting as
    fast a machine has cost what the step and the electricity at the rated power of the cards at
    work have; `break_even_images` are drawn in that time. There are neither for a workload without
    a rate.
    """

    tier: str
    workload: str
    images_per_hour: float | None
    times_before: float | None
    times_low: float | None = None
    times_high: float | None = None
    first_time: bool
    price: float | None
    price_per_gained_image_per_hour: float | None
    break_even_hours: float | None
    break_even_images: float | None
    held_back_by: str


class Rate(NamedTuple):
    """Images an hour, predicted, and whether one card alone draws them."""

    images_per_hour: float
    alone: bool


def prices_of(cloud_per_hour: float | None, per_kwh: float | None) -> Prices:
    """Return the prices a user typed; raise ValueError, in one line, for one that is none."""
    try:
        return Prices(cloud_per_hour=cloud_per_hour, per_kwh=per_kwh)
    except ValidationError as error:
        given = error.errors()[0]
        names = {
            "cloud_per_hour": ("cloud price of an hour", "above 0"),
            "per_kwh": ("price of a kWh", "of 0 or more"),
        }
        name, least = names[str(given["loc"][0])]
        raise ValueError(
            f"a {name} of {given['input']:g} is none; give one {least} and below {MOST_PRICE:,.0f}"
        ) from None


def steps_bought(
    path: UpgradePath,
    rows: Sequence[TierRow],
    *,
    prices: Prices | None = None,
    cards: Sequence[Card] | None = None,
) -> list[StepBought]:
    """Return what each row's tier buys over the one before."""
    tiers = {tier.name: tier for tier in path.tiers}
    by_work = {(row.tier, row.workload): row for row in rows}
    found = []
    for row in rows:
        tier = tiers[row.tier]
        taken_from = path.before(tier)
        before = by_work.get((taken_from.name, row.workload)) if taken_from else None
        step = _step(tier, row, before)
        told: dict[str, object] = {"held_back_by": held_back_by(row, cards, tier.ram_gib)}
        # What is rented is as fast as the tier, which is nothing where it has no rate.
        rate = best_rate(row)
        if rate is not None:
            at_work = [row.faster_card] if rate.alone else tier.gpus
            hours = break_even_hours(tier, at_work, prices or Prices(), cards)
            told["break_even_hours"] = hours
            told["break_even_images"] = hours and hours * rate.images_per_hour
        if taken_from and before and step.times_before is not None:
            names = [_card_names(each, cards) for each in (taken_from, tier)]
            ends = _interval(step.times_before, (names[0], names[1]), (before, row))
            told["times_low"], told["times_high"] = ends
            told["held_back_by"] = f"{told['held_back_by']}{_other_remedies(row, before)}"
        found.append(step.model_copy(update=told))
    return found


def _step(tier: Tier, row: TierRow, before: TierRow | None) -> StepBought:
    """Return what a step buys in speed; what follows from prices is added to it."""
    rate = predicted_rate(row)
    old = predicted_rate(before) if before else None
    could_not = before is not None and before.fit is not None and old is None
    gained = rate - old if rate is not None and old is not None else None
    each = tier.price / gained if tier.price is not None and gained and gained > 0 else None
    return StepBought(
        tier=row.tier,
        workload=row.workload.name,
        images_per_hour=rate,
        times_before=rate / old if rate is not None and old else None,
        first_time=could_not and rate is not None,
        price=tier.price,
        price_per_gained_image_per_hour=each,
        break_even_hours=None,
        break_even_images=None,
        held_back_by="",
    )


def _other_remedies(row: TierRow, before: TierRow) -> str:
    """Return with what else the tier before ran, since a card may be slower by a gentler remedy."""
    if not before.remedies or before.remedies == row.remedies:
        return ""
    return f"; before, it {before.fit_words}"


def _card_names(tier: Tier, cards: Sequence[Card] | None) -> Counter[str]:
    """Return the whole names of a tier's cards, as typed what is not known."""
    matches = [(name, find_card(name, cards).card) for name in tier.gpus]
    return Counter(card.name if card else name for name, card in matches)


def _interval(
    times: float, names: tuple[Counter[str], Counter[str]], rows: tuple[TierRow, TierRow]
) -> tuple[float | None, float | None]:
    """Return the 80 percent interval of the ratio of two tiers' rates, none of the same cards.

    What all cards share is in both rates and leaves the ratio, as does what one card's share. Of a
    tier that has all cards of the one before only what is added is unsure: it slows down nothing.
    """
    if names[1].keys() <= names[0].keys():
        return None, None
    margin = math.exp(math.hypot(*map(_reach, rows)))
    kept = 1.0 if names[0] <= names[1] and times >= 1 else 0.0
    return kept + (times - kept) / margin, kept + (times - kept) * margin


def _reach(row: TierRow) -> float:
    """Return what a tier brings into a ratio, as a logarithm: its card, or all with remedies.

    Of the two parts of a time with remedies one is the card's and the other the bus's.
    """
    if row.slower != 1 and row.predicted_margin is not None:
        return math.log(row.predicted_margin)
    return Z_80 * shipped_efficiency().spreads.in_ratio(row.faster_card, row.workload)


def break_even_hours(
    tier: Tier,
    at_work: Sequence[str],
    prices: Prices,
    cards: Sequence[Card] | None = None,
) -> float | None:
    """Return the hours at which renting has cost as much; `None` if it never does or is unknown.

    `at_work` names the cards that take power. What is rented is as fast as they are, at the tier's
    own price of the cloud if it has one; without a price of a kilowatt-hour power is free.
    """
    rent = prices.cloud_per_hour if tier.cloud_price is None else tier.cloud_price
    if rent is None or tier.price is None:
        return None
    found = [find_card(name, cards).card for name in at_work]
    kilowatts = sum(card.tdp_w for card in found if card is not None) / 1000
    saved = rent - kilowatts * (prices.per_kwh or 0.0)
    return tier.price / saved if saved > 0 else None


def predicted_rate(row: TierRow) -> float | None:
    """Return the images an hour of a tier as predicted, of two cards in the best way."""
    best = best_rate(row)
    return best and best.images_per_hour


def best_rate(row: TierRow) -> Rate | None:
    """Return the fastest way to use a tier's cards as predicted; `None` where there is none.

    With two cards that is two jobs where they run; else a split may be slower than the faster card
    alone.
    """
    ways = (way.images_per_hour for way in row.two_gpus)
    rates = [Rate(each, alone=False) for each in ways if each is not None]
    if row.images_per_hour is not None:
        alone = (one for one in row.evidence if one.kind == "predicted")
        each = 3600 * row.workload.batch / row.slower
        rates += (Rate(each / one.seconds, alone=True) for one in alone)
    return max(rates, default=None)
