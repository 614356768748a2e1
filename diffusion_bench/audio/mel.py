"""The log-mel spectrogram: what the voice models draw and what vocoders read, and its inverse.

samples > magnitude STFT > slaney filters > natural log         log_mel
log mel > exp > non-negative inverse of the filters             inverse_mel
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Annotated, Any, Literal, Self

import torch
import torchaudio
from pydantic import Field, model_validator
from torch import Tensor

from diffusion_bench.records import Record

# Mel L1 of Griffin-Lim's speech from it: 0.157 with none, 0.125 with 4, 0.123 with 8 and with 16.
INVERSE_ITERATIONS = 8
_NEVER_ZERO = 1e-8

Count = Annotated[int, Field(ge=1)]


class MelSettings(Record):
    """How a mel spectrogram is made; the defaults are those of the bundled model.

    Magnitudes (power 1) under a periodic Hann window. `centred`: frame `i` is centred on sample
    `i * hop_length`, the edges reflected by half a window; otherwise the edges are reflected by
    half of `n_fft - hop_length`, and the frames lie half a hop later (HiFi-GAN's convention).
    `scale` and `norm` are torchaudio's `mel_scale` and `norm`; `log_floor` is the least magnitude.
    """

    sample_rate: Count = 16_000
    n_fft: Count = 1024
    hop_length: Count = 256
    win_length: Count = 1024
    n_mels: Count = 80
    f_min: Annotated[float, Field(ge=0)] = 0.0
    f_max: Annotated[float, Field(gt=0)] = 8000.0
    log_floor: Annotated[float, Field(gt=0)] = 1e-5
    log: Literal["natural", "decimal"] = "natural"
    scale: Literal["slaney", "htk"] = "slaney"
    norm: Literal["slaney"] | None = "slaney"
    centred: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not self.hop_length <= self.win_length <= self.n_fft:
            raise ValueError(
                f"hop_length <= win_length <= n_fft must hold, not "
                f"{self.hop_length}, {self.win_length}, {self.n_fft}"
            )
        if not self.f_min < self.f_max <= self.sample_rate / 2:
            raise ValueError(
                f"f_min < f_max <= half the sample rate ({self.sample_rate / 2:g}) must hold, "
                f"not {self.f_min:g}, {self.f_max:g}"
            )
        return self

    @property
    def hop_s(self) -> float:
        """Return the seconds between two frames."""
        return self.hop_length / self.sample_rate

    def frames(self, samples: int) -> int:
        """Return how many frames a recording of that many samples has."""
        return samples // self.hop_length + self.centred

    def samples(self, frames: int) -> int:
        """Return the least samples that have that many frames: what a vocoder makes of them."""
        return (frames - self.centred) * self.hop_length

    def differences(self, other: MelSettings) -> tuple[str, ...]:
        """Return the fields in which another differs, in order; empty where they are equal."""
        return tuple(
            name for name in type(self).model_fields if getattr(self, name) != getattr(other, name)
        )


def log_mel(samples: Tensor, settings: MelSettings) -> Tensor:
    """Return the log of the mel spectrogram, (batch, n_mels, frames) float32.

    `samples`: (batch, samples) or (samples,) at `settings.sample_rate`. Gradients pass. ValueError
    for less than half a window, whose edges cannot be reflected.
    """
    batch = _as_batch(samples)
    edge = 0 if settings.centred else (settings.n_fft - settings.hop_length) // 2
    needed = edge or settings.n_fft // 2
    if batch.shape[-1] <= needed:
        raise ValueError(
            f"{batch.shape[-1]} samples are too short for a spectrogram: "
            f"more than {needed} are needed"
        )
    if edge:
        batch = torch.nn.functional.pad(batch, (edge, edge), mode="reflect")
    mel: Tensor = _transform(settings, batch.device)(batch)
    logarithm = mel.clamp(min=settings.log_floor).log()
    return logarithm / _unit(settings)


def convert_mel(mel: Tensor, have: MelSettings, want: MelSettings) -> Tensor:
    """Return a log mel made with settings `have` as `want` would have made it.

    Only where that is exact: another logarithm, a higher floor. ValueError names all else.
    """
    refuse_inconvertible(have, want)
    floor = math.log(want.log_floor) / _unit(want)
    converted: Tensor = mel * (_unit(have) / _unit(want))
    return converted.clamp(min=floor) if want.log_floor > have.log_floor else converted


def refuse_inconvertible(have: MelSettings, want: MelSettings) -> None:
    """Raise ValueError with the fields that differ where a log mel cannot be converted."""
    bad = [
        f"{name} {getattr(have, name)} against {getattr(want, name)}"
        for name in have.differences(want)
        if name != "log" and not (name == "log_floor" and want.log_floor > have.log_floor)
    ]
    if bad:
        raise ValueError(f"the mel spectrograms differ: {', '.join(bad)}")


def inverse_mel(
    mel: Tensor, settings: MelSettings, *, iterations: int = INVERSE_ITERATIONS
) -> Tensor:
    """Return non-negative linear magnitudes, (batch, n_fft // 2 + 1, frames), of a log mel.

    The clamped pseudo-inverse, made to fit the mel better by multiplicative updates, which keep it
    non-negative (Lee & Seung 2001, "Algorithms for Non-negative Matrix Factorization", eq. 5: of
    the divergence, whose relative errors weigh quiet bins more than the squares of eq. 4 do).
    """
    bank, inverse = _filters(settings, mel.device)
    target = (mel.float() * _unit(settings)).exp()
    magnitude = (inverse @ target).clamp(min=_NEVER_ZERO)
    weight = bank.sum(dim=1, keepdim=True).clamp(min=_NEVER_ZERO)
    for _ in range(iterations):
        ratio = target / (bank.T @ magnitude).clamp(min=_NEVER_ZERO)
        magnitude = magnitude * (bank @ ratio) / weight
    return magnitude


def _unit(settings: MelSettings) -> float:
    """Return what one of the logarithm's units is in natural ones."""
    return math.log(10) if settings.log == "decimal" else 1.0


def _as_batch(samples: Tensor) -> Tensor:
    if samples.dim() not in (1, 2):
        raise ValueError(f"samples are (batch, samples) or (samples,), not {tuple(samples.shape)}")
    return samples.reshape(-1, samples.shape[-1]).float()


@lru_cache(maxsize=32)
def _transform(settings: MelSettings, device: torch.device) -> Any:
    with torch.inference_mode(False):  # a constant made inside could not be trained through
        return torchaudio.transforms.MelSpectrogram(
            sample_rate=settings.sample_rate,
            n_fft=settings.n_fft,
            win_length=settings.win_length,
            hop_length=settings.hop_length,
            f_min=settings.f_min,
            f_max=settings.f_max,
            n_mels=settings.n_mels,
            power=1.0,
            norm=settings.norm,
            mel_scale=settings.scale,
            center=settings.centred,
        ).to(device)


@lru_cache(maxsize=32)
def _filters(settings: MelSettings, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return the filters (bins, n_mels) and the pseudo-inverse of their transpose (bins, n_mels).

    Solved once by `pinv`: torchaudio's `InverseMelScale` solves at each call, and its driver
    `gelsy` silently gives garbage, as the filters' system has fewer equations than unknowns.
    """
    with torch.inference_mode(False):
        bank: Tensor = _transform(settings, torch.device("cpu")).mel_scale.fb
        inverse = torch.linalg.pinv(bank.T.double()).float()
        return bank.to(device), inverse.to(device)
