"""What was found in a cell's pictures or speech: figures with intervals, and in words."""

from __future__ import annotations

from typing import NamedTuple

from diffusion_bench.records import AnyQuality, Estimate, Share
from diffusion_bench.reports.intervals import wilson_interval

SHARES = {
    **{name: name for name in ("objects", "background", "relation", "count")},
    "unwarned": "without a warning",
}
# Words and unit; `{steps}` are those that the speech was compared with.
ESTIMATES = {
    "frechet": ("Frechet", ""),
    "diversity": ("diversity", ""),
    "caption_score": ("caption score", ""),
    "timbre_similarity": ("timbre similarity", ""),
    "pitch_error_semitones": ("pitch error", " semitones"),
    "mel_distance_db": ("mel distance from {steps} steps", " dB"),
    "seeds_apart_db": ("of two seeds", " dB"),
}
PARTS = ("value", "low", "high", "n")
# How it was judged: of pictures, then of speech.
HOW = ("pictures", "prompts", "scorer", "scorer_digest", "reference", "candidates", "against_steps")


class Figure(NamedTuple):
    """A figure, its 95 percent interval, and the number of pictures or candidates it is of."""

    value: float
    low: float
    high: float
    n: int


def figures_in(quality: AnyQuality) -> dict[str, Share | Estimate | None]:
    """Return every figure that its kind can have, by name."""
    names = [name for name in (*SHARES, *ESTIMATES) if name in type(quality).model_fields]
    return {name: getattr(quality, name) for name in names}


def figure_of(found: Share | Estimate | None) -> Figure | None:
    """Return a share with Wilson's interval, or an estimate with the one it came with."""
    if found is None:
        return None
    if isinstance(found, Share):
        interval = wilson_interval(found.right, found.n)
        return Figure(found.share, interval.low, interval.high, found.n)
    return Figure(found.value, found.low, found.high, found.n)


def quality_row(quality: AnyQuality | None) -> dict[str, str | float | int | None]:
    """Return flat columns: the whole in words, then every figure, its interval and its number."""
    row: dict[str, str | float | int | None] = {"quality": in_words(quality) if quality else None}
    found = figures_in(quality) if quality else {}
    for name in (*SHARES, *ESTIMATES):
        figure = figure_of(found.get(name))
        for part in PARTS:
            key = f"quality_{name}" if part == "value" else f"quality_{name}_{part}"
            row[key] = getattr(figure, part) if figure else None
    row |= {f"quality_{name}": getattr(quality, name, None) for name in HOW}
    return row | {"quality_missing": _missing(quality) if quality else None}


def in_words(quality: AnyQuality) -> str:
    """Return every figure with its interval and number of pictures, in one line.

    Behind them why there are fewer pictures than planned, where there are.
    """
    parts = []
    for name, found in figures_in(quality).items():
        if (figure := figure_of(found)) is None:
            continue
        if name in SHARES:
            share, low, high = (f"{100 * value:.0f}" for value in figure[:3])
            parts.append(f"{SHARES[name]} {share}% ({low} to {high}, n {figure.n})")
        else:
            words, unit = ESTIMATES[name]
            words = words.format(steps=getattr(quality, "against_steps", None))
            value, low, high = (f"{each:.3g}" for each in figure[:3])
            parts.append(f"{words} {value}{unit} ({low} to {high}, n {figure.n})")
    return "; ".join(filter(None, (*parts, quality.missing.get("pictures"))))


def _missing(quality: AnyQuality) -> str:
    return "; ".join(f"{name}: {reason}" for name, reason in quality.missing.items())
