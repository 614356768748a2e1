"""Vocos: a vocoder that draws a spectrum, magnitude and phase, and inverts it.

Siuzdak 2023, "Vocos: Closing the gap between time-domain and Fourier-based neural vocoders"
(arXiv 2306.00814). No maintained library has it, so here is the network in its own names of
parameters: the weights published as charactr/vocos-mel-24khz (MIT) load by name.
"""

from __future__ import annotations

from typing import Any

import torch
from pydantic import Field
from torch import Tensor, nn

from diffusion_bench.audio.mel import MelSettings
from diffusion_bench.records import Record

LOUDEST = 100.0  # magnitudes above are cut, as in training
EPSILON = 1e-6
KERNEL = 7


class VocosConfig(Record):
    """The sizes of a Vocos; the defaults are those of vocos-mel-24khz."""

    mel: MelSettings = Field(
        default_factory=lambda: MelSettings(
            sample_rate=24_000,
            n_mels=100,
            f_max=12_000.0,
            log_floor=1e-7,
            scale="htk",
            norm=None,
        )
    )
    width: int = 512
    inner_width: int = 1536
    layers: int = 8

    @classmethod
    def from_published(cls, tree: dict[str, Any]) -> VocosConfig:
        """Return the sizes that a published config.yaml states.

        KeyError for one without them; ValueError for a variant that is another network.
        """
        features, backbone, head = (
            dict(tree[part].get("init_args", {}))
            for part in ("feature_extractor", "backbone", "head")
        )
        kinds = [
            tree[part]["class_path"].rpartition(".")[2]
            for part in ("feature_extractor", "backbone", "head")
        ]
        if kinds != ["MelSpectrogramFeatures", "VocosBackbone", "ISTFTHead"]:
            raise ValueError(
                f"only Vocos on mel spectrograms is known here, not {', '.join(kinds)}"
            )
        for part in (features, head):
            if part.get("padding") != "center":
                raise ValueError("only Vocos with padding 'center' is known here")
        if backbone["input_channels"] != features["n_mels"]:
            raise ValueError("its network reads another number of mel bins than are made")
        return cls(
            mel=_mel_settings(features),
            width=backbone["dim"],
            inner_width=backbone["intermediate_dim"],
            layers=backbone["num_layers"],
        )


class Vocos(nn.Module):
    """The network: log mel in, samples out."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.settings = config.mel
        self.backbone = _Backbone(config)
        self.head = _SpectrumHead(config)

    def forward(self, mel: Tensor) -> Tensor:
        """Return (batch, settings.samples(frames)) of a (batch, n_mels, frames) log mel."""
        samples: Tensor = self.head(self.backbone(mel))
        return samples


class _Backbone(nn.Module):
    """ConvNeXt blocks, (batch, n_mels, frames) to (batch, frames, width)."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self.embed = nn.Conv1d(config.mel.n_mels, config.width, KERNEL, padding="same")
        self.norm = nn.LayerNorm(config.width, eps=EPSILON)
        self.convnext = nn.ModuleList(_ConvNeXt(config) for _ in range(config.layers))
        self.final_layer_norm = nn.LayerNorm(config.width, eps=EPSILON)

    def forward(self, mel: Tensor) -> Tensor:
        hidden = self.norm(self.embed(mel).mT)
        for block in self.convnext:
            hidden = block(hidden)
        normed: Tensor = self.final_layer_norm(hidden)
        return normed


class _ConvNeXt(nn.Module):
    """A ConvNeXt block over time (Liu et al. 2022, arXiv 2201.03545), channels last."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        width = config.width
        self.dwconv = nn.Conv1d(width, width, KERNEL, padding="same", groups=width)
        self.norm = nn.LayerNorm(width, eps=EPSILON)
        self.pwconv1 = nn.Linear(width, config.inner_width)
        self.pwconv2 = nn.Linear(config.inner_width, width)
        self.gamma = nn.Parameter(torch.full((width,), 1 / config.layers))

    def forward(self, hidden: Tensor) -> Tensor:
        mixed = self.norm(self.dwconv(hidden.mT).mT)
        mixed = self.pwconv2(nn.functional.gelu(self.pwconv1(mixed)))
        added: Tensor = hidden + self.gamma * mixed
        return added


class _SpectrumHead(nn.Module):
    """A linear layer that gives log magnitude and phase of each bin, and the inverse STFT."""

    def __init__(self, config: VocosConfig) -> None:
        super().__init__()
        self._mel = config.mel
        self.out = nn.Linear(config.width, config.mel.n_fft + 2)
        window = torch.hann_window(config.mel.win_length)
        self.register_buffer("window", window, persistent=False)

    def forward(self, hidden: Tensor) -> Tensor:
        # The inverse transform knows no half precision.
        log_magnitude, phase = self.out(hidden).mT.float().chunk(2, dim=1)
        spectrum = torch.polar(log_magnitude.exp().clamp(max=LOUDEST), phase)
        samples: Tensor = torch.istft(
            spectrum,
            self._mel.n_fft,
            self._mel.hop_length,
            self._mel.win_length,
            window=self.get_buffer("window").float(),
        )
        return samples


def _mel_settings(features: dict[str, Any]) -> MelSettings:
    rate, n_fft = features["sample_rate"], features["n_fft"]
    return MelSettings(
        sample_rate=rate,
        n_fft=n_fft,
        hop_length=features["hop_length"],
        win_length=n_fft,
        n_mels=features["n_mels"],
        f_min=features.get("f_min", 0),
        f_max=features.get("f_max") or rate / 2,
        log_floor=1e-7,
        scale=features.get("mel_scale", "htk"),
        norm=features.get("norm"),
    )
