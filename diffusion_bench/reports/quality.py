"""What a scorer found in a cell's pictures, as figures with their intervals and in words."""

from __future__ import annotations

from typing import NamedTuple

from diffusion_bench.records import Estimate, Quality, Share
from diffusion_bench.reports.intervals import wilson_interval

SHARES = ("objects", "background", "relation", "count")
ESTIMATES = {"frechet": "Frechet", "diversity": "diversity", "caption_score": "caption score"}
PARTS = ("value", "low", "high", "n")


class Figure(NamedTuple):
    """A figure, its 95 percent interval, and the number of pictures it is of."""

    value: float
    low: float
    high: float
    n: int


def figure_of(found: Share | Estimate | None) -> Figure | None:
    """Return a share with Wilson's interval, or an estimate with the one it came with."""
    if found is None:
        return None
    if isinstance(found, Share):
        interval = wilson_interval(found.right, found.n)
        return Figure(found.share, interval.low, interval.high, found.n)
    return Figure(found.value, found.low, found.high, found.n)


def quality_row(quality: Quality | None) -> dict[str, str | float | int | None]:
    """Return flat columns: the whole in words, then every figure, its interval and its number."""
    row: dict[str, str | float | int | None] = {"quality": in_words(quality) if quality else None}
    for name in (*SHARES, *ESTIMATES):
        figure = figure_of(getattr(quality, name)) if quality else None
        for part in PARTS:
            key = f"quality_{name}" if part == "value" else f"quality_{name}_{part}"
            row[key] = getattr(figure, part) if figure else None
    return row | {
        "quality_pictures": quality.pictures if quality else None,
        "quality_prompts": quality.prompts if quality else None,
        "quality_scorer": quality.scorer if quality else None,
        "quality_scorer_digest": quality.scorer_digest if quality else None,
        "quality_reference": quality.reference if quality else None,
        "quality_missing": _missing(quality) if quality else None,
    }


def in_words(quality: Quality) -> str:
    """Return every figure with its interval and number of pictures, in one line.

    Behind them why there are fewer pictures than planned, where there are.
    """
    parts = []
    for name in SHARES:
        if figure := figure_of(getattr(quality, name)):
            share, low, high = (f"{100 * value:.0f}" for value in figure[:3])
            parts.append(f"{name} {share}% ({low} to {high}, n {figure.n})")
    for name, words in ESTIMATES.items():
        if figure := figure_of(getattr(quality, name)):
            value, low, high = (f"{each:.3g}" for each in figure[:3])
            parts.append(f"{words} {value} ({low} to {high}, n {figure.n})")
    return "; ".join(filter(None, (*parts, quality.missing.get("pictures"))))


def _missing(quality: Quality) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in quality.missing.items())
