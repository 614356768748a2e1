"""How wrong predictions are on rows left out of the fit: the errors stated in efficiency.toml."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from diffusion_bench.tiers.calibrate import Residual, Spreads, correct
from diffusion_bench.tiers.efficiency import Score
from diffusion_bench.tiers.heldout import Ratio, Speed, errors, spreads_of
from diffusion_bench.tiers.predict import Z_80
from diffusion_bench.tiers.published import PublishedSpeed

ABSOLUTE_MODELS = ("sd15", "sdxl")


def score_ratios(
    ratios: Sequence[Ratio], speeds: Sequence[Speed], *, without_source: bool = False
) -> Score:
    """Return the score of ratios left out; `speeds` give intervals, which have not seen the cards.

    Nor the source, where it is to be without.
    """
    ours = errors([r.actual for r in ratios], [r.predicted for r in ratios])
    naive = errors([r.actual for r in ratios], [r.naive for r in ratios])
    spreads = _spreads_elsewhere(speeds) if without_source else _spreads_of_other_cards(speeds)
    inside = [
        _ratio_inside(ratio, spreads[one.group if without_source else one.card.name])
        for ratio in ratios
        for one in (ratio.a, ratio.b)
    ]
    return Score(
        median=_rounded(np.median(ours)),
        p90=_rounded(np.quantile(ours, 0.9)),
        n=len(ratios),
        naive_median=_rounded(np.median(naive)),
        naive_p90=_rounded(np.quantile(naive, 0.9)),
        coverage=_rounded(np.mean(inside)),
    )


def score_absolute(speeds: Sequence[Speed]) -> Score:
    """Return the score of speeds from specifications alone: SD 1.5 and SDXL, fp16."""
    spreads = _spreads_elsewhere(speeds)
    asked = [speed for speed in speeds if _is_asked(speed.row)]
    off = [speed.predicted - speed.actual for speed in asked]
    widths = [Z_80 * spreads[speed.row.group].total(speed.row.card.name) for speed in asked]
    return _score(off, widths)


def score_after_one(speeds: Sequence[Speed]) -> Score:
    """Return the score of speeds after one report of another card in the same configuration.

    The speeds have not seen their source, the intervals not the card. They must have seen users'
    machines, which differ by more than one laboratory's; only one source is of those, so that
    intervals without it hold less (`after_one_without_source`).
    """
    return _after_one(speeds, _spreads_of_other_cards(speeds), lambda row: row.card.name)


def after_one_without_source(speeds: Sequence[Speed]) -> Score:
    """Return the same score with intervals that have not seen the source either."""
    return _after_one(speeds, _spreads_elsewhere(speeds), lambda row: row.group)


def _after_one(
    speeds: Sequence[Speed],
    spreads: Mapping[str, Spreads],
    key: Callable[[PublishedSpeed], str],
) -> Score:
    by_configuration = defaultdict(list)
    for speed in speeds:
        by_configuration[speed.row.configuration].append(speed)
    off, widths = [], []
    for speed in speeds:
        for other in by_configuration[speed.row.configuration]:
            if other.row.card == speed.row.card or not _is_asked(speed.row):
                continue
            told = [_residual(other)]
            spread = spreads[key(speed.row)]
            learnt = correct(speed.row.card.name, speed.row.workload, told, spread)
            off.append(speed.predicted - learnt.log_ratio - speed.actual)
            widths.append(Z_80 * learnt.spread)
    return _score(off, widths)


def score_other_cells(speeds: Sequence[Speed]) -> Score:
    """Return the score of a card's cells from its other cells in the same source and software."""
    spreads = _spreads_elsewhere(speeds)
    by_card = defaultdict(list)
    for speed in speeds:
        row = speed.row
        by_card[
            (row.configuration.replace(f"| {row.workload.batch} |", "|"), row.card.name)
        ].append(speed)
    off, widths = [], []
    for cells in by_card.values():
        for cell in cells:
            told = [_residual(one) for one in cells if one is not cell]
            if told and _is_asked(cell.row):
                spread = spreads[cell.row.group]
                learnt = correct(cell.row.card.name, cell.row.workload, told, spread)
                off.append(cell.predicted - learnt.log_ratio - cell.actual)
                widths.append(Z_80 * learnt.spread)
    return _score(off, widths)


def _residual(speed: Speed) -> Residual:
    """Return a row as a measurement: how much longer it took than predicted."""
    row = speed.row
    return Residual(
        card=row.card.name, workload=row.workload, log_ratio=speed.predicted - speed.actual
    )


def _is_asked(row: PublishedSpeed) -> bool:
    return row.workload.model in ABSOLUTE_MODELS and row.workload.precision == "fp16"


def _score(off: Sequence[float], widths: Sequence[float]) -> Score:
    wrong = errors([0.0] * len(off), off)
    inside = np.abs(off) <= np.array(widths)
    return Score(
        median=_rounded(np.median(wrong)),
        p90=_rounded(np.quantile(wrong, 0.9)),
        n=len(off),
        coverage=_rounded(np.mean(inside)),
    )


def _spreads_elsewhere(speeds: Sequence[Speed]) -> dict[str, Spreads]:
    """Return the spreads for each source, from the other sources' residuals."""
    return {
        source: spreads_of([speed for speed in speeds if speed.row.group != source])
        for source in {speed.row.group for speed in speeds}
    }


def _spreads_of_other_cards(speeds: Sequence[Speed]) -> dict[str, Spreads]:
    """Return the spreads for each card, from the other cards' residuals."""
    return {
        card: spreads_of([speed for speed in speeds if speed.row.card.name != card])
        for card in {speed.row.card.name for speed in speeds}
    }


def _ratio_inside(ratio: Ratio, spreads: Spreads) -> bool:
    """Return whether a ratio lies in its interval: what two cards of a source do not share."""
    apart = spreads.in_ratio(ratio.a.card.name, ratio.a.workload) * math.sqrt(2)
    return abs(ratio.predicted - ratio.actual) <= Z_80 * apart


def _rounded(value: float | np.floating) -> float:
    return round(float(value), 4)
