"""From a log-mel spectrogram to sound: what a vocoder is, and the one that needs no weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import torch
import torchaudio
from torch import Tensor

from diffusion_bench.audio.mel import (
    MelSettings,
    convert_mel,
    inverse_mel,
    log_mel,
    refuse_inconvertible,
)
from diffusion_bench.audio.resampling import resample


@runtime_checkable
class Vocoder(Protocol):
    """Turns log-mel spectrograms made with its `settings` into sound.

    The same mel gives the same sound, alone or in a batch.
    """

    @property
    def name(self) -> str:
        """Return what it is called where it is chosen."""
        ...

    @property
    def settings(self) -> MelSettings:
        """Return how the mels are made that it reads."""
        ...

    def __call__(self, mel: Tensor) -> Tensor:
        """Return (batch, settings.samples(frames)) float32 of a (batch, n_mels, frames) log mel."""
        ...


@dataclass(frozen=True)
class GriffinLim:
    """Griffin-Lim: the phase that fits the magnitudes best, from a seeded random one.

    Fast Griffin-Lim (Perraudin, Balazs & Søndergaard 2013), by torchaudio. More iterations take
    longer and change little: the magnitudes, which the mel only hints at, limit the quality.
    """

    settings: MelSettings
    iterations: int = 32
    momentum: float = 0.99
    seed: int = 0
    name: str = "griffin-lim"

    def __post_init__(self) -> None:
        if self.iterations < 1:
            raise ValueError(f"Griffin-Lim takes 1 iteration or more, not {self.iterations}")
        if not self.settings.centred:
            raise ValueError("Griffin-Lim needs mel frames that are centred")

    def __call__(self, mel: Tensor) -> Tensor:
        """Return (batch, samples) float32 of a (batch, n_mels, frames) log mel."""
        refuse_other_shapes(mel, self.settings)
        frames = mel.shape[-1]
        # The transform reflects half a window at the edges, so it needs more than that.
        least = self.settings.frames(self.settings.n_fft // 2) + 1
        magnitude = torch.nn.functional.pad(
            inverse_mel(mel, self.settings), (0, max(0, least - frames))
        )
        # One at a time, each from the same phase, so that none depends on its neighbours.
        samples = torch.cat([self._phase_found(one) for one in magnitude.split(1)])
        return samples[:, : self.settings.samples(frames)]

    def _phase_found(self, magnitude: Tensor) -> Tensor:
        settings, device = self.settings, magnitude.device
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(self.seed)
            samples: Tensor = torchaudio.functional.griffinlim(
                magnitude,
                window=torch.hann_window(settings.win_length, device=device),
                n_fft=settings.n_fft,
                hop_length=settings.hop_length,
                win_length=settings.win_length,
                power=1.0,
                n_iter=self.iterations,
                momentum=self.momentum,
                length=None,
                rand_init=True,
            )
        return samples


@dataclass(frozen=True)
class Converted:
    """A vocoder that reads another model's mels, turned into its own where that is exact."""

    settings: MelSettings
    vocoder: Vocoder

    @property
    def name(self) -> str:
        """Return the name of the vocoder within."""
        return self.vocoder.name

    def __call__(self, mel: Tensor) -> Tensor:
        """Return (batch, samples) float32 of a (batch, n_mels, frames) log mel."""
        return self.vocoder(convert_mel(mel, self.settings, self.vocoder.settings))


@dataclass(frozen=True)
class Resynthesis:
    """A vocoder of other mels than the model's: it says again what another one has said.

    mel > `first` > sound > resampled > the mel of `vocoder` > sound > resampled back

    A published vocoder reads mels of another rate, range or floor, which no conversion gives
    exactly. What `first` loses stays lost, nothing lies above half the model's rate, and the
    time is that of both.
    """

    first: Vocoder
    vocoder: Vocoder

    @property
    def name(self) -> str:
        """Return the name of the vocoder that is heard."""
        return self.vocoder.name

    @property
    def settings(self) -> MelSettings:
        """Return how the model's mels are made, which `first` reads."""
        return self.first.settings

    @property
    def note(self) -> str:
        """Return in one line what the listener hears."""
        return (
            f"vocoder {self.name!r} reads other spectrograms than this model draws: it says again "
            f"the sound of {self.first.name!r}"
        )

    def __call__(self, mel: Tensor) -> Tensor:
        """Return (batch, samples) float32 at the model's rate of a (batch, n_mels, frames) mel."""
        own, other = self.settings, self.vocoder.settings
        sound = self.first(mel)
        if not sound.shape[-1]:  # of one frame, which no resampling takes
            return sound
        heard = resample(sound, own.sample_rate, other.sample_rate)
        # Whole hops, so that no end is lost, and enough of them for a window's edges.
        hops = max(-(-heard.shape[-1] // other.hop_length), other.n_fft // other.hop_length)
        heard = _of_length(heard, hops * other.hop_length)
        again = self.vocoder(log_mel(heard, other))
        return _of_length(resample(again, other.sample_rate, own.sample_rate), sound.shape[-1])


def vocoder_for(
    settings: MelSettings, vocoder: Vocoder, *, first: Vocoder | None = None
) -> Vocoder:
    """Return a vocoder for mels made with `settings`: itself, or one that converts them first.

    Where that is not exact, it says again the sound of `first`, by default of Griffin-Lim.
    """
    if not settings.differences(vocoder.settings):
        return vocoder
    try:
        refuse_inconvertible(settings, vocoder.settings)
    except ValueError:
        return Resynthesis(first or GriffinLim(settings), vocoder)
    return Converted(settings, vocoder)


def _of_length(samples: Tensor, length: int) -> Tensor:
    return torch.nn.functional.pad(samples[:, :length], (0, max(0, length - samples.shape[-1])))


def refuse_other_shapes(mel: Tensor, settings: MelSettings) -> None:
    """Raise ValueError for what is no (batch, n_mels, frames) mel with a frame or more."""
    if mel.dim() != 3 or mel.shape[1] != settings.n_mels or not mel.shape[2]:
        raise ValueError(
            f"a mel of these settings is (batch, {settings.n_mels}, frames), not {tuple(mel.shape)}"
        )
