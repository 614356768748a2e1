"""What each step of an upgrade path buys, workload by workload, and what then holds it back."""

from __future__ import annotations

from collections.abc import Sequence

from diffusion_bench.charts.tier_numbers import TierRow
from diffusion_bench.records import Record
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.path import UpgradePath
from diffusion_bench.tiers.predict import limit_of

LIMITS = {
    "processor": "the CPU, which launches kernels no faster; larger batches help",
    "arithmetic": "the GPU's arithmetic",
    "bandwidth": "the GPU's memory bandwidth",
}


class StepBought(Record):
    """What a tier's step buys for one workload. `None` where it cannot be told.

    Both rates are predicted, corrected by reports, so that they compare; of two cards, each doing
    jobs of its own. `first_time`: the tier before could not run the workload at all.
    `break_even_hours`: of use at which renting for `cloud_price` an hour has cost the step's price.
    """

    tier: str
    workload: str
    images_per_hour: float | None
    times_before: float | None
    first_time: bool
    price: float | None
    price_per_gained_image_per_hour: float | None
    break_even_hours: float | None
    held_back_by: str


def steps_bought(
    path: UpgradePath,
    rows: Sequence[TierRow],
    *,
    cloud_price: float | None = None,
    cards: Sequence[Card] | None = None,
) -> list[StepBought]:
    """Return what each row's tier buys over the one before; raise ValueError for no price."""
    if cloud_price is not None and not 0 < cloud_price < 1e6:
        raise ValueError(f"a cloud price of {cloud_price:g} an hour is none; give one above 0")
    places = {tier.name: i for i, tier in enumerate(path.tiers)}
    rates = {(row.tier, row.workload): predicted_rate(row) for row in rows}
    found = []
    for row in rows:
        place = places[row.tier]
        tier, rate = path.tiers[place], rates[row.tier, row.workload]
        before = path.tiers[place - 1].name if place else None
        old = rates.get((before, row.workload)) if before else None
        gained = rate - old if rate is not None and old is not None else None
        worth = tier.price is not None and gained is not None and gained > 0
        found.append(
            StepBought(
                tier=row.tier,
                workload=row.workload.name,
                images_per_hour=rate,
                times_before=rate / old if rate is not None and old else None,
                first_time=before is not None and rate is not None and old is None,
                price=tier.price,
                price_per_gained_image_per_hour=(tier.price or 0) / gained
                if worth and gained
                else None,
                break_even_hours=(
                    tier.price / cloud_price if cloud_price and tier.price is not None else None
                ),
                held_back_by=held_back_by(row, cards),
            )
        )
    return found


def predicted_rate(row: TierRow) -> float | None:
    """Return the images an hour of a tier as predicted, of both cards where it has two."""
    for way in row.two_gpus:
        if way.images_per_hour is not None:
            return way.images_per_hour
    predicted = [one for one in row.evidence if one.kind == "predicted"]
    if not predicted or row.images_per_hour is None:
        return None
    return 3600 * row.workload.batch / (predicted[0].seconds * row.slower)


def held_back_by(row: TierRow, cards: Sequence[Card] | None = None) -> str:
    """Return what holds a tier back at a workload, in a few words."""
    if row.fit is None:
        return f"cannot tell: {row.reason}"
    if row.fit == "does not fit":
        return "VRAM: it does not fit, whatever is tried"
    if row.fit.startswith("fits with"):
        ram = ", and RAM holds what is offloaded" if "offload" in row.fit else ""
        return f"VRAM: it {row.fit}{ram}"
    card = find_card(row.faster_card, cards).card
    assert card is not None, row.faster_card
    return LIMITS[limit_of(card, row.workload)]
