"""What each tier of an upgrade path does with each workload, from reports, publications and fits.

Reports correct the predictions, and where they hold the very workload they stand in their place.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Sequence

from diffusion_bench.records import ImageRequest, Record
from diffusion_bench.reports.schema import Cell, Report
from diffusion_bench.reports.stats import summarise
from diffusion_bench.tiers.calibrate import Residual
from diffusion_bench.tiers.cards import Card, find_card
from diffusion_bench.tiers.evidence import (
    Evidence,
    predicted_evidence,
    published_evidence,
    ranked,
)
from diffusion_bench.tiers.memory import REMEDIES, Fit
from diffusion_bench.tiers.path import Tier, UpgradePath
from diffusion_bench.tiers.predict import predict, residual_of
from diffusion_bench.tiers.rows import fit_on, need_of
from diffusion_bench.tiers.two_gpus import SplitModel, TwoGpus, one_batch, one_model, two_jobs
from diffusion_bench.tiers.workload import Software, Workload, guided_by_default, model_named

# What makes a cell no measure of the card it ran on.
UNFAIR = frozenset({"emulated", "throttled", "contended", "on battery"})
NO_TIME = ("does not fit",)
WHOLE = ("fits", "tight")


class TierRow(Record):
    """One tier and one workload. `None` where it cannot be told; `reason` says why.

    `evidence` is ranked, the first one gives the figures. `faster_card` is the one they are of;
    `slower` is what the remedies it takes to fit multiply a predicted time by.
    `at_most_j_per_image`: the card's rated power over the time. `two_gpus`: how a tier with two
    cards can use them.
    """

    tier: str
    card: str
    faster_card: str = ""
    workload: Workload
    fit: str | None = None
    slower: float = 1.0
    memory_gib: float | None = None
    evidence: tuple[Evidence, ...] = ()
    seconds_per_image: float | None = None
    seconds_per_image_low: float | None = None
    seconds_per_image_high: float | None = None
    images_per_hour: float | None = None
    at_most_j_per_image: float | None = None
    two_gpus: tuple[TwoGpus, ...] = ()
    reason: str | None = None


class Measured(Record):
    """A cell of a report on a known card."""

    card: Card
    workload: Workload
    seconds: float
    seconds_low: float | None
    seconds_high: float | None
    records: int
    source: str
    here: bool


def measured_of(reports: Iterable[Report], here: Collection[str] = ()) -> list[Measured]:
    """Return the cells of reports that measure a known model on a known card.

    `here`: hashes of this machine's GPUs, as reports hold them.
    """
    found = []
    for report in reports:
        card, is_here = _card_of(report, here)
        if card is None:
            continue
        for cell in report.cells:
            one = _measured(cell, card, report.source, is_here)
            if one is not None:
                found.append(one)
    return found


def workload_of(request: ImageRequest) -> Workload:
    """Return the workload of a request; raise ValueError for a model without counts."""
    model = model_named(request.model)
    return Workload(
        model=model,
        width=request.width,
        height=request.height,
        batch=request.batch,
        precision=request.precision,
        steps=request.steps,
        sampler=request.sampler,
        guided=guided_by_default(model) and request.guidance_scale > 1,
    )


def tier_rows(
    path: UpgradePath,
    workloads: Sequence[Workload],
    measured: Sequence[Measured] = (),
    cards: Sequence[Card] | None = None,
) -> list[TierRow]:
    """Return a row for each tier and workload, in their order."""
    residuals = [residual_of(one.card, one.workload, one.seconds) for one in measured]
    return [
        _row(tier, workload, measured, residuals, cards)
        for workload in workloads
        for tier in path.tiers
    ]


def _card_of(report: Report, here: Collection[str]) -> tuple[Card | None, bool]:
    """Return the card a report was measured on, and whether it is this machine's."""
    device = report.header.plan.device
    kind, _, index = device.partition(":")
    gpus = {gpu.index: gpu for gpu in report.header.machine.gpus}
    gpu = gpus.get(int(index) if index.isdigit() else 0)
    if kind != "cuda" or gpu is None:
        return None, False
    match = find_card(gpu.name, memory_mib=gpu.memory_total_mib)
    return match.card, gpu.uuid_hash is not None and gpu.uuid_hash in here


def _measured(cell: Cell, card: Card, source: str, here: bool) -> Measured | None:
    summary = summarise(cell)
    if summary is None or UNFAIR & set(cell.labels):
        return None
    try:
        workload = workload_of(cell.request)
    except ValueError:  # a model nobody has counted: nothing to learn from
        return None
    return Measured(
        card=card,
        workload=workload,
        seconds=summary.median_s,
        seconds_low=summary.interval_s.low if summary.interval_s else None,
        seconds_high=summary.interval_s.high if summary.interval_s else None,
        records=summary.n,
        source=source,
        here=here,
    )


def _row(
    tier: Tier,
    workload: Workload,
    measured: Sequence[Measured],
    residuals: Sequence[Residual],
    cards: Sequence[Card] | None,
) -> TierRow:
    matches = [find_card(name, cards) for name in tier.gpus]
    unknown = next((match.reason for match in matches if match.card is None), None)
    names = f"{tier.count} x {tier.gpu}" if tier.count > 1 else " + ".join(tier.gpus)
    if unknown:
        return TierRow(tier=tier.name, card=names, workload=workload, reason=unknown)
    found = [match.card for match in matches if match.card is not None]
    alone = [_alone(tier, card, workload, measured, residuals) for card in found]
    best = min(alone, key=lambda row: row.seconds_per_image or float("inf"))
    if len(found) == 1 or best.fit is None:
        return best.model_copy(update={"card": names})
    ways = _two(found, alone, workload, residuals)
    return best.model_copy(update={"card": f"{best.card} of {names}", "two_gpus": ways})


def _alone(
    tier: Tier,
    card: Card,
    workload: Workload,
    measured: Sequence[Measured],
    residuals: Sequence[Residual],
) -> TierRow:
    """Return what one card does alone."""
    base = TierRow(tier=tier.name, card=card.name, faster_card=card.name, workload=workload)
    try:
        fit = fit_on(card, workload, Software(), tier.ram_gib)
        evidence = _evidence(card, workload, measured, residuals)
    except ValueError as error:
        return base.model_copy(update={"reason": str(error)})
    told = {"fit": fit.words(), "memory_gib": fit.need.peak_mib / 1024}
    if fit.verdict in NO_TIME and evidence[0].kind == "predicted":
        return base.model_copy(update={**told, "reason": f"it does not fit {card.name}"})
    return base.model_copy(update=told | _figures(card, evidence, fit))


def _evidence(
    card: Card,
    workload: Workload,
    measured: Sequence[Measured],
    residuals: Sequence[Residual],
) -> tuple[Evidence, ...]:
    mine = [
        Evidence(
            kind="measured here" if one.here else "imported report",
            card=card.name,
            workload=one.workload,
            seconds=one.seconds,
            seconds_low=one.seconds_low,
            seconds_high=one.seconds_high,
            records=one.records,
            source=one.source,
        )
        for one in measured
        if one.card.name == card.name
        and one.workload.model_copy(update={"sampler": workload.sampler}) == workload
    ]
    predicted = predicted_evidence(predict(card, workload, residuals=residuals))
    return ranked([*mine, *published_evidence(card, workload), predicted])


def _figures(card: Card, evidence: tuple[Evidence, ...], fit: Fit) -> dict[str, object]:
    """Return a row's figures from its best evidence; a prediction pays for its remedies."""
    best = evidence[0]
    slower = math.prod(REMEDIES[remedy].slower for remedy in fit.remedies)
    each = (slower if best.kind == "predicted" else 1.0) / best.workload.batch
    seconds = best.seconds * each
    return {
        "evidence": evidence,
        "slower": slower,
        "seconds_per_image": seconds,
        "seconds_per_image_low": None if best.seconds_low is None else best.seconds_low * each,
        "seconds_per_image_high": None if best.seconds_high is None else best.seconds_high * each,
        "images_per_hour": 3600 / seconds,
        "at_most_j_per_image": card.tdp_w * seconds,
    }


def _two(
    cards: Sequence[Card],
    alone: Sequence[TierRow],
    workload: Workload,
    residuals: Sequence[Residual],
) -> tuple[TwoGpus, ...]:
    """Return the ways of using two cards, all predicted; what fits neither can only be split."""

    def takes(card: Card, batch: int) -> float:
        part = workload.model_copy(update={"batch": batch})
        return predict(card, part, residuals=residuals).seconds

    first, second = cards
    batch = workload.batch
    seconds = (takes(first, batch), takes(second, batch))
    need = need_of(workload, Software())
    split = SplitModel(
        alone_s=seconds,
        calls=workload.calls,
        hidden_mib=need.activations_mib,
        needed_mib=need.peak_mib,
        activations_mib=need.activations_mib,
        memory_mib=(1024 * first.memory_gib, 1024 * second.memory_gib),
    )
    if any(row.fit in NO_TIME for row in alone):
        return (one_model(split, batch),)
    if not all(row.fit in WHOLE for row in alone):
        remedied = [s * row.slower for s, row in zip(seconds, alone, strict=True)]
        return (two_jobs(remedied[0], remedied[1], batch), one_model(split, batch))
    halves = one_batch(lambda n: takes(first, n), lambda n: takes(second, n), batch)
    return (two_jobs(*seconds, batch), halves, one_model(split, batch))
