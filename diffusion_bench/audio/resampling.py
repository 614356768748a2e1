"""Sound at another sample rate."""

from __future__ import annotations

from fractions import Fraction

import torchaudio
from torch import Tensor

# Between the usual rates, 8 to 96 kHz, the ratio stays as it is. torchaudio makes a filter for each
# sample of its period: from 44 101 to 16 000 Hz they would be gigabytes.
LONGEST_PERIOD = 640


def resample(samples: Tensor, rate: int, wanted: int) -> Tensor:
    """Return (..., samples) of `rate` Hz at `wanted` Hz.

    Of two rates that share no small ratio, the nearest one that is: 0.1 % off at most.
    """
    ratio = Fraction(wanted, rate).limit_denominator(LONGEST_PERIOD)
    resampled: Tensor = torchaudio.functional.resample(samples, ratio.denominator, ratio.numerator)
    return resampled
