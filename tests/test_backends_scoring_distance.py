"""Distances between sets of pictures, against formulas and cases worked by hand."""

from __future__ import annotations

import math

import pytest
import torch

from diffusion_bench.backends.scoring.distance import Moments, distance_from, diversity


def gaussian(count: int, mean: list[float], deviation: list[float], seed: int) -> torch.Tensor:
    """Return samples whose mean and covariance are exactly those asked for."""
    rows = torch.randn(count, len(mean), generator=torch.Generator().manual_seed(seed)).double()
    rows = rows - rows.mean(dim=0)
    white = rows @ torch.linalg.inv(torch.linalg.cholesky(rows.T.cov())).T
    return white * torch.tensor(deviation) + torch.tensor(mean)


def frechet_distance(features: torch.Tensor, reference: torch.Tensor) -> float:
    return distance_from(Moments.of(reference, "reference"))(Moments.of(features))


def test_a_set_is_at_no_distance_from_itself() -> None:
    rows = torch.randn(50, 8, generator=torch.Generator().manual_seed(0))
    assert frechet_distance(rows, rows) == pytest.approx(0, abs=1e-6)


def test_the_distance_of_two_gaussians_is_the_formulas() -> None:
    first = gaussian(60, [0.0, 0.0, 0.0], [1.0, 2.0, 3.0], seed=1)
    second = gaussian(80, [1.0, -2.0, 0.5], [2.0, 2.0, 0.5], seed=2)
    # Diagonal covariances: the trace is the sum of (s1 - s2)^2.
    wanted = (1 + 4 + 0.25) + (1 + 0 + 6.25)
    assert frechet_distance(first, second) == pytest.approx(wanted, rel=1e-6)
    assert frechet_distance(second, first) == pytest.approx(wanted, rel=1e-6)


def test_covariances_that_do_not_commute_agree_with_the_square_root_by_eigenvalues() -> None:
    generator = torch.Generator().manual_seed(3)
    first, second = (torch.randn(40, 5, generator=generator).double() for _ in range(2))
    second = second @ torch.randn(5, 5, generator=generator).double()
    product = torch.linalg.eigvals(first.T.cov() @ second.T.cov())
    wanted = (first.mean(0) - second.mean(0)).square().sum() + first.T.cov().trace()
    wanted = wanted + second.T.cov().trace() - 2 * product.sqrt().real.sum()
    assert frechet_distance(first, second) == pytest.approx(float(wanted), rel=1e-8)


def test_fewer_pictures_than_features_give_a_number_all_the_same() -> None:
    generator = torch.Generator().manual_seed(4)
    first, second = (torch.randn(6, 32, generator=generator) for _ in range(2))
    assert math.isfinite(frechet_distance(first, second))


def test_one_picture_is_refused_by_name() -> None:
    with pytest.raises(ValueError, match="two or more of the reference, not 1"):
        frechet_distance(torch.zeros(4, 2), torch.zeros(1, 2))
    with pytest.raises(ValueError, match="two pictures or more, not 1"):
        diversity(torch.zeros(1, 2))


def test_diversity_is_none_for_copies_and_one_for_pictures_without_a_common_feature() -> None:
    copies = torch.tensor([[0.6, 0.8]] * 3)
    assert diversity(copies) == pytest.approx(0, abs=1e-6)
    assert diversity(torch.eye(4)) == pytest.approx(1)
    half = torch.tensor([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # of three pairs one is alike
    assert diversity(half) == pytest.approx(2 / 3)
