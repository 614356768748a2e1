"""Train the vocoder's network: log magnitudes of every bin, pitch and voicing, by regression."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion_bench.audio.mel import log_mel
from diffusion_bench.backends.echo.vocoder import MelVocoder, octaves_of
from diffusion_bench.training.echo.data import SETTINGS, Corpus
from diffusion_bench.training.loop import Schedule, train

FRAMES = 128
MAGNITUDE_FLOOR = 1e-3  # of |STFT|: below it is silence, not speech
VOCODER_SCHEDULE = Schedule(steps=6000, batch=12, peak_lr=1e-3, warmup_steps=100)


def train_vocoder(
    corpus: Corpus, *, folder: Path, schedule: Schedule = VOCODER_SCHEDULE, device: str = "cpu"
) -> MelVocoder:
    """Return the trained network; its checkpoint lies in `folder`."""
    torch.manual_seed(0)
    network: MelVocoder = MelVocoder().to(device)

    def loss_of_step(step: int, generator: torch.Generator) -> Tensor:
        samples, f0_hz = draw(corpus, schedule.batch, generator)
        return vocoder_loss(network, samples.to(device), f0_hz.to(device))

    train(network, loss_of_step, schedule, folder=folder, device=device)
    return network


def draw(corpus: Corpus, batch: int, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return (batch, samples) of random pieces of random utterances, and their pitch by frame."""
    length = SETTINGS.samples(FRAMES)
    pieces, pitches = [], []
    for index in torch.randint(len(corpus.utterances), (batch,), generator=generator).tolist():
        spoken = corpus.utterances[index]
        spare = max(0, spoken.mel.shape[-1] - FRAMES)
        first = int(torch.randint(spare + 1, (1,), generator=generator))
        start = first * SETTINGS.hop_length
        piece = spoken.samples[start : start + length]
        pieces.append(np.pad(piece, (0, length - len(piece))))
        pitch = spoken.f0_hz[first : first + FRAMES]
        pitches.append(F.pad(pitch, (0, FRAMES - len(pitch))))
    samples = torch.from_numpy(np.stack(pieces).astype(np.float32) / 32768)
    gain = 10 ** (-torch.rand((batch, 1), generator=generator))  # of 0 to -20 dB
    return samples * gain, torch.stack(pitches)


def vocoder_loss(network: MelVocoder, samples: Tensor, f0_hz: Tensor) -> Tensor:
    """Return the loss of a batch: nepers of magnitude, octaves of pitch, nats of voicing."""
    window = torch.hann_window(SETTINGS.win_length, device=samples.device)
    truth = torch.stft(
        samples, SETTINGS.n_fft, SETTINGS.hop_length, window=window, return_complex=True
    ).abs()
    told = network(log_mel(samples, SETTINGS))
    floor = MAGNITUDE_FLOOR
    wanted, given = truth.clamp(min=floor).log(), told.log_magnitude
    # Nothing is asked below the floor but to be below it.
    distance = torch.where(truth > floor, (given - wanted).abs(), F.relu(given - wanted))
    voiced = f0_hz > 0
    octave = (told.octaves - octaves_of(f0_hz)).abs()[voiced].sum() / voiced.sum().clamp(min=1)
    voicing = F.binary_cross_entropy_with_logits(told.voiced, voiced.float())
    total: Tensor = distance.mean() + 0.5 * octave + 0.2 * voicing
    return total
