"""What each tier of an upgrade path does with each workload, from reports, publications and fits.

Reports correct the predictions, and where they hold the very workload they stand in their place.
"""

from __future__ import annotations

from collections.abc import Sequence

from diffusion_bench.charts.tiers.cells import card_words
from diffusion_bench.charts.tiers.fits import told_fit, verdict_words
from diffusion_bench.charts.tiers.measured import Findings, Measured
from diffusion_bench.charts.tiers.pairs import untold_ways, ways_of_two
from diffusion_bench.charts.tiers.together import Together
from diffusion_bench.records import Record
from diffusion_bench.reports.cost import cost_per_1000
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.evidence import (
    RANKS,
    Evidence,
    EvidenceKind,
    predicted_evidence,
    published_evidence,
    ranked,
)
from diffusion_bench.tiers.memory import Fit, Ram
from diffusion_bench.tiers.path import Tier, UpgradePath
from diffusion_bench.tiers.remedy_price import RemedyPrice, price_of
from diffusion_bench.tiers.two_gpus import TwoGpus
from diffusion_bench.tiers.workload import Workload

NO_TIME = ("does not fit",)


class TierRow(Record):
    """One tier and one workload. `None` where it cannot be told; `reason` says why.

    `evidence` is ranked, the first one gives the figures. `faster_card` is the one they are of;
    `slower` is what the `remedies` it takes to fit multiply a predicted time by, `slower_low` and
    `slower_high` its interval's ends; `price` says it in words, `gentler` what others would do.
    `j_per_image` was measured with the time that gives the figures; `at_most_j_per_image` is the
    card's rated power over that time, or over the longest of its interval where it has one, and the
    costs are of these, in the path's currency, where a tariff was told.
    `ram_gib` of weights wait in the machine's memory. `fit` is of the `fit_kind`, `fit_basis` says
    what was measured of it or of another batch, and `ran` whether it so runs without a remedy in
    the card's memory. `memory_gib` is always predicted, `peak_gib` measured as the verdict was.
    `two_gpus`: how a tier with two cards can use them, all predicted;
    `measured_together`: what reports measured two such cards to do.
    """

    tier: str
    card: str
    faster_card: str = ""
    workload: Workload
    fit: str | None = None
    fit_kind: EvidenceKind = "predicted"
    fit_basis: str = ""
    ran: bool | None = None
    remedies: tuple[str, ...] = ()
    slower: float = 1.0
    slower_low: float = 1.0
    slower_high: float = 1.0
    price: str = ""
    gentler: tuple[str, ...] = ()
    ram_gib: float = 0.0
    memory_gib: float | None = None
    memory_gib_low: float | None = None
    memory_gib_high: float | None = None
    peak_gib: float | None = None
    evidence: tuple[Evidence, ...] = ()
    seconds_per_image: float | None = None
    seconds_per_image_low: float | None = None
    seconds_per_image_high: float | None = None
    images_per_hour: float | None = None
    j_per_image: float | None = None
    at_most_j_per_image: float | None = None
    cost_per_1000_images: float | None = None
    at_most_cost_per_1000_images: float | None = None
    two_gpus: tuple[TwoGpus, ...] = ()
    measured_together: tuple[Together, ...] = ()
    reason: str | None = None

    @property
    def fit_words(self) -> str:
        """Return the verdict as it goes on after "it"."""
        return (
            f"is {self.fit}" if (self.fit or "").startswith("tight") else self.fit or "cannot tell"
        )

    @property
    def predicted_margin(self) -> float | None:
        """Return the factor from a predicted time, remedies paid, to its interval's high end."""
        one = next((one for one in self.evidence if one.kind == "predicted"), None)
        if one is None or one.seconds_high is None:
            return None
        return one.seconds_high * self.slower_high / (one.seconds * self.slower)

    @property
    def verdict(self) -> str:
        """Return the verdict as tables show it."""
        return verdict_words(self.fit, self.fit_kind)

    @property
    def only_split(self) -> bool:
        """Return whether two cards run it only with its model or its batch split over both."""
        ways: tuple[TwoGpus | Together, ...] = (*self.two_gpus, *self.measured_together)
        split = (way for way in ways if way.way != "two jobs")
        return not self.evidence and any(way.images_per_hour is not None for way in split)


def tier_rows(
    path: UpgradePath,
    workloads: Sequence[Workload],
    findings: Findings | None = None,
    cards: Sequence[Card] | None = None,
) -> list[TierRow]:
    """Return a row for each tier and workload, in their order."""
    known = findings or Findings()
    return [_row(tier, workload, known, cards) for workload in workloads for tier in path.tiers]


def _row(
    tier: Tier,
    workload: Workload,
    findings: Findings,
    cards: Sequence[Card] | None,
) -> TierRow:
    matches = [find_card(name, cards) for name in tier.gpus]
    unknown = next((match.reason for match in matches if match.card is None), None)
    names = card_words(tier.gpus, cards)
    if unknown:
        return TierRow(tier=tier.name, card=names, workload=workload, reason=unknown)
    found = [match.card for match in matches if match.card is not None]
    alone = [alone_on(card, workload, findings, tier.ram) for card in found]
    alone = [row.model_copy(update={"tier": tier.name}) for row in alone]
    best = min(alone, key=_standing)
    if len(found) == 1 or best.fit is None:
        return best.model_copy(update={"card": names})
    untold = next((row.reason for row in alone if row.fit is None), None)
    pair = {
        "card": f"{best.card} of {names}",
        "two_gpus": untold_ways(untold)
        if untold
        else ways_of_two(found, workload, findings, tier.ram),
        "measured_together": _together(found, workload, findings),
    }
    return best.model_copy(update=pair)


def _standing(row: TierRow) -> tuple[bool, bool, bool, float]:
    """Return what goes first of two cards: what can be told, runs, surely so, and then is faster.

    A card that does not fit it still says more than one that cannot be told.
    """
    seconds = row.seconds_per_image
    may_run_out = (row.fit or "").startswith("tight") and not row.ran
    return row.fit is None, seconds is None, may_run_out, seconds or 0.0


def with_costs(row: TierRow, tariff: float | None) -> TierRow:
    """Return a row with the costs of its energy; `tariff` is money per kilowatt-hour."""
    costs = {
        "cost_per_1000_images": cost_per_1000(row.j_per_image, tariff),
        "at_most_cost_per_1000_images": cost_per_1000(row.at_most_j_per_image, tariff),
    }
    return row.model_copy(update=costs)


def _together(
    cards: Sequence[Card], workload: Workload, findings: Findings
) -> tuple[Together, ...]:
    """Return what these cards were measured to do together, ours first."""
    names = [card.name for card in cards]
    mine = [
        one.in_order(names)
        for one in findings.together
        if one.cards == tuple(sorted(names)) and _is_of(one, workload)
    ]
    return tuple(sorted(mine, key=lambda one: (RANKS[one.kind], one.way)))


def alone_on(card: Card, workload: Workload, findings: Findings, ram: Ram | None = None) -> TierRow:
    """Return what one card does alone, as a row without a tier.

    `ram` of the machine must hold what is offloaded; `None` takes it for enough, and usual.
    """
    base = TierRow(tier="", card=card.name, faster_card=card.name, workload=workload)
    try:
        found = told_fit(card, workload, findings.fits, ram)
        evidence = _evidence(card, workload, findings)
    except ValueError as error:
        return base.model_copy(update={"reason": str(error)})
    fit = found.fit
    evidence = tuple(one for one in evidence if found.allows(one.kind))
    told = {
        "fit": fit.words(),
        "fit_kind": found.kind,
        "fit_basis": found.measured.words if found.measured else "",
        "ran": found.ran,
        "ram_gib": fit.need.ram_mib / 1024,
        "gentler": tuple(one.words for one in fit.gentler),
        "memory_gib": fit.need.peak_mib / 1024,
        "memory_gib_low": fit.need.low_mib / 1024,
        "memory_gib_high": fit.need.high_mib / 1024,
        "peak_gib": None if found.peak_mib is None else found.peak_mib / 1024,
    }
    if fit.verdict in NO_TIME and evidence[0].kind == "predicted":
        return base.model_copy(update={**told, "reason": f"it does not fit {card.name}"})
    return base.model_copy(update=told | _figures(card, evidence, fit, ram))


def _evidence(card: Card, workload: Workload, findings: Findings) -> tuple[Evidence, ...]:
    mine = [
        Evidence(
            kind="measured here" if one.here else "imported report",
            card=card.name,
            workload=one.workload,
            seconds=one.seconds,
            seconds_low=one.seconds_low,
            seconds_high=one.seconds_high,
            records=one.calls,
            reports=one.reports,
            energy_j=one.energy_j,
            limited=one.limited,
            source=one.rests_on,
        )
        for one in findings.measured
        if one.card.name == card.name and _is_of(one, workload)
    ]
    predicted = predicted_evidence(findings.knowledge.predict(card, workload))
    return ranked([*mine, *published_evidence(card, workload), predicted])


def _is_of(one: Measured | Together, workload: Workload) -> bool:
    """Return whether a measured cell is the workload asked for, whatever its sampler."""
    names = ("model", "width", "height", "batch", "precision", "guided", "steps")
    return all(getattr(one.workload, name) == getattr(workload, name) for name in names)


def _figures(
    card: Card, evidence: tuple[Evidence, ...], fit: Fit, ram: Ram | None
) -> dict[str, object]:
    """Return a row's figures from its best evidence; a prediction pays for its remedies."""
    best = evidence[0]
    price = _price(card, evidence, fit, ram)
    if fit.verdict in NO_TIME:  # what is predicted is the time of a card with more memory
        evidence = tuple(one for one in evidence if one.kind != "predicted")
    each = 1 / best.workload.batch
    low, middle, high = each, each, each
    if best.kind == "predicted":
        low, middle, high = (each * n for n in (price.slower_low, price.slower, price.slower_high))
    seconds = best.seconds * middle
    longest = None if best.seconds_high is None else best.seconds_high * high
    return {
        "evidence": evidence,
        "remedies": fit.remedies,
        "slower": price.slower,
        "slower_low": price.slower_low,
        "slower_high": price.slower_high,
        "price": price.words,
        "seconds_per_image": seconds,
        "seconds_per_image_low": None if best.seconds_low is None else best.seconds_low * low,
        "seconds_per_image_high": longest,
        "images_per_hour": 3600 / seconds,
        "j_per_image": None if best.energy_j is None else best.energy_j / best.workload.batch,
        "at_most_j_per_image": card.tdp_w * (longest or seconds),
    }


def _price(card: Card, evidence: tuple[Evidence, ...], fit: Fit, ram: Ram | None) -> RemedyPrice:
    """Return what a fit's remedies make of the prediction among the evidence."""
    one = next(one for one in evidence if one.kind == "predicted")
    assert one.seconds_low is not None
    assert one.seconds_high is not None
    given = (one.seconds_low, one.seconds, one.seconds_high)
    return price_of(fit, card, one.workload.calls, given, ram.gbs if ram else None)
