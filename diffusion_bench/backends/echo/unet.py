"""The U-Net over the mel spectrogram: one-dimensional, along time, mel bins as channels.

On a CPU it is ten times as fast as a two-dimensional one over (bins, frames) of like size
(docs/lab-notes.md). It predicts `v` (Salimans & Ho 2022, appendix D) of the residual: what the
prior's mean lacks, over its deviation.
"""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion_bench.backends.echo.blocks import ResBlock, sinusoids

TIME_CHANNELS = 64


class MelUNet(ModelMixin, ConfigMixin):
    """Noisy residual, timestep, mean mel, hidden frames and voice > `v`.

    Frames are padded to a multiple of 4 within. `residual_scale`: (n_mels,) deviations of the
    residual, measured in training.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        n_mels: int = 80,
        prior_channels: int = 160,
        voice_channels: int = 160,
        block_channels: tuple[int, ...] = (160, 224, 288),
    ) -> None:
        super().__init__()
        condition = voice_channels
        wide, wider, widest = block_channels
        self.time = nn.Sequential(
            nn.Linear(TIME_CHANNELS, condition), nn.SiLU(), nn.Linear(condition, condition)
        )
        self.voice = nn.Linear(voice_channels, condition)
        self.nobody = nn.Parameter(torch.zeros(condition))
        self.conv_in = nn.Conv1d(2 * n_mels + prior_channels, wide, 3, padding=1)
        self.down = nn.ModuleList(
            ResBlock(wide, condition=condition, grouped=True) for _ in range(2)
        )
        self.shrink = nn.Conv1d(wide, wider, 4, stride=2, padding=1)
        self.lower = nn.ModuleList(
            ResBlock(wider, condition=condition, grouped=True) for _ in range(2)
        )
        self.shrink_more = nn.Conv1d(wider, widest, 4, stride=2, padding=1)
        self.middle = nn.ModuleList(
            ResBlock(widest, condition=condition, grouped=True) for _ in range(2)
        )
        self.grow = nn.Conv1d(widest, wider, 3, padding=1)
        self.upper = ResBlock(2 * wider, wider, condition=condition, grouped=True)
        self.grow_more = nn.Conv1d(wider, wide, 3, padding=1)
        self.up = nn.ModuleList(
            [
                ResBlock(2 * wide, wide, condition=condition, grouped=True),
                ResBlock(wide, condition=condition, grouped=True),
            ]
        )
        self.conv_out = nn.Conv1d(wide, n_mels, 3, padding=1)
        nn.init.zeros_(self.conv_out.weight)
        nn.init.zeros_(self.conv_out.bias)  # type: ignore[arg-type]
        self.register_buffer("residual_scale", torch.ones(n_mels))

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor,
        mean: Tensor,
        hidden: Tensor,
        voice: Tensor,
        *,
        dropped: Tensor | None = None,
    ) -> Tensor:
        """Return `v`, (batch, n_mels, frames).

        `sample`: (batch, n_mels, frames) noisy residual; `timestep`: (batch,) of 0 to 999;
        `dropped`: (batch,) bool, true where mean, hidden frames and voice are to be ignored, for
        classifier-free guidance (Ho & Salimans 2022).
        """
        frames = sample.shape[-1]
        who = self.voice(voice)
        if dropped is not None:
            keep = (~dropped).to(mean.dtype)[:, None, None]
            mean, hidden = mean * keep, hidden * keep
            who = torch.where(dropped[:, None], self.nobody.to(who.dtype), who)
        condition = F.silu(self.time(sinusoids(timestep, TIME_CHANNELS).to(who.dtype)) + who)
        x = torch.cat([sample.to(mean.dtype), mean, hidden.to(mean.dtype)], dim=1)
        x = self.conv_in(F.pad(x, (0, -frames % 4)))
        for block in self.down:
            x = block(x, condition)
        fine = x
        x = self.shrink(x)
        for block in self.lower:
            x = block(x, condition)
        coarse = x
        x = self.shrink_more(x)
        for block in self.middle:
            x = block(x, condition)
        x = self.grow(F.interpolate(x, scale_factor=2.0))
        x = self.upper(torch.cat([x, coarse], dim=1), condition)
        x = self.grow_more(F.interpolate(x, scale_factor=2.0))
        x = torch.cat([x, fine], dim=1)
        for block in self.up:
            x = block(x, condition)
        velocity: Tensor = self.conv_out(F.silu(x))
        return velocity[..., :frames].float()
