"""From a log-mel spectrogram to sound, by transformers' UnivNet."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from diffusion_bench.backends.tortoise.sampling import QUIETEST

SAMPLE_RATE = 24_000
HOP = 256
# Frames of silence after the end: the network would click where its input stops.
TAIL_FRAMES = 10


@torch.inference_mode()
def speak_mel(univnet: Any, mel: Tensor, generator: torch.Generator) -> Tensor:
    """Return (samples,) fp32 sound at 24 kHz, on the CPU, of a (mel_channels, frames) log-mel.

    `generator`, on the CPU, draws the noise that UnivNet shapes (Jang et al., 2021,
    arXiv 2106.07889).
    """
    padded = F.pad(mel.float(), (0, TAIL_FRAMES), value=QUIETEST).transpose(0, 1)
    noise = torch.randn(
        (1, padded.shape[0], univnet.config.model_in_channels), generator=generator
    ).to(padded.device)
    sound: Tensor = univnet(padded.unsqueeze(0), noise_sequence=noise).waveforms[0]
    return sound[: -TAIL_FRAMES * HOP].clamp(-1, 1).cpu()
