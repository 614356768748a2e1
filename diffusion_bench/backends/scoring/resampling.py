"""Intervals of figures that come of a whole set of pictures, by a seeded bootstrap.

Source: Efron (1979), "Bootstrap methods: another look at the jackknife". Pictures of one caption
are drawn again together, since they are not independent of each other.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from diffusion_bench.records import Estimate

RESAMPLES = 200
SEED = 0


def bootstrap(figure: Callable[[Tensor], float], groups: Tensor) -> Estimate:
    """Return a figure of all pictures, with its 95 percent interval.

    `groups` (n,) int64 is the caption of each picture, from 0; `figure` is called with weights (n,)
    float64: how often each picture was drawn again. Whole captions are, of a single one its
    pictures. A distance of resampled pictures is on average too large, as it is of fewer pictures,
    so of the resamples only their spread about their own mean is used.
    """
    value = figure(torch.ones(len(groups), dtype=torch.float64))
    units = torch.arange(len(groups)) if int(groups.max()) == 0 else groups
    count = int(units.max()) + 1
    chance = np.random.default_rng(SEED)
    drawn = chance.multinomial(count, np.full(count, 1 / count), size=RESAMPLES)
    spread = [figure(torch.from_numpy(times).double()[units]) for times in drawn]
    low, high = np.quantile(spread, (0.025, 0.975)) - np.mean(spread)
    # Of a constant figure rounding may put the mean outside its own quantiles.
    return Estimate(
        value=value, low=value + min(0.0, low), high=value + max(0.0, high), n=len(groups)
    )
