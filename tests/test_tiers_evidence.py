"""Evidence is ranked, and kinds are never mixed."""

from __future__ import annotations

import pytest

import diffusion_bench.tiers.evidence
from diffusion_bench.charts.tiers.measured import Findings
from diffusion_bench.charts.tiers.numbers import alone_on
from diffusion_bench.tiers.cards import find_card
from diffusion_bench.tiers.evidence import (
    Evidence,
    EvidenceKind,
    predicted_evidence,
    published_evidence,
    ranked,
)
from diffusion_bench.tiers.predict import predict
from diffusion_bench.tiers.published import MIN_RECORDS, published_speeds
from diffusion_bench.tiers.workload import Workload

SD15 = Workload(model="sd15", batch=4, steps=20)
BY_DIFFUSERS = Workload(model="sd15", batch=4, steps=50)  # published, on an RTX 4090
RATE = 53.191  # of it, in image-steps a second
RTX_4090 = find_card("RTX 4090").card


def evidence(kind: EvidenceKind, seconds: float = 1.0, records: int | None = None) -> Evidence:
    return Evidence(
        kind=kind, card="RTX 4090", workload=SD15, seconds=seconds, records=records, source="s"
    )


def test_what_was_measured_here_comes_first_whatever_the_others_say() -> None:
    kinds: list[EvidenceKind] = ["predicted", "published", "measured here", "imported report"]
    order = ["measured here", "imported report", "published", "predicted"]
    assert [one.kind for one in ranked(evidence(kind) for kind in kinds)] == order
    outvoted = ranked([evidence("published", records=700), evidence("imported report", records=1)])
    assert outvoted[0].kind == "imported report"


def test_among_equals_more_records_come_first() -> None:
    found = ranked([evidence("published", 1.0, 5), evidence("published", 2.0, 90)])
    assert [one.records for one in found] == [90, 5]


def test_a_lowered_power_limit_goes_after_the_others_of_its_kind() -> None:
    """A 3090 at 200 W, measured 30 times, stood for the card before one at 350 W."""
    lowered = evidence("imported report", 12.0, 30).model_copy(update={"limited": True})
    usual, published = evidence("imported report", 9.0, 10), evidence("published", 9.0, 90)
    assert ranked([lowered, published, usual]) == (usual, lowered, published)


def test_published_evidence_is_of_the_very_workload_and_names_its_source() -> None:
    assert RTX_4090 is not None
    (found,) = published_evidence(RTX_4090, BY_DIFFUSERS)
    assert found.seconds == pytest.approx(200 / RATE)
    assert found.records is None
    assert found.source.startswith("Hugging Face diffusers docs, Torch2.0 support: huggingface/")
    for other in ({"batch": 5}, {"steps": 51}, {"width": 520}, {"guided": False}):
        assert published_evidence(RTX_4090, BY_DIFFUSERS.model_copy(update=other)) == ()
    other_card = find_card("RTX 5090").card
    assert other_card is not None
    assert published_evidence(other_card, BY_DIFFUSERS) == ()


def test_no_web_ui_is_evidence_for_plain_pytorch() -> None:
    """Their users' machines take half again as long, and would outrank a prediction."""
    web_uis = [row for row in published_speeds() if row.software.web_ui and not row.loop_only]
    assert len(web_uis) >= 100
    for row in web_uis:
        shown = published_evidence(row.card, row.workload)
        assert not any(row.source in one.source for one in shown), row
    assert RTX_4090 is not None
    assert alone_on(RTX_4090, SD15, Findings()).evidence[0].kind == "predicted"


def test_a_median_of_too_few_records_is_no_evidence(monkeypatch) -> None:
    assert RTX_4090 is not None
    (row,) = [row for row in published_speeds() if row.image_steps_per_s == RATE]
    for records, shown in ((MIN_RECORDS - 1, 0), (MIN_RECORDS, 1)):
        rows = (row.model_copy(update={"records": records}),)
        monkeypatch.setattr(
            diffusion_bench.tiers.evidence, "published_speeds", lambda rows=rows: rows
        )
        assert len(published_evidence(RTX_4090, BY_DIFFUSERS)) == shown


def test_a_prediction_as_evidence_keeps_its_interval_and_its_basis() -> None:
    assert RTX_4090 is not None
    prediction = predict(RTX_4090, SD15)
    found = predicted_evidence(prediction)
    assert found.kind == "predicted"
    assert (found.seconds_low, found.seconds_high) == (
        prediction.seconds_low,
        prediction.seconds_high,
    )
    assert found.source == prediction.basis
