"""Speech as it comes to be: the plan, and what each step makes of its mel spectrogram."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from diffusion_bench.audio.joining import Samples
from diffusion_bench.backends.echo.pipeline import Plan
from diffusion_bench.backends.echo.voice import EchoModel, voice_in
from diffusion_bench.backends.inside.film import MOST_FRAMES, Progress, evenly, progress_of
from diffusion_bench.backends.inside.recorder import SeenStep, seen_step
from diffusion_bench.backends.voice.base import OnChunkStep, VoiceModel, VoiceState
from diffusion_bench.diffusion.taken_step import TakenStep
from diffusion_bench.pronunciation.front_end import NOTHING_TO_SAY, is_speakable, phonemes
from diffusion_bench.pronunciation.sentences import split_to_hear
from diffusion_bench.records import VoiceRequest


class SpeechFrame(NamedTuple):
    """A step as residuals (bins, frames): `noisy` is x_t, `clean` the x_0 that the U-Net sees."""

    at: Progress
    noisy: Tensor
    clean: Tensor


class SpeechFilm(NamedTuple):
    """How one sentence was said; log mels are (bins, frames).

    `planned` is what is said without a step: the mean that text and voice alone tell. What the
    U-Net adds to it is the residual, in units of its deviation: `frames` are as many steps as can
    be shown, `progress` has all, `residual` is what comes of them. `half_way` is the plan and the
    x_0 of the middle step, `mel` what is said.
    """

    plan: Plan
    planned: Tensor
    frames: tuple[SpeechFrame, ...]
    progress: tuple[Progress, ...]
    residual: Tensor
    mel: Tensor
    half_way: Tensor


def looked_into(model: VoiceModel) -> EchoModel:
    """Return the model as one that can be looked into; ValueError for one of another kind."""
    if not isinstance(model, EchoModel):
        raise ValueError(
            f"{model.entry.title} cannot be looked into: it denoises no mel spectrogram; take echo"
        )
    return model


def check_sentence(text: str, max_chars: int) -> None:
    """Raise ValueError for what is no one piece of speech that can be said."""
    if not is_speakable(text):
        raise ValueError(NOTHING_TO_SAY)
    pieces = len(split_to_hear(text, max_chars))
    if pieces > 1:
        raise ValueError(f"one sentence is looked into at a time; this text is said in {pieces}")


def speech_film(
    model: EchoModel,
    state: VoiceState,
    request: VoiceRequest,
    on_step: OnChunkStep,
    *,
    most: int = MOST_FRAMES,
) -> SpeechFilm:
    """Say a request's one sentence and return how it came to be; of a batch the first candidate.

    It is the speech that `model.speak` says without being looked at. `on_step` may raise to stop.
    """
    voice = voice_in(state)
    plan = model.pipeline.plan(phonemes(request.text), voice, speed=request.speed)
    steps: list[SeenStep] = []

    def see(taken: TakenStep) -> None:
        steps.append(seen_step(len(steps), taken))

    mel = model.denoise(plan, voice, request, on_step, see)
    progress = progress_of(steps)

    def spectrogram(residual: Tensor) -> Tensor:
        return model.pipeline.mel_of(plan, residual.to(plan.mean.device))[0].cpu()

    return SpeechFilm(
        plan=plan,
        planned=spectrogram(torch.zeros_like(steps[0].clean)),
        frames=tuple(
            SpeechFrame(progress[i], steps[i].noisy, steps[i].clean)
            for i in evenly(len(steps), most)
        ),
        progress=progress,
        residual=steps[-1].following,
        mel=mel[0].cpu(),
        half_way=spectrogram(steps[len(steps) // 2].clean),
    )


def hear(model: EchoModel, film: SpeechFilm, mel: Tensor) -> Samples:
    """Return the sound of a log mel (bins, frames) of a film, by the model's own vocoder."""
    sound = model.sound(mel.unsqueeze(0).to(film.plan.mean.device), film.plan)[0]
    return np.asarray(sound.cpu(), dtype=np.float32)
