"""The speaker encoder: who speaks, from a mel spectrogram of any length."""

from __future__ import annotations

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion_bench.backends.echo.blocks import ResBlock

PITCH_FACTS = 2  # octaves of the median from 150 Hz, and the spread in thirds of an octave


class SpeakerEncoder(ModelMixin, ConfigMixin):
    """A mel and the pitch measured in it > a voice vector that all other networks are told.

    Pitch is measured, not learnt, since a tracker finds it in voices that no network has heard. The
    rest is pooled over time by attention as mean and deviation (Okabe et al. 2018).
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self, n_mels: int = 80, hidden_channels: int = 160, voice_channels: int = 160
    ) -> None:
        super().__init__()
        self.conv_in = nn.Conv1d(n_mels, hidden_channels, 5, padding=2)
        self.near = ResBlock(hidden_channels)
        self.shrink = nn.Conv1d(hidden_channels, hidden_channels, 4, stride=2, padding=1)
        self.far = nn.ModuleList(ResBlock(hidden_channels) for _ in range(2))
        self.attention = nn.Conv1d(hidden_channels, hidden_channels, 1)
        self.embed = nn.Linear(2 * hidden_channels, voice_channels)
        self.pitch = nn.Linear(PITCH_FACTS, voice_channels)
        self.mix = nn.Linear(voice_channels, voice_channels)

    def forward(self, mel: Tensor, pitch_facts: Tensor) -> tuple[Tensor, Tensor]:
        """Return the voice, and the embedding without pitch: (batch, voice_channels), unit length.

        `mel`: (batch, n_mels, frames), normalised; `pitch_facts`: (batch, 2). Level is taken out:
        how loud a recording is says nothing of the speaker.
        """
        mel = mel - mel.mean(dim=(1, 2), keepdim=True)
        hidden = self.near(self.conv_in(mel))
        hidden = self.shrink(F.silu(hidden))
        for block in self.far:
            hidden = block(hidden)
        weight = self.attention(hidden).float().softmax(dim=-1)
        mean = (weight * hidden).sum(dim=-1)
        spread = ((weight * hidden**2).sum(dim=-1) - mean**2).clamp(min=1e-4).sqrt()
        pooled = torch.cat([mean, spread], dim=-1).to(self.embed.weight.dtype)
        embedding = F.normalize(self.embed(pooled).float(), dim=-1)
        scaled = (embedding * embedding.shape[-1] ** 0.5).to(pooled.dtype)
        return self.mix(F.silu(scaled + self.pitch(pitch_facts))), embedding
