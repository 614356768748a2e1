"""Tortoise's diffusion decoder: latents of speech codes and a voice to a mel spectrogram.

Tensors have the names and shapes of the original's `diffusion_decoder.pth`, 359 of them, so that
it loads by name. Betker (2023), arXiv 2305.07243; ResBlock and qkv layout after Dhariwal & Nichol
(2021), arXiv 2105.05233; relative positions after Raffel et al. (2020), arXiv 1910.10683.
"""

from __future__ import annotations

import math

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from diffusers.models.embeddings import get_timestep_embedding
from torch import Tensor, nn
from torch.nn import functional as F

POSITION_BUCKETS = 32
FARTHEST_POSITION = 64
VOICE_LAYERS = 5
LATENT_LAYERS = 4
CODE_LAYERS = 3
INTEGRATOR_LAYERS = 3
LAST_BLOCKS = 3


class DiffusionDecoder(ModelMixin, ConfigMixin):
    """Predict noise and variance of a mel spectrogram, given speech latents and a voice.

    `latent_channels` is the width of the autoregressive model. `code_embedding`, `code_converter`
    and `mel_head` served in training only; they are here because the weights hold them.
    """

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(
        self,
        *,
        model_channels: int = 1024,
        num_layers: int = 10,
        num_heads: int = 16,
        mel_channels: int = 100,
        latent_channels: int = 1024,
        num_codes: int = 8193,
    ) -> None:
        super().__init__()
        width, heads = model_channels, num_heads
        self.inp_block = _conv3(mel_channels, width)
        self.time_embed = nn.Sequential(nn.Linear(width, width), nn.SiLU(), nn.Linear(width, width))
        self.code_embedding = nn.Embedding(num_codes, width)
        self.code_converter = _attention_blocks(CODE_LAYERS, width, heads)
        self.code_norm = Normalization(width)
        self.latent_conditioner = nn.Sequential(
            _conv3(latent_channels, width), *_attention_blocks(LATENT_LAYERS, width, heads)
        )
        self.contextual_embedder = nn.Sequential(
            _conv3(mel_channels, width, stride=2),
            _conv3(width, 2 * width, stride=2),
            *_attention_blocks(VOICE_LAYERS, 2 * width, heads),
        )
        self.unconditioned_embedding = nn.Parameter(torch.randn(1, width, 1))
        self.conditioning_timestep_integrator = nn.ModuleList(
            DiffusionLayer(width, heads) for _ in range(INTEGRATOR_LAYERS)
        )
        self.integrating_conv = nn.Conv1d(2 * width, width, 1)
        self.mel_head = _conv3(width, mel_channels)
        self.layers = nn.ModuleList(
            [
                *(DiffusionLayer(width, heads) for _ in range(num_layers)),
                *(ResBlock(width) for _ in range(LAST_BLOCKS)),
            ]
        )
        self.out = nn.Sequential(Normalization(width), nn.SiLU(), _conv3(width, 2 * mel_channels))

    def voice_latent(self, mels: Tensor) -> Tensor:
        """Return the (1, 2 * model_channels) voice of (clips, mel_channels, frames) log-mels.

        The clips have the same length, so that the mean over all frames is that over clips.
        """
        frames: Tensor = self.contextual_embedder(mels)
        return frames.mean(dim=-1).mean(dim=0, keepdim=True)

    def align(self, latents: Tensor, voice: Tensor, frames: int) -> Tensor:
        """Return (batch, model_channels, frames) conditions of (batch, codes, channels) latents.

        They do not depend on the timestep: once an utterance. `voice`: (batch, 2 * channels).
        """
        scale, shift = voice.unsqueeze(-1).chunk(2, dim=1)
        aligned = self.code_norm(self.latent_conditioner(latents.transpose(1, 2)))
        return F.interpolate(aligned * (1 + scale) + shift, size=frames, mode="nearest")

    def unconditioned(self, like: Tensor) -> Tensor:
        """Return the condition that says nothing, of the shape of what `align` returned."""
        return self.unconditioned_embedding.to(like.dtype).expand_as(like)

    def forward(self, sample: Tensor, timestep: Tensor, aligned: Tensor) -> Tensor:
        """Return (batch, 2 * mel_channels, frames): predicted noise, then variance in -1 to 1.

        `sample`: (batch, mel_channels, frames) noisy normalised mel; `timestep`: (batch,) of the
        original 4000; `aligned`: from `align` or `unconditioned`.
        """
        width = self.config.model_channels
        time = get_timestep_embedding(timestep, width, flip_sin_to_cos=True, downscale_freq_shift=0)
        time = self.time_embed(time.to(sample.dtype))
        for layer in self.conditioning_timestep_integrator:
            aligned = layer(aligned, time)
        x = self.integrating_conv(torch.cat([self.inp_block(sample), aligned], dim=1))
        for layer in self.layers:
            x = layer(x, time)
        output: Tensor = self.out(x)
        return output


class Normalization(nn.GroupNorm):
    """Group norm of 32 groups (fewer where channels are few), computed in fp32."""

    def __init__(self, channels: int) -> None:
        groups = 8 if channels <= 16 else 16 if channels <= 64 else 32
        super().__init__(math.gcd(groups, channels), channels)

    def forward(self, x: Tensor) -> Tensor:
        """Return `x` normalised, in its own type."""
        weight, bias = self.weight.float(), self.bias.float()
        return F.group_norm(x.float(), self.num_groups, weight, bias, self.eps).to(x.dtype)


class RelativePositions(nn.Module):
    """A learnt bias of attention for each head and bucket of distance, after T5."""

    def __init__(self, heads: int) -> None:
        super().__init__()
        self.relative_attention_bias = nn.Embedding(POSITION_BUCKETS, heads)

    def forward(self, length: int) -> Tensor:
        """Return (heads, length, length): what query `q` adds to its score of key `k`."""
        ascending = torch.arange(
            1 - length, length, device=self.relative_attention_bias.weight.device
        )
        bias: Tensor = self.relative_attention_bias(position_bucket(ascending)).transpose(0, 1)
        # Row q holds distances -q to length - 1 - q: windows of one line, the last one first.
        return bias.unfold(-1, length, 1).flip(1)


def position_bucket(distance: Tensor) -> Tensor:
    """Return the bucket of each distance, key minus query: exact when near, then logarithmic.

    Sixteen buckets a direction, eight of them exact; distances of 64 and more share the last.
    """
    per_direction = POSITION_BUCKETS // 2
    exact = per_direction // 2
    size = distance.abs()
    growth = torch.log(size.clamp(min=1) / exact) / math.log(FARTHEST_POSITION / exact)
    far = (exact + (growth * (per_direction - exact)).long()).clamp(max=per_direction - 1)
    return torch.where(size < exact, size, far) + (distance > 0) * per_direction


class AttentionBlock(nn.Module):
    """Self-attention over time with relative positions, added to its input.

    The channels of `qkv` are interleaved by head: query, key and value of the first head come
    first, then those of the second.
    """

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm = Normalization(channels)
        self.qkv = nn.Conv1d(channels, 3 * channels, 1)
        self.proj_out = nn.Conv1d(channels, channels, 1)
        self.relative_pos_embeddings = RelativePositions(heads)

    def forward(self, x: Tensor) -> Tensor:
        """Return (batch, channels, frames) of the same shape as `x`."""
        batch, channels, frames = x.shape
        by_head = self.qkv(self.norm(x)).reshape(batch, self.heads, -1, frames)
        query, key, value = by_head.transpose(2, 3).chunk(3, dim=-1)
        # The original scales the bias by the root of a head's width, unlike T5.
        bias = self.relative_pos_embeddings(frames) * math.sqrt(query.shape[-1])
        heard = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(x.dtype))
        added: Tensor = self.proj_out(heard.transpose(2, 3).reshape(batch, channels, frames))
        return x + added


class ResBlock(nn.Module):
    """Two convolutions around a scale and shift by the time embedding, added to its input."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.in_layers = nn.Sequential(
            Normalization(channels), nn.SiLU(), nn.Conv1d(channels, channels, 1)
        )
        self.emb_layers = nn.Sequential(nn.SiLU(), nn.Linear(channels, 2 * channels))
        # The third of these was dropout; the weights count it.
        self.out_layers = nn.Sequential(
            Normalization(channels), nn.SiLU(), nn.Identity(), _conv3(channels, channels)
        )

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return (batch, channels, frames) of the same shape as `x`; `time`: (batch, channels)."""
        scale, shift = self.emb_layers(time).unsqueeze(-1).chunk(2, dim=1)
        norm, *rest = self.out_layers
        hidden: Tensor = norm(self.in_layers(x)) * (1 + scale) + shift
        for layer in rest:
            hidden = layer(hidden)
        return x + hidden


class DiffusionLayer(nn.Module):
    """A residual block, then attention."""

    def __init__(self, channels: int, heads: int) -> None:
        super().__init__()
        self.resblk = ResBlock(channels)
        self.attn = AttentionBlock(channels, heads)

    def forward(self, x: Tensor, time: Tensor) -> Tensor:
        """Return (batch, channels, frames) of the same shape as `x`; `time`: (batch, channels)."""
        attended: Tensor = self.attn(self.resblk(x, time))
        return attended


def _conv3(channels: int, out_channels: int, *, stride: int = 1) -> nn.Conv1d:
    return nn.Conv1d(channels, out_channels, 3, stride=stride, padding=1)


def _attention_blocks(count: int, channels: int, heads: int) -> nn.Sequential:
    return nn.Sequential(*(AttentionBlock(channels, heads) for _ in range(count)))
