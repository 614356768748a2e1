"""The doctor's checks of what was judged: what no pictures and no speech can have given.

Checks of single cells, as in `plausible.py`: each says what is wrong with one, "" where nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator

from diffusion_bench.records import (
    AnyQuality,
    Quality,
    QualityPlan,
    Share,
    VoiceQuality,
    VoiceQualityPlan,
    VoiceRequest,
)
from diffusion_bench.records.quality import AUTO_SCORER
from diffusion_bench.reports.quality import figures_in
from diffusion_bench.reports.schema import Cell, Header

# Cosines, one minus a cosine, and distances, which rounding may put a little below zero.
DISTANCE = (0.0, float("inf"))
RANGES = {
    **dict.fromkeys(("caption_score", "timbre_similarity"), (-1.0, 1.0)),
    "diversity": (0.0, 2.0),
    **dict.fromkeys(("frechet", "pitch_error_semitones"), DISTANCE),
    **dict.fromkeys(("mel_distance_db", "seeds_apart_db"), DISTANCE),
}
ROUNDING = 1e-3


def impossible_quality(cell: Cell, header: Header) -> str:
    """Find figures outside of their range or interval, or of more than was judged."""
    return next(_impossible(cell.quality), "") if cell.quality else ""


def unplanned_quality(cell: Cell, header: Header) -> str:
    """Find figures of other pictures or speech, or by another scorer, than the plan asks for."""
    plan, found = header.plan.quality, cell.quality
    if found is None:
        return ""
    if plan is None:
        return "the plan asks for none"
    if isinstance(found, VoiceQuality) != isinstance(cell.request, VoiceRequest):
        return "of speech in a cell of pictures, or the other way round"
    if isinstance(plan, QualityPlan) and isinstance(found, Quality):
        return _other_pictures(plan, found)
    if isinstance(plan, VoiceQualityPlan) and isinstance(found, VoiceQuality):
        return _other_speech(plan, found)
    return "of speech, planned of pictures, or the other way round"


def _other_pictures(plan: QualityPlan, found: Quality) -> str:
    fewer = found.pictures < plan.pictures and "pictures" in found.missing
    if found.pictures != plan.pictures and not fewer:
        return f"{found.pictures} pictures, planned {plan.pictures}"
    if found.prompts != plan.prompts:
        return f"of each {found.prompts}, planned of each {plan.prompts}"
    if plan.scorer not in (AUTO_SCORER, found.scorer):
        return f"by {found.scorer!r:.60}, planned by {plan.scorer!r:.60}"
    return ""


def _other_speech(plan: VoiceQualityPlan, found: VoiceQuality) -> str:
    if found.candidates != plan.candidates:
        return f"{found.candidates} candidates, planned {plan.candidates}"
    if found.against_steps != plan.against_steps:
        return f"against {found.against_steps} steps, planned {plan.against_steps}"
    return ""


def unexplained_quality(cell: Cell, header: Header) -> str:
    """Find quality, or a figure of it, that is absent without a reason."""
    if cell.quality is not None:
        absent = [name for name, figure in figures_in(cell.quality).items() if figure is None]
        return ", ".join(name for name in absent if name not in cell.quality.missing)
    done = cell.status == "ok" and cell.stop_reason is not None
    asked = header.plan.quality is not None
    return "all of it" if done and asked and "quality" not in cell.missing else ""


def _impossible(quality: AnyQuality) -> Iterator[str]:
    if isinstance(quality, Quality):
        judged, what = quality.pictures, "pictures, and {} were drawn"
    else:
        judged, what = quality.candidates, "candidates, and {} were spoken"
    for name, figure in figures_in(quality).items():
        if figure is None:
            continue
        if figure.n > judged:
            yield f"{name} of {figure.n} {what.format(judged)}"
        if isinstance(figure, Share):
            continue
        slack = ROUNDING * max(1.0, abs(figure.value))
        if not figure.low - slack <= figure.value <= figure.high + slack:
            between = f"{figure.low:.4g} to {figure.high:.4g}"
            yield f"{name} {figure.value:.4g} outside of its own interval, {between}"
        least, most = RANGES[name]
        if not least - ROUNDING <= figure.value <= most + ROUNDING:
            yield f"{name} {figure.value:.4g}, which is no value of it"
