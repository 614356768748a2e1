"""How far two sets of pictures are apart, and how varied one is, in a scorer's features."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

LEAST_PICTURES = 2


@dataclass(frozen=True)
class Moments:
    """Mean (d,) and covariance (d, d) of the features of `count` pictures, in float64."""

    mean: Tensor
    covariance: Tensor
    count: int

    @classmethod
    def of(cls, features: Tensor, name: str = "pictures") -> Moments:
        """Return those of features (n, d); raise ValueError for fewer than two pictures."""
        if len(features) < LEAST_PICTURES:
            raise ValueError(
                f"a Frechet distance needs two or more of the {name}, not {len(features)}"
            )
        return cls.weighted(features, torch.ones(len(features), dtype=torch.float64))

    @classmethod
    def weighted(cls, features: Tensor, weights: Tensor) -> Moments:
        """Return those of features (n, d) of which each is there `weights` (n,) times."""
        rows, count = features.double(), weights.sum()
        mean = weights @ rows / count
        centred = rows - mean
        covariance = (centred * weights[:, None]).T @ centred / (count - 1)
        return cls(mean, covariance, int(count))


def distance_from(reference: Moments) -> Callable[[Moments], float]:
    """Return what measures Frechet distances from one reference, whose root is taken only once.

    |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2), of two Gaussians. Source: Heusel et al. (2017),
    "GANs trained by a two time-scale update rule", eq. 6, where the features are Inception's.
    Values compare only within one scorer, and are biased upwards for few pictures: compare sets of
    one size.
    """
    root = _root(reference.covariance)
    trace = reference.covariance.trace()

    def distance(seen: Moments) -> float:
        apart = (seen.mean - reference.mean).square().sum()
        # The trace of (S1 S2)^1/2 is that of (S1^1/2 S2 S1^1/2)^1/2, which is symmetric.
        both = torch.linalg.eigvalsh(root @ seen.covariance @ root).clamp_min(0).sqrt().sum()
        return float(apart + seen.covariance.trace() + trace - 2 * both)

    return distance


def _root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def diversity(features: Tensor, weights: Tensor | None = None) -> float:
    """Return the mean of 1 - cosine over all pairs of pictures of one caption; 0 for all alike.

    `features`: (n, d) of unit length, n at least two. With `weights` (n,) each is there so many
    times, and no picture makes a pair with itself.
    """
    count = len(features)
    if count < LEAST_PICTURES:
        raise ValueError(f"diversity needs two pictures or more, not {count}")
    rows = features.double()
    times = torch.ones(count, dtype=torch.float64) if weights is None else weights
    own = times.square()
    cosines = (times @ rows).square().sum() - (own * rows.square().sum(dim=1)).sum()
    pairs = times.sum().square() - own.sum()
    return float(1 - cosines / pairs) if pairs > 0 else 0.0
