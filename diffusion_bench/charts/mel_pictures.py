"""Mel spectrograms, and what a U-Net adds to them, as small pictures for rows of many."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from plotly.colors import diverging, hex_to_rgb, sequential, unlabel_rgb

from diffusion_bench.charts.spectrogram import DB_OF_LOG, RANGE_DB

PIXELS = 2  # of a mel bin and of a frame
LONGEST = 640  # pixels across; a longer one is drawn closer
RESIDUAL_RANGE = 1.5  # deviations on either side of no change


def mel_pictures(mels: Sequence[Any], loudest: float) -> list[Any]:
    """Return natural log mels (bins, frames) as PIL pictures, low sounds at the bottom.

    The darkest colour is 70 dB or more below `loudest`, the brightest as loud or louder.
    """
    shares = (1 + DB_OF_LOG * (np.asarray(mel) - loudest) / RANGE_DB for mel in mels)
    return [_picture(share, sequential.Viridis) for share in shares]


def residual_pictures(residuals: Sequence[Any]) -> list[Any]:
    """Return residuals (bins, frames), in deviations, as PIL pictures: white changes nothing.

    Red is more than the plan, blue less.
    """
    shares = (0.5 + np.asarray(residual) / (2 * RESIDUAL_RANGE) for residual in residuals)
    return [_picture(share, diverging.RdBu_r) for share in shares]


def _picture(share: NDArray[np.floating], scale: Sequence[str]) -> Any:
    anchors = np.array([_channels(colour) for colour in scale])
    places = np.linspace(0, 1, len(anchors))
    colours = np.stack([np.interp(share, places, anchors[:, i]) for i in range(3)], axis=-1)
    drawn = Image.fromarray(np.flipud(np.rint(colours).astype(np.uint8)))
    size = (min(LONGEST, PIXELS * drawn.width), PIXELS * drawn.height)
    how = Image.Resampling.NEAREST if size[0] == PIXELS * drawn.width else Image.Resampling.BOX
    return drawn.resize(size, how)


def _channels(colour: str) -> tuple[float, ...]:
    """Return red, green and blue, 0 to 255, of one of plotly's colours."""
    if colour.startswith("#"):
        return tuple(hex_to_rgb(colour))
    return tuple(unlabel_rgb(colour))
