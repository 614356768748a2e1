"""A voice as Tortoise knows it: one latent for the speech codes, one for the diffusion decoder."""

from __future__ import annotations

from typing import Any

import torch
import torchaudio
from torch import Tensor
from torch.nn import functional as F

from diffusion_bench.audio.mel import MelSettings, log_mel
from diffusion_bench.audio.reference import Reference
from diffusion_bench.audio.resampling import resample
from diffusion_bench.backends.tortoise.decoder import DiffusionDecoder

CODE_RATE = 22_050
CODE_CLIP = 132_300  # 6 s
CODE_MELS = 80
CODE_FFT = 1024
CODE_HOP = 256
FLOOR = 1e-5
MEL_RATE = 24_000
MEL_CLIP = 102_400  # 4.27 s
LEAST_S = 1.0
MOST_CLIPS = 5


def check_reference(reference: Reference) -> None:
    """Raise ValueError, in one line, for a recording that holds no voice to take."""
    samples = torch.as_tensor(reference.samples)
    if samples.ndim != 1:
        raise ValueError(f"the reference must be mono, not of shape {tuple(samples.shape)}")
    if reference.duration_s < LEAST_S:
        raise ValueError(
            f"the reference is {reference.duration_s:.2f} s long; Tortoise needs {LEAST_S:.0f} s "
            "at least, and 6 s or more to be good"
        )
    if not torch.isfinite(samples).all():
        raise ValueError("the reference holds samples that are no numbers")
    if not samples.any():
        raise ValueError("the reference is silent: every sample is 0")


def clips_of(reference: Reference) -> list[Reference]:
    """Return the clips whose latents are averaged: up to five of 6 s, spread over the recording.

    The original asks for several clips and takes 6 s of each at random; here the same recording
    always gives the same voice. A recording under 12 s is one clip, its beginning.
    """
    clip = round(CODE_CLIP / CODE_RATE * reference.sample_rate)
    length = len(reference.samples)
    count = max(1, min(MOST_CLIPS, length // clip))
    starts = [round(index * (length - clip) / max(1, count - 1)) for index in range(count)]
    return [
        Reference(reference.samples[start : start + clip], reference.sample_rate)
        for start in starts
    ]


def code_mel(clip: Reference, mel_norms: Tensor) -> Tensor:
    """Return the (80, frames) log-mel that the autoregressive model hears of a clip.

    22.05 kHz, 6 s, silence where the clip is shorter; powers, HTK filters up to 8 kHz, natural
    logarithm, each bin divided by its norm.
    """
    sound = _at_rate(clip, CODE_RATE, CODE_CLIP)
    power: Tensor = torchaudio.transforms.MelSpectrogram(
        CODE_RATE, CODE_FFT, hop_length=CODE_HOP, f_max=8000, n_mels=CODE_MELS, norm="slaney"
    )(sound)
    return power.clamp(min=FLOOR).log() / mel_norms[:, None]


def diffusion_mel(clip: Reference, mel_channels: int = 100) -> Tensor:
    """Return the (mel_channels, frames) log-mel that the diffusion decoder hears of a clip.

    24 kHz, the first 4.27 s, silence where the clip is shorter; magnitudes, Slaney's filters up
    to 12 kHz, natural logarithm, as in Tacotron 2 (Shen et al., 2018, arXiv 1712.05884).
    """
    settings = MelSettings(sample_rate=MEL_RATE, n_mels=mel_channels, f_max=MEL_RATE / 2)
    return log_mel(_at_rate(clip, MEL_RATE, MEL_CLIP).clamp(-1, 1), settings)[0]


@torch.inference_mode()
def code_latent(clvp: Any, mels: Tensor) -> Tensor:
    """Return the (1, hidden_size) mean voice of (clips, 80, frames) log-mels.

    transformers' conditioning encoder puts a clip's voice first and a text after it; the text,
    here one token, does not touch it.
    """
    encoder = clvp.conditioning_encoder
    any_text = torch.zeros((1, 1), dtype=torch.long, device=mels.device)
    heard = mels.to(encoder.mel_conv.weight.dtype)
    first: Tensor = encoder(input_features=heard, input_ids=any_text)[:, 0]
    return first.mean(dim=0, keepdim=True)


@torch.inference_mode()
def voice_latents(
    clips: list[Reference], clvp: Any, decoder: DiffusionDecoder, mel_norms: Tensor
) -> dict[str, Tensor]:
    """Return fp32 `codes` (1, hidden_size) and `diffusion` (1, 2 * model_channels) of clips."""
    heard = torch.stack([code_mel(clip, mel_norms) for clip in clips])
    seen = torch.stack([diffusion_mel(clip, decoder.config.mel_channels) for clip in clips])
    latents = {
        "codes": code_latent(clvp, heard.to(clvp.device)),
        "diffusion": decoder.voice_latent(seen.to(decoder.device, decoder.dtype)),
    }
    return {name: latent.float().cpu() for name, latent in latents.items()}


def _at_rate(clip: Reference, rate: int, length: int) -> Tensor:
    sound = torch.as_tensor(clip.samples, dtype=torch.float32)
    if clip.sample_rate != rate:
        sound = resample(sound, clip.sample_rate, rate)
    return F.pad(sound[:length], (0, max(0, length - len(sound))))
