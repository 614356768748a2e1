"""Predictions of rows left out of the fit, and the spreads of what is left over.

Errors are |predicted / actual - 1|. A ratio of two cards' speeds in one configuration of one
source is predicted by a fit that has not seen one of the two cards, or has not seen the source.
The naive rule, the root of FP32 ratio x bandwidth ratio, is scored on the same rows.
"""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import combinations
from typing import Any, NamedTuple

import numpy as np

from diffusion_bench.tiers.calibrate import CardSpreads, Spreads, is_compared
from diffusion_bench.tiers.cards import Card, is_geforce
from diffusion_bench.tiers.fit import (
    Vector,
    columns_of,
    fit_rows,
    log_speeds,
    offset_group,
)
from diffusion_bench.tiers.predict import Z_80
from diffusion_bench.tiers.published import MIN_RECORDS, PublishedSpeed, enough_records

NOISE_OF_REPEATS = 0.02


class Ratio(NamedTuple):
    """One pair of cards in one configuration: logarithms of the speed of `a` over that of `b`."""

    left_out: str
    a: PublishedSpeed
    b: PublishedSpeed
    actual: float
    predicted: float
    naive: float


class Speed(NamedTuple):
    """One row: logarithms of its speed, measured and by a fit that has not seen its source."""

    row: PublishedSpeed
    actual: float
    predicted: float


class LeftOut:
    """Rows, and their speeds as fits tell them that have not seen the rows of one key.

    `key` says what is left out, a card's name or a source. Each fit is made once, when asked for.
    """

    def __init__(
        self, rows: Sequence[PublishedSpeed], key: Callable[[PublishedSpeed], str]
    ) -> None:
        self.rows, self.columns = rows, columns_of(rows)
        self.keys = [key(row) for row in rows]
        self._predicted: dict[str, Vector] = {}

    def predicted(self, left_out: str) -> Vector:
        """Return the logarithm of each row's speed by a fit without the rows of a key."""
        if left_out not in self._predicted:
            seen = self.columns.only(np.array([key != left_out for key in self.keys]))
            self._predicted[left_out] = log_speeds(self.columns, fit_rows(seen))
        return self._predicted[left_out]


def fitted_rows(rows: Iterable[PublishedSpeed]) -> list[PublishedSpeed]:
    """Return the rows the fit takes: tables' own measurements, and medians of enough records."""
    return [row for row in rows if enough_records(row)]


def ratio_pairs(rows: Sequence[PublishedSpeed]) -> list[tuple[int, int]]:
    """Return the pairs of rows whose ratio is scored, by their places.

    Two GeForce cards of the 30, 40 or 50 series in one configuration; batch 4 or more, or a model
    of SDXL's size or larger; a source with at least 5 rows.
    """
    sizes = Counter(row.group for row in rows)
    by_configuration = defaultdict(list)
    for place, row in enumerate(rows):
        if is_compared(row.card.name, row.workload) and sizes[row.group] >= MIN_RECORDS:
            by_configuration[row.configuration].append(place)
    return [
        pair
        for places in by_configuration.values()
        for pair in combinations(places, 2)
        if rows[pair[0]].card != rows[pair[1]].card
    ]


def naive_log_ratio(a: Card, b: Card) -> float:
    """Return the logarithm of sqrt(FP32 ratio x bandwidth ratio)."""
    product = a.fp32_tflops * a.bandwidth_gbs / (b.fp32_tflops * b.bandwidth_gbs)
    return math.log(product) / 2


def ratios_left_out(without: LeftOut) -> list[Ratio]:
    """Return each scored ratio as predicted without the rows that share its card or source.

    A pair of two keys is scored twice.
    """
    rows, keys, speeds = without.rows, without.keys, without.columns.log_speed
    pairs = ratio_pairs(rows)
    found = []
    for left_out in sorted({keys[place] for pair in pairs for place in pair}):
        predicted = without.predicted(left_out)
        for i, j in pairs:
            if left_out in (keys[i], keys[j]):
                actual, ours = float(speeds[i] - speeds[j]), float(predicted[i] - predicted[j])
                naive = naive_log_ratio(rows[i].card, rows[j].card)
                found.append(Ratio(left_out, rows[i], rows[j], actual, ours, naive))
    return found


def speeds_left_out(without: LeftOut) -> list[Speed]:
    """Return the speed of each row as predicted from specifications, without its source."""
    found = []
    for left_out in sorted(set(without.keys)):
        predicted = without.predicted(left_out)
        found += [
            Speed(row, float(without.columns.log_speed[i]), float(predicted[i]))
            for i, row in enumerate(without.rows)
            if without.keys[i] == left_out
        ]
    return found


def spreads_of(speeds: Sequence[Speed]) -> Spreads:
    """Return what the residuals of speeds left out share, by level, each from its 80th percentile.

    A residual is its source's, plus its card's in that source, plus its workload's on that card;
    the last is in part shared by the other cards of the configuration. GeForce and other cards
    have one spread: what was published of both differs by less than either's few cards can tell.
    """
    rows = {i: speed.predicted - speed.actual for i, speed in enumerate(speeds)}
    card_of = {i: (offset_group(s.row), s.row.card.name) for i, s in enumerate(speeds)}
    cards = _means(rows, card_of)
    source_of = {card: card[0] for card in cards}
    off = _deviations(rows, card_of)
    configuration_of = {i: speeds[i].row.configuration for i in off}
    sources, shared = _means(cards, source_of), _means(off, configuration_of)
    # Of cards of one kind: how far GeForce cards lie from an A100 says nothing of how far apart.
    of_cards = _deviations(cards, {card: (card[0], is_geforce(card[1])) for card in cards})
    kind_of = {i: (configuration_of[i], is_geforce(card_of[i][1])) for i in off}
    of_rows = _deviations(off, kind_of)
    card = _spread_of_cards((group[0], name, value) for (group, name), value in of_cards.items())

    def own(geforce: bool) -> CardSpreads:
        mine = (v for i, v in of_rows.items() if is_geforce(card_of[i][1]) == geforce)
        return CardSpreads(card=card, workload=_spread(mine))

    return Spreads(
        source=_spread(sources[card[0]] for card in card_of.values()),
        workload=_spread(shared[configuration_of[i]] for i in off),
        geforce=own(True),
        others=own(False),
        ratio=_spread_of_cards(_apart_in_ratios(speeds)),
        noise=NOISE_OF_REPEATS,
    )


def _apart_in_ratios(speeds: Sequence[Speed]) -> Iterator[tuple[str, str, float]]:
    """Yield source, card and how far its residual is from the others' of its configuration."""
    compared = [one for one in speeds if is_compared(one.row.card.name, one.row.workload)]
    residuals = {i: one.predicted - one.actual for i, one in enumerate(compared)}
    apart = _deviations(residuals, {i: s.row.configuration for i, s in enumerate(compared)})
    for i, value in apart.items():
        yield compared[i].row.group, compared[i].row.card.name, value


def _spread_of_cards(values: Iterable[tuple[str, str, float]]) -> float:
    """Return the spread of cards from sources, cards and deviations, wider the fewer cards it has.

    A card of a source counts once: whatever was run on it, it is one machine, or one median.
    """
    by_card = defaultdict(list)
    for source, name, value in values:
        by_card[source, name].append(value)
    means = {(source, is_geforce(name)) for source, name in by_card}
    freedom = max(len(by_card) - len(means), 1)
    each = [math.sqrt(np.mean(np.square(found))) for found in by_card.values()]
    return round(_spread(each) * student_80(freedom) / Z_80, 4)


def student_80(freedom: int) -> float:
    """Return how many standard errors hold 80 percent, by Fisher's expansion of Student's t."""
    z = Z_80
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + (z**3 + z) / 4 / freedom + second / freedom**2


def _means(values: Mapping[Any, float], parent: Mapping[Any, Any]) -> dict[Any, float]:
    """Return the mean of the values of each parent."""
    by_parent = defaultdict(list)
    for key, value in values.items():
        by_parent[parent[key]].append(value)
    return {key: float(np.mean(each)) for key, each in by_parent.items()}


def _deviations(values: Mapping[Any, float], parent: Mapping[Any, Any]) -> dict[Any, float]:
    """Return how far values are from their parent's mean, where it has another; unbiased."""
    means, sizes = _means(values, parent), Counter(parent[key] for key in values)
    return {
        key: (value - means[parent[key]]) * math.sqrt(n / (n - 1))
        for key, value in values.items()
        if (n := sizes[parent[key]]) > 1
    }


def _spread(values: Iterable[float]) -> float:
    """Return the standard deviation of the normal distribution with the same 80th percentile."""
    found = np.abs(list(values))
    return round(float(np.quantile(found, 0.8)) / Z_80, 4) if len(found) else 0.0


def errors(actual: Iterable[float], predicted: Iterable[float]) -> Vector:
    """Return |predicted / actual - 1| from logarithms."""
    difference = np.array(list(predicted)) - np.array(list(actual))
    return np.asarray(np.abs(np.exp(difference) - 1))
