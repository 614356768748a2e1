"""The bundled vocoder: a network sharpens the magnitudes, and Griffin-Lim finds the phase.

    log mel > network > log magnitude of every bin, pitch, voiced or not
    pitch > pulses and noise > phase to begin with > a few Griffin-Lim iterations > sound

A mel spectrogram leaves out both the fine structure of the magnitudes and the phase. The first is
predicted by regression, which needs no adversary and little training; the phase begins as that of a
pulse train at the pitch through a minimum-phase vocal tract (Oppenheim & Schafer, "Discrete-Time
Signal Processing", chapter 13), so that few iterations do. torchaudio's Griffin-Lim takes no such
beginning, so the iteration (Griffin & Lim 1984, eq. 6; accelerated as in Perraudin, Balazs &
Søndergaard 2013, algorithm 2) is written out here.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from diffusers import ConfigMixin, ModelMixin
from diffusers.configuration_utils import register_to_config
from torch import Tensor, nn
from torch.nn import functional as F

from diffusion_bench.audio.mel import MelSettings
from diffusion_bench.audio.vocoders import refuse_other_shapes
from diffusion_bench.backends.echo.blocks import ResBlock

MIDDLE_HZ = 150.0  # the pitch head tells octaves from here
LOG_MEL_MIDDLE, LOG_MEL_SCALE = -5.0, 2.5
NOISE_FROM_HZ = 4000.0  # above it even voiced speech has mostly noise for phase
MOMENTUM = 0.99  # alpha of fast Griffin-Lim: 24 iterations with it come as near as 64 without
LIFTER = 48  # cepstral coefficients that make the vocal tract; the pitch lies above them


class VocoderPrediction(NamedTuple):
    """What the network reads from a mel.

    `log_magnitude`: (batch, bins, frames), natural. `octaves`: (batch, frames), log2 of the pitch's
    ratio to 150 Hz. `voiced`: (batch, frames) logits.
    """

    log_magnitude: Tensor
    octaves: Tensor
    voiced: Tensor


class MelVocoder(ModelMixin, ConfigMixin):
    """The network: reads log mels of `MelSettings()`'s defaults, at 16 kHz."""

    @register_to_config  # type: ignore[untyped-decorator]
    def __init__(self, hidden_channels: int = 224, num_blocks: int = 5, kernel: int = 3) -> None:
        super().__init__()
        settings = MelSettings()
        self.conv_in = nn.Conv1d(settings.n_mels, hidden_channels, 5, padding=2)
        self.blocks = nn.ModuleList(
            ResBlock(hidden_channels, kernel=kernel) for _ in range(num_blocks)
        )
        self.head = nn.Conv1d(hidden_channels, settings.n_fft // 2 + 3, 1)
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)  # type: ignore[arg-type]
        self.register_buffer("spread", _spread(settings), persistent=False)

    def forward(self, mel: Tensor) -> VocoderPrediction:
        """Return magnitudes, pitch and voicing of a (batch, n_mels, frames) log mel."""
        hidden = self.conv_in((mel - LOG_MEL_MIDDLE) / LOG_MEL_SCALE)
        for block in self.blocks:
            hidden = block(hidden)
        told = self.head(F.silu(hidden)).float()
        smooth = self.spread.float() @ mel.float()
        return VocoderPrediction(told[:, :-2] + smooth, told[:, -2], told[:, -1])


class EchoVocoder:
    """The vocoder: the network, then the phase. The same mel gives the same sound."""

    name = "echo"

    def __init__(self, network: MelVocoder, *, iterations: int = 24, seed: int = 0) -> None:
        self.network = network.eval()
        self.settings = MelSettings()
        self.iterations = iterations
        self.seed = seed

    @torch.inference_mode()
    def __call__(self, mel: Tensor, f0_hz: Tensor | None = None) -> Tensor:
        """Return (batch, samples) float32; `f0_hz` (batch, frames), 0 where unvoiced, if known."""
        refuse_other_shapes(mel, self.settings)
        told = self.network(mel.to(self.network.dtype))
        if f0_hz is None:
            f0_hz = torch.where(told.voiced > 0, MIDDLE_HZ * torch.exp2(told.octaves), 0.0)
        return self._refined(told.log_magnitude.exp(), self._first_phase(told.log_magnitude, f0_hz))

    def _first_phase(self, log_magnitude: Tensor, f0_hz: Tensor) -> Tensor:
        """Return unit complex numbers (batch, bins, frames): phase of source plus vocal tract."""
        device = log_magnitude.device
        length = self.settings.samples(f0_hz.shape[-1])
        generator = torch.Generator().manual_seed(self.seed)
        noise = torch.randn((1, length), generator=generator).to(device)
        pulses = pulse_train(f0_hz, self.settings)
        is_voiced = (f0_hz > 0).unsqueeze(1)
        hz = torch.linspace(0, self.settings.sample_rate / 2, log_magnitude.shape[1])
        low = (hz < NOISE_FROM_HZ).to(device)[None, :, None]
        source = torch.where(is_voiced & low, self._stft(pulses), self._stft(noise))
        tract = torch.polar(torch.ones_like(log_magnitude), minimum_phase(log_magnitude))
        return torch.sgn(source * tract)

    def _refined(self, magnitude: Tensor, unit: Tensor) -> Tensor:
        rebuilt = None
        for _ in range(self.iterations):
            before, rebuilt = rebuilt, self._stft(self._istft(magnitude * unit))
            ahead = rebuilt if before is None else rebuilt + MOMENTUM * (rebuilt - before)
            unit = torch.sgn(ahead)
        return self._istft(magnitude * unit)

    def _stft(self, samples: Tensor) -> Tensor:
        return torch.stft(
            samples, return_complex=True, pad_mode="constant", **self._frames(samples.device)
        )

    def _istft(self, spectrum: Tensor) -> Tensor:
        length = self.settings.samples(spectrum.shape[-1])
        return torch.istft(spectrum, length=length, **self._frames(spectrum.device))

    def _frames(self, device: torch.device) -> dict[str, Any]:
        settings = self.settings
        window = torch.hann_window(settings.win_length, device=device)
        return {"n_fft": settings.n_fft, "hop_length": settings.hop_length, "window": window}


def _spread(settings: MelSettings) -> Tensor:
    """Return (bins, n_mels) weights that draw a mel as a line over the linear frequencies."""
    import torchaudio

    bins = settings.n_fft // 2 + 1
    bank = torchaudio.functional.melscale_fbanks(
        bins,
        settings.f_min,
        settings.f_max,
        settings.n_mels,
        settings.sample_rate,
        norm=None,
        mel_scale=settings.scale,
    )
    # Triangles that meet at half height: their weights already interpolate.
    weights: Tensor = bank / bank.sum(dim=1, keepdim=True).clamp(min=1e-6)
    weights[0], weights[-1] = weights[1], weights[-2]
    return weights


def pulse_train(f0_hz: Tensor, settings: MelSettings) -> Tensor:
    """Return (batch, samples): a unit pulse a period of (batch, frames) pitches, 0 for unvoiced."""
    voiced = f0_hz > 0
    filled = torch.where(voiced, f0_hz, MIDDLE_HZ)
    length = settings.samples(f0_hz.shape[-1])
    hz = F.interpolate(
        filled.unsqueeze(1), size=length + 1, mode="linear", align_corners=True
    ).squeeze(1)[:, :length]
    # Periods so far; in float64, since float32 loses the fraction after some seconds. Apple's GPUs
    # have no float64.
    exact = hz.cpu() if hz.device.type == "mps" else hz
    periods = torch.cumsum(exact.double() / settings.sample_rate, dim=1)
    begins = torch.diff(periods.floor(), dim=1, prepend=periods.new_zeros(len(periods), 1)) > 0
    return begins.float().to(hz.device)


def minimum_phase(log_magnitude: Tensor) -> Tensor:
    """Return the phase (batch, bins, frames) of the smooth minimum-phase filter of magnitudes."""
    cepstrum = torch.fft.irfft(log_magnitude.transpose(1, 2).to(torch.complex64), dim=-1)
    size = cepstrum.shape[-1]
    fold = torch.zeros(size, device=cepstrum.device)
    fold[0], fold[1:LIFTER] = 1.0, 2.0
    phase: Tensor = torch.fft.rfft(cepstrum * fold, dim=-1).imag.transpose(1, 2)
    return phase


def octaves_of(f0_hz: Tensor) -> Tensor:
    """Return log2 of the ratio to 150 Hz; 0 where `f0_hz` is 0."""
    return torch.where(f0_hz > 0, torch.log2(f0_hz.clamp(min=1.0) / MIDDLE_HZ), 0.0)
