"""The doctor on quality: silent on what a scorer finds, one finding for what none can find."""

from __future__ import annotations

from typing import Any

import pytest
from fakes import make_cell, make_quality, make_report, make_spoken_cell, make_voice_quality

from diffusion_bench.records import (
    Estimate,
    Quality,
    QualityPlan,
    Share,
    VoiceQuality,
    VoiceQualityPlan,
)
from diffusion_bench.reports.doctor import examine_report
from diffusion_bench.reports.schema import Report

PLAN = QualityPlan(pictures=100, prompts="captions")
ABOUT_QUALITY = ("quality", "scorer")


def report_of(*found: Quality | None, plan: QualityPlan | None = PLAN, **cell: Any) -> Report:
    cells = [
        make_cell(steps=10 + number).model_copy(update={"quality": quality, **cell})
        for number, quality in enumerate(found)
    ]
    report = make_report(*cells)
    asked = report.header.plan.model_copy(update={"quality": plan})
    return report.model_copy(update={"header": report.header.model_copy(update={"plan": asked})})


def said(report: Report) -> list[tuple[str, str, str]]:
    return [
        (finding.level, finding.title, finding.detail)
        for finding in examine_report(report)
        if any(word in finding.title for word in ABOUT_QUALITY)
    ]


def changed(**changes: Any) -> Quality:
    return make_quality().model_copy(update=changes)


def estimate(value: float, low: float, high: float, n: int = 100) -> Estimate:
    return Estimate(value=value, low=low, high=high, n=n)


def test_what_a_scorer_finds_has_nothing_against_it() -> None:
    assert said(report_of(make_quality(), make_quality())) == []
    # A distance that rounding put below zero, and a constant figure.
    near = changed(frechet=estimate(-1e-6, -1e-6, 0.0), caption_score=estimate(1.0, 1.0, 1.0))
    assert said(report_of(near)) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"frechet": estimate(9.0, 11.0, 14.0)}, "frechet 9 outside of its own interval, 11 to 14"),
        ({"caption_score": estimate(1.2, 1.1, 1.3)}, "caption_score 1.2, which is no value of it"),
        ({"diversity": estimate(-0.5, -0.6, 0.0)}, "diversity -0.5, which is no value of it"),
        ({"frechet": estimate(-3.0, -4.0, 1.0)}, "frechet -3, which is no value of it"),
        ({"objects": Share(right=1, n=101)}, "objects of 101 pictures, and 100 were drawn"),
        ({"frechet": estimate(12.0, 11.0, 14.0, 101)}, "frechet of 101 pictures, and 100"),
    ],
)
def test_a_figure_that_no_pictures_give_is_a_problem(change: dict[str, Any], says: str) -> None:
    ((level, title, detail),) = said(report_of(changed(**change)))
    assert (level, title) == ("problem", "figures of quality that cannot be")
    assert says in detail


@pytest.mark.parametrize(
    ("plan", "says"),
    [
        (None, "the plan asks for none"),
        (PLAN.model_copy(update={"pictures": 64}), "100 pictures, planned 64"),
        (PLAN.model_copy(update={"prompts": "prompt"}), "of each captions, planned of each prompt"),
        (PLAN.model_copy(update={"scorer": "other"}), "by 'scorer', planned by 'other'"),
    ],
)
def test_figures_that_the_plan_did_not_ask_for_are_a_problem(
    plan: QualityPlan | None, says: str
) -> None:
    ((level, title, detail),) = said(report_of(make_quality(), plan=plan))
    assert (level, title) == ("problem", "quality that is not the plan's")
    assert says in detail


def test_a_figure_that_is_absent_needs_a_reason() -> None:
    ((level, _, detail),) = said(report_of(changed(missing={"count": "nothing to count"})))
    assert level == "note"
    assert detail.endswith(": diversity")
    stopped = {"stop_reason": "fixed count"}
    ((_, _, detail),) = said(report_of(None, **stopped))
    assert detail.endswith(": all of it")
    assert said(report_of(None, **stopped, missing={"quality": "no scorer"})) == []
    assert said(report_of(None, plan=None, **stopped)) == []
    assert said(report_of(None, stop_reason=None)) == []  # more calls, then pictures


def test_two_versions_of_one_scorer_are_warned_of() -> None:
    other = changed(scorer_digest="sha256:01")
    ((level, title, detail),) = said(report_of(make_quality(), other))
    assert level == "warning"
    assert title == "2 versions of the scorer 'scorer' judged the pictures"
    assert "sha256:00" in detail
    # Another scorer for another model is as it should be.
    assert said(report_of(make_quality(), changed(scorer="clip", scorer_digest="x"))) == []


VOICE_PLAN = VoiceQualityPlan(candidates=8, against_steps=100)


def spoken(
    quality: VoiceQuality | None,
    plan: QualityPlan | VoiceQualityPlan = VOICE_PLAN,
    **cell: Any,
) -> list[tuple[str, str, str]]:
    report = make_report(make_spoken_cell().model_copy(update={"quality": quality, **cell}))
    asked = report.header.plan.model_copy(update={"quality": plan})
    return said(
        report.model_copy(update={"header": report.header.model_copy(update={"plan": asked})})
    )


def test_what_is_measured_of_speech_has_nothing_against_it() -> None:
    assert spoken(make_voice_quality()) == []
    assert spoken(None, stop_reason=None) == []


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"timbre_similarity": estimate(1.2, 1.1, 1.3, 8)}, "timbre_similarity 1.2, which is no"),
        ({"pitch_error_semitones": estimate(-2.0, -3.0, 0.0, 8)}, "-2, which is no value of it"),
        ({"mel_distance_db": estimate(0.5, 0.6, 0.7, 8)}, "outside of its own interval"),
        ({"unwarned": Share(right=9, n=9)}, "unwarned of 9 candidates, and 8 were spoken"),
        ({"candidates": 9}, "9 candidates, planned 8"),
        ({"against_steps": 50}, "against 50 steps, planned 100"),
    ],
)
def test_a_figure_that_no_speech_or_not_this_plan_gives_is_a_problem(
    change: dict[str, Any], says: str
) -> None:
    ((level, _, detail),) = spoken(make_voice_quality(**change))
    assert level == "problem"
    assert says in detail


def test_speech_that_was_judged_as_pictures_is_a_problem_and_an_absent_figure_needs_a_reason() -> (
    None
):
    ((level, _, detail),) = spoken(make_voice_quality(), plan=PLAN)
    assert level == "problem"
    assert "of speech, planned of pictures" in detail
    ((level, _, detail),) = said(report_of(make_voice_quality(), plan=VOICE_PLAN))
    assert level == "problem"
    assert "of speech in a cell of pictures" in detail
    ((level, _, detail),) = spoken(make_voice_quality(mel_distance_db=None))
    assert level == "note"
    assert detail.endswith(": mel_distance_db")
    ((_, _, detail),) = spoken(None)
    assert detail.endswith(": all of it")
