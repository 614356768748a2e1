"""What steps are worth in sound: `python -m diffusion_bench.training.echo.step_curve MODEL`.

Held-out speakers' own sentences are spoken again with their true durations and pitch, so that each
frame has a true one to be compared with. Prints a JSON line for each sampler and number of steps:
mel distance, word error rate by pocketsphinx, and the seconds that a sentence's mel and sound take.
"""

from __future__ import annotations

import json
import time
from typing import Annotated, Any, NamedTuple

import numpy as np
import torch
import typer
from torch import Tensor

from diffusion_bench.backends.echo.pipeline import EchoPipeline, Plan, Voice, normalise_mel
from diffusion_bench.backends.echo.vocoder import EchoVocoder, octaves_of
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.training.echo.corpus import HELD_OUT, speak, speaker_of
from diffusion_bench.training.echo.data import annotate, durations, frame_pitch, mel_of
from diffusion_bench.training.echo.heldout import SENTENCES, held_out_speakers
from diffusion_bench.training.echo.recognise import WordErrors
from diffusion_bench.training.echo.speakers import put_together, take_apart

SAMPLERS = ("ddim", "ddpm")
STEPS = (5, 10, 25, 50, 100, 250, 1000)


class TrueSpeech(NamedTuple):
    """A sentence as its speaker says it, and the plan that follows it frame by frame."""

    text: str
    mel: Tensor
    plan: Plan
    voice: Voice


def main(
    model: Annotated[str, typer.Argument(help="A voice model: a name or a folder.")] = "echo",
    speakers: Annotated[int, typer.Option(help="Held-out speakers, a sentence each.")] = 8,
    temperature: Annotated[float, typer.Option(help="Scale of the noise.")] = 0.5,
    most_steps: Annotated[int, typer.Option(help="Leave longer runs out.")] = 1000,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves torch's choice.")] = 0,
) -> None:
    """Measure mel distance, word errors and seconds over the steps of DDIM and DDPM."""
    if threads:
        torch.set_num_threads(threads)
    pipeline = EchoPipeline.from_pretrained(find_voice_model(model).location)
    truths = true_speeches(pipeline, speakers)
    for sampler in SAMPLERS:
        for steps in (count for count in STEPS if count <= most_steps):
            row = measure(pipeline, truths, sampler, steps, temperature)
            typer.echo(json.dumps({"sampler": sampler, "steps": steps, **row}))


def true_speeches(pipeline: EchoPipeline, speakers: int) -> list[TrueSpeech]:
    """Return a sentence of each held-out speaker, its plan aligned to the truth."""
    found = []
    for index, held_out in enumerate(held_out_speakers(speakers)):
        text = SENTENCES[index % len(SENTENCES)]
        speaker = speaker_of(HELD_OUT + index)
        spoken = put_together(take_apart(speak(text, speaker.base)), speaker)
        mel = mel_of(spoken.samples)
        voice = pipeline.encode_voice(torch.from_numpy(held_out.recorded.samples))
        phones = torch.tensor([annotate(list(spoken.phones), text)])
        frames = durations(np.asarray(spoken.ends_s), mel.shape[-1])[None]
        f0_hz = frame_pitch(spoken.f0_hz, mel.shape[-1])[None]
        found.append(
            TrueSpeech(text, mel, aligned_plan(pipeline, phones, frames, f0_hz, voice), voice)
        )
    return found


@torch.inference_mode()
def aligned_plan(
    pipeline: EchoPipeline, phones: Tensor, frames: Tensor, f0_hz: Tensor, voice: Voice
) -> Plan:
    """Return the plan of phones (1, 4, phones) with given durations and pitch."""
    prior = pipeline.prior
    hidden, _ = prior.read(phones, torch.tensor([phones.shape[-1]]), voice.vector)
    long = prior.expand(hidden, frames)
    mean, hidden = prior(long, octaves_of(f0_hz), (f0_hz > 0).float(), voice.vector)
    return Plan(mean, hidden, f0_hz, frames)


def measure(
    pipeline: EchoPipeline,
    truths: list[TrueSpeech],
    sampler: str,
    steps: int,
    temperature: float,
) -> dict[str, Any]:
    """Return the figures of one sampler and number of steps, and their n."""
    vocoder, errors = EchoVocoder(pipeline.vocoder), WordErrors()
    distances, seconds = [], 0.0
    for index, truth in enumerate(truths):
        start_s = time.perf_counter()
        mel = pipeline(
            truth.plan,
            truth.voice,
            generators=[torch.Generator().manual_seed(index)],
            sampler=sampler,
            num_inference_steps=steps,
            temperature=temperature,
        )
        speech = vocoder(mel, truth.plan.f0_hz)[0].numpy()
        seconds += time.perf_counter() - start_s  # without the recogniser's, which are longer
        distances.append((normalise_mel(mel[0]) - normalise_mel(truth.mel)).abs().mean().item())
        errors.add(speech, truth.text)
    return {
        "mel_distance": float(np.mean(distances)),
        "word_error_rate": errors.rate,
        "sentence_s": seconds / len(truths),
        "n": len(truths),
    }


if __name__ == "__main__":
    typer.run(main)
