"""What is known of a workload on a card, by kind, best first. Kinds are never averaged."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, get_args

from diffusion_bench.records import Record
from diffusion_bench.tiers.cards import Card
from diffusion_bench.tiers.predict import Prediction
from diffusion_bench.tiers.published import enough_records, published_speeds
from diffusion_bench.tiers.workload import Workload

EvidenceKind = Literal["measured here", "imported report", "published", "predicted"]
RANKS = {kind: rank for rank, kind in enumerate(get_args(EvidenceKind))}


class Evidence(Record):
    """One figure and what it rests on. `seconds` is of one call, with its interval where known.

    `records`: how many timed calls, or users' records; `reports`: how many reports they come from.
    `energy_j` is of one call, where it was measured. `limited`: on a card whose power limit was
    lowered. `source`: report, publication or fit.
    """

    kind: EvidenceKind
    card: str
    workload: Workload
    seconds: float
    seconds_low: float | None = None
    seconds_high: float | None = None
    records: int | None = None
    reports: int | None = None
    energy_j: float | None = None
    limited: bool = False
    source: str


def ranked(evidence: Iterable[Evidence]) -> tuple[Evidence, ...]:
    """Return evidence, best first: by kind, then by how many measurements it rests on.

    What was measured at a lowered power limit goes after the others of its kind.
    """
    return tuple(
        sorted(evidence, key=lambda one: (RANKS[one.kind], one.limited, -(one.records or 0)))
    )


def published_evidence(card: Card, workload: Workload) -> tuple[Evidence, ...]:
    """Return what is published for exactly this workload, whole calls by plain PyTorch only.

    A web UI is no plain PyTorch: it launches slower and saves each picture. The sampler may differ,
    so long as it calls the network as often.
    """
    same = ("model", "width", "height", "batch", "precision", "guided", "calls")
    return tuple(
        Evidence(
            kind="published",
            card=card.name,
            workload=row.workload,
            seconds=row.workload.batch * row.workload.steps / row.image_steps_per_s,
            records=row.records,
            source=f"{row.source}: {row.source_locator}",
        )
        for row in published_speeds()
        if row.card.name == card.name
        and row.software.name == "eager"
        and not row.software.web_ui
        and not row.loop_only
        and enough_records(row)
        and all(getattr(row.workload, name) == getattr(workload, name) for name in same)
    )


def predicted_evidence(prediction: Prediction) -> Evidence:
    """Return a prediction as evidence, the least of it."""
    return Evidence(
        kind="predicted",
        card=prediction.card,
        workload=prediction.workload,
        seconds=prediction.seconds,
        seconds_low=prediction.seconds_low,
        seconds_high=prediction.seconds_high,
        source=prediction.basis,
    )
