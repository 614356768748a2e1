"""The doctor's checks of what a scorer found: what no pictures can have given.

Checks of single cells, as in `plausible.py`: each says what is wrong with one, "" where nothing is.
"""

from __future__ import annotations

from collections.abc import Iterator

from diffusion_bench.records import Estimate, Quality, Share, VoiceRequest
from diffusion_bench.records.quality import AUTO_SCORER
from diffusion_bench.reports.quality import ESTIMATES, SHARES
from diffusion_bench.reports.schema import Cell, Header

# Cosines, one minus a cosine, and a distance, which rounding may put a little below zero.
RANGES = {"caption_score": (-1.0, 1.0), "diversity": (0.0, 2.0), "frechet": (0.0, float("inf"))}
ROUNDING = 1e-3


def impossible_quality(cell: Cell, header: Header) -> str:
    """Find figures outside of their range or interval, or of more pictures than were drawn."""
    return next(_impossible(cell.quality), "") if cell.quality else ""


def unplanned_quality(cell: Cell, header: Header) -> str:
    """Find figures of other pictures, or by another scorer, than the plan asks for."""
    plan, found = header.plan.quality, cell.quality
    if found is None:
        return ""
    if plan is None:
        return "the plan asks for none"
    fewer = found.pictures < plan.pictures and "pictures" in found.missing
    if found.pictures != plan.pictures and not fewer:
        return f"{found.pictures} pictures, planned {plan.pictures}"
    if found.prompts != plan.prompts:
        return f"of each {found.prompts}, planned of each {plan.prompts}"
    if plan.scorer not in (AUTO_SCORER, found.scorer):
        return f"by {found.scorer!r:.60}, planned by {plan.scorer!r:.60}"
    return ""


def unexplained_quality(cell: Cell, header: Header) -> str:
    """Find quality, or a figure of it, that is absent without a reason."""
    if cell.quality is not None:
        names = (*SHARES, *ESTIMATES)
        absent = [name for name in names if getattr(cell.quality, name) is None]
        return ", ".join(name for name in absent if name not in cell.quality.missing)
    done = cell.status == "ok" and cell.stop_reason is not None
    asked = header.plan.quality is not None and not isinstance(cell.request, VoiceRequest)
    return "all of it" if done and asked and "quality" not in cell.missing else ""


def _impossible(quality: Quality) -> Iterator[str]:
    for name in (*SHARES, *ESTIMATES):
        figure: Share | Estimate | None = getattr(quality, name)
        if figure is None:
            continue
        if figure.n > quality.pictures:
            yield f"{name} of {figure.n} pictures, and {quality.pictures} were drawn"
        if isinstance(figure, Share):
            continue
        slack = ROUNDING * max(1.0, abs(figure.value))
        if not figure.low - slack <= figure.value <= figure.high + slack:
            between = f"{figure.low:.4g} to {figure.high:.4g}"
            yield f"{name} {figure.value:.4g} outside of its own interval, {between}"
        least, most = RANGES[name]
        if not least - ROUNDING <= figure.value <= most + ROUNDING:
            yield f"{name} {figure.value:.4g}, which is no value of it"
