"""How far two sets of pictures are apart, and how varied one is, in a scorer's features."""

from __future__ import annotations

import torch
from torch import Tensor

LEAST_PICTURES = 2


def frechet_distance(features: Tensor, reference: Tensor) -> float:
    """Return the Frechet distance of two sets of features, (n, d) and (m, d).

    Both are taken for Gaussian: |mu1 - mu2|^2 + tr(S1 + S2 - 2 (S1 S2)^1/2). Source: Heusel et al.
    (2017), "GANs trained by a two time-scale update rule", eq. 6; there in Inception's features, so
    values compare only within one scorer. It is biased upwards for few pictures: compare sets of
    one size. Raises ValueError for fewer than two pictures.
    """
    for name, rows in (("pictures", features), ("reference", reference)):
        if len(rows) < LEAST_PICTURES:
            raise ValueError(f"a Frechet distance needs two or more of the {name}, not {len(rows)}")
    first, second = features.double(), reference.double()
    apart = (first.mean(dim=0) - second.mean(dim=0)).square().sum()
    cov_first, cov_second = first.T.cov(), second.T.cov()
    root = _root(cov_first)
    # The trace of (S1 S2)^1/2 is that of (S1^1/2 S2 S1^1/2)^1/2, which is symmetric.
    both = torch.linalg.eigvalsh(root @ cov_second @ root).clamp_min(0).sqrt().sum()
    return float(apart + cov_first.trace() + cov_second.trace() - 2 * both)


def _root(matrix: Tensor) -> Tensor:
    """Return the symmetric square root of a positive semidefinite matrix."""
    values, vectors = torch.linalg.eigh(matrix)
    root: Tensor = (vectors * values.clamp_min(0).sqrt()) @ vectors.T
    return root


def diversity(features: Tensor) -> float:
    """Return the mean of 1 - cosine over all pairs of pictures of one caption; 0 for all alike.

    `features`: (n, d) of unit length, n at least two.
    """
    count = len(features)
    if count < LEAST_PICTURES:
        raise ValueError(f"diversity needs two pictures or more, not {count}")
    cosines = features @ features.T
    return float(1 - (cosines.sum() - cosines.trace()) / (count * (count - 1)))
