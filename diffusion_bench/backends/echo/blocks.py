"""What the networks are made of: convolutions over time on (batch, channels, frames).

Blocks that see padded batches normalise each frame alone, so that neither padding nor the length of
a text changes what a frame becomes beyond the reach of the convolutions. The U-Net, trained on
pieces without padding, has group norm, which takes a third less time.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class FrameNorm(nn.Module):
    """Root-mean-square norm over the channels of each frame (Zhang & Sennrich 2019)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(channels))

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, frames) with unit power in each frame, times a weight."""
        power = x.float().pow(2).mean(dim=1, keepdim=True)
        return x * (power + 1e-6).rsqrt().to(x.dtype) * self.weight[:, None].to(x.dtype)


GROUPS = 8


def _norm(channels: int, *, grouped: bool) -> nn.Module:
    return nn.GroupNorm(GROUPS, channels) if grouped else FrameNorm(channels)


class ResBlock(nn.Module):
    """Two convolutions with a shortcut; `condition` scales and shifts between them (FiLM).

    The last convolution starts at zero, so that a new block changes nothing.
    """

    def __init__(
        self,
        channels: int,
        out_channels: int | None = None,
        *,
        condition: int = 0,
        kernel: int = 3,
        dilation: int = 1,
        grouped: bool = False,
    ) -> None:
        super().__init__()
        out = out_channels or channels
        padding = dilation * (kernel // 2)
        self.norm_in = _norm(channels, grouped=grouped)
        self.conv_in = nn.Conv1d(channels, out, kernel, padding=padding, dilation=dilation)
        self.norm_out = _norm(out, grouped=grouped)
        self.conv_out = nn.Conv1d(out, out, kernel, padding=kernel // 2)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]
        self.film = nn.Linear(condition, 2 * out) if condition else None
        self.shortcut = nn.Conv1d(channels, out, 1) if out != channels else nn.Identity()

    def forward(
        self, x: Tensor, condition: Tensor | None = None, mask: Tensor | None = None
    ) -> Tensor:
        """Return (batch, out_channels, frames); where `mask` (batch, 1, frames) is 0, so is x."""
        hidden = self.norm_out(self.conv_in(_held(F.silu(self.norm_in(x)), mask)))
        if self.film is not None and condition is not None:
            scale, shift = self.film(condition).unsqueeze(-1).chunk(2, dim=1)
            hidden = hidden * (1 + scale) + shift
        hidden = self.conv_out(_held(F.silu(hidden), mask))
        return _held(self.shortcut(x) + hidden, mask)


def _held(x: Tensor, mask: Tensor | None) -> Tensor:
    return x if mask is None else x * mask.to(x.dtype)


def sinusoids(position: Tensor, channels: int, *, slowest: float = 10_000.0) -> Tensor:
    """Return (..., channels) sines and cosines of numbers (Vaswani et al. 2017, section 3.5)."""
    half = channels // 2
    rates = torch.exp(
        -math.log(slowest) * torch.arange(half, device=position.device, dtype=torch.float32) / half
    )
    angle = position.float().unsqueeze(-1) * rates
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


def frame_mask(lengths: Tensor, frames: int) -> Tensor:
    """Return (batch, 1, frames) of ones within each length and zeros after it."""
    return (torch.arange(frames, device=lengths.device) < lengths.unsqueeze(1)).float().unsqueeze(1)
