"""The ratio of two sets of times: exact for few samples, right as often as it says."""

from __future__ import annotations

import itertools
import math
import random

import pytest

from diffusion_bench.reports.shift import misses, ratio_of_intervals, ratio_of_samples


def share_left_out(n: int, m: int, k: int) -> float:
    """Return 2 P(U < k), by trying every order of n and m samples."""
    orders = list(itertools.combinations(range(n + m), n))
    ranked = [sum(place) - n * (n - 1) // 2 for place in orders]
    return 2 * sum(u < k for u in ranked) / len(orders)


@pytest.mark.parametrize("sizes", [(3, 3), (4, 4), (3, 6), (5, 5), (6, 4), (7, 7)])
@pytest.mark.parametrize("share", [0.05, 0.10])
def test_the_interval_leaves_out_the_most_that_the_confidence_allows(sizes, share):
    k = misses(sizes, share)
    if k is None:
        assert share_left_out(*sizes, 1) > share
    else:
        assert share_left_out(*sizes, k) <= share < share_left_out(*sizes, k + 1)


def test_many_samples_agree_with_the_exact_count():
    exact, normal = misses((50, 50), 0.05), misses((51, 51), 0.05)
    assert exact
    assert normal
    assert exact / 2500 == pytest.approx(normal / 2601, abs=0.005)


def test_the_interval_covers_the_true_ratio_95_times_in_100():
    rng, hits, tries = random.Random(3), 0, 600
    for _ in range(tries):
        old = [math.exp(rng.gauss(0, 0.05)) for _ in range(7)]
        new = [1.2 * math.exp(rng.gauss(0, 0.05)) for _ in range(7)]
        found = ratio_of_samples(old, new)
        assert found.low
        assert found.high
        hits += found.low <= 1.2 <= found.high
    assert 0.93 <= hits / tries <= 0.985


def test_one_interrupted_call_does_not_move_the_ratio():
    old = [1.0, 1.01, 0.99, 1.0, 1.02]
    assert ratio_of_samples(old, [*old[:4], 30.0]).middle == pytest.approx(1.0, abs=0.02)


def test_thousands_of_samples_are_thinned_and_not_multiplied_out():
    drifting = [1.0 + index / 1e4 for index in range(10_000)]
    found = ratio_of_samples([1.0] * 10_000, drifting)
    assert found.middle == pytest.approx(1.5, abs=0.01), "of the whole run, not of its beginning"


def test_independent_intervals_add_in_squares_and_none_reaches_nothing():
    found = ratio_of_intervals((0.97, 1.0, 1.03), (1.94, 2.0, 2.06))
    assert found
    assert found.low
    assert found.high
    assert found.middle == 2.0
    assert found.high / 2 == pytest.approx(1.0427, abs=0.002)
    assert found.low / 2 == pytest.approx(0.9577, abs=0.002)
    assert ratio_of_intervals((0.0, 1.0, 2.0), (1.0, 1.0, 1.0)) is None


@pytest.mark.parametrize(
    ("old", "new", "low", "high"),
    [
        ((0.9, 1.0, 1.02), (2.0, 2.0, 2.0), 2 / 1.02, 2 / 0.9),
        ((1.0, 1.0, 1.0), (1.96, 2.0, 2.2), 1.96, 2.2),
    ],
)
def test_a_baseline_that_may_be_shorter_makes_the_ratio_larger(old, new, low, high):
    found = ratio_of_intervals(old, new)
    assert found
    assert (found.low, found.high) == (pytest.approx(low), pytest.approx(high))
    assert (found.same_low, found.same_high) == (found.low, found.high), "no narrower"
