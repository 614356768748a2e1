"""What the voice model can do: `python -m diffusion_bench.training.echo.measure MODEL`.

Prints a JSON document of every figure of the model card, each with its n.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from statistics import median
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.typing import NDArray

from diffusion_bench.audio.mel import MelSettings, log_mel
from diffusion_bench.audio.pitch import pitch_hz, voice_pitch
from diffusion_bench.audio.reference import Reference
from diffusion_bench.audio.spectral_distance import log_spectral_distance_db
from diffusion_bench.audio.vocoders import GriffinLim
from diffusion_bench.backends.echo.voice import EchoModel
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.records import VoiceRequest
from diffusion_bench.training.echo.aligned import FLITE_VOICES, SAMPLE_RATE, speak_flite
from diffusion_bench.training.echo.corpus import HELD_OUT
from diffusion_bench.training.echo.heldout import (
    REFERENCE_TEXT,
    SENTENCES,
    HeldOut,
    held_out_speakers,
    speak_festival,
    true_speech,
)
from diffusion_bench.training.echo.recognise import WordErrors
from diffusion_bench.training.echo.speaker_judges import (
    JUDGES,
    RIVALS,
    distances,
    equal_error_rate,
    nearest_of_rivals,
)

Speech = NDArray[np.float32]
# Bins further below the loudest of a file are silence to the distance, which depends on that as
# much as on the copy.
FLOORS_DB = {"80_db": -80.0, "60_db": -60.0, "no_floor": -math.inf}
FIGURES = ("words", "speaker", "pitch", "stranger", "vocoder", "speed")


def main(
    model: Annotated[str, typer.Argument(help="A voice model: a name or a folder.")] = "echo",
    speakers: Annotated[int, typer.Option(help="Held-out speakers.")] = 24,
    steps: Annotated[int, typer.Option(help="Denoising steps.")] = 25,
    temperature: Annotated[float, typer.Option(help="Scale of the noise.")] = 0.2,
    threads: Annotated[int, typer.Option(help="CPU threads; 0 leaves torch's choice.")] = 0,
    only: Annotated[str, typer.Option(help=f"Some figures only, of {','.join(FIGURES)}.")] = "",
) -> None:
    """Measure a voice model on voices and sentences it was not trained on."""
    chosen = only.split(",") if only else FIGURES
    if unknown := set(chosen) - set(FIGURES):
        raise typer.BadParameter(f"--only {min(unknown)}: known are {', '.join(FIGURES)}")
    if threads:
        torch.set_num_threads(threads)
    echo = EchoModel.load(find_voice_model(model), device="cpu", precision="fp32")
    voices = held_out_speakers(speakers)
    request = VoiceRequest(text="x", steps=steps, temperature=temperature)
    said = _say_all(echo, voices, request)
    figures: dict[str, Callable[[], Any]] = {
        "words": lambda: word_errors(echo, request, voices, said),
        "speaker": lambda: right_speaker(voices, said),
        "pitch": lambda: pitch_errors(voices, said),
        "stranger": lambda: stranger(echo, request),
        "vocoder": lambda: vocoder_on_true_mels(echo),
        "speed": lambda: speed(echo, voices[0], request),
    }
    report = {name: figures[name]() for name in chosen}
    json.dump(report, sys.stdout, indent=2)
    print()


def _say_all(
    echo: EchoModel, voices: Sequence[HeldOut], request: VoiceRequest
) -> list[tuple[str, Speech]]:
    """Return a sentence of each voice, cloned from its recorded reference."""
    said = []
    for index, voice in enumerate(voices):
        text = SENTENCES[index % len(SENTENCES)]
        said.append((text, _say(echo, voice.recorded, text, request)))
    return said


def _say(echo: EchoModel, reference: Reference, text: str, request: VoiceRequest) -> Speech:
    with torch.inference_mode():
        state = echo.encode_voice(reference)
        utterance = echo.speak(text, state, request, lambda index, steps: None)
    return np.asarray(utterance.audio[0].numpy())


def word_errors(
    echo: EchoModel,
    request: VoiceRequest,
    voices: Sequence[HeldOut],
    said: Sequence[tuple[str, Speech]],
) -> dict[str, Any]:
    """Return word error rates by pocketsphinx.

    `clones_of_flite` against `flite`: every sentence in flite's four voices, cloned and by flite
    itself. `held_out` against `held_out_true`: a sentence of each held-out speaker.
    """
    names = ("clones_of_flite", "flite", "held_out", "held_out_true")
    counts = {name: WordErrors() for name in names}
    for voice in FLITE_VOICES:
        reference = Reference(speak_flite(REFERENCE_TEXT, voice).samples, SAMPLE_RATE)
        for text in SENTENCES:
            counts["clones_of_flite"].add(_say(echo, reference, text, request), text)
            counts["flite"].add(speak_flite(text, voice).samples, text)
    for index, (text, speech) in enumerate(said):
        counts["held_out"].add(speech, text)
        counts["held_out_true"].add(true_speech(HELD_OUT + index, text), text)
    rates: dict[str, Any] = {name: count.rate for name, count in counts.items()}
    rates["ratio_to_flite"] = rates["clones_of_flite"] / max(1e-9, rates["flite"])
    return rates | {"n_flite": len(FLITE_VOICES) * len(SENTENCES), "n_held_out": len(voices)}


def right_speaker(voices: Sequence[HeldOut], said: Sequence[tuple[str, Speech]]) -> dict[str, Any]:
    """Return how often our speech is nearest to the right speaker's clean reference, of RIVALS.

    Each speaker is looked for among RIVALS neighbours in the list (among all where there are
    fewer), so more speakers mean a surer figure, not a harder question. By each judge, and by both
    at once; beside them what the judges make of the speakers' own speech, with its equal error
    rate over all pairs.
    """
    own = [true_speech(HELD_OUT + index, text) for index, (text, _) in enumerate(said)]
    report: dict[str, Any] = {"n": len(said), "of": min(RIVALS, len(said))}
    by_all = np.ones(len(said), bool)
    for name, judge in JUDGES.items():
        known = np.stack([judge(voice.clean.samples) for voice in voices])
        hits = nearest_of_rivals(np.stack([judge(speech) for _, speech in said]), known)
        by_all &= hits
        spoken = np.stack([judge(speech) for speech in own])
        apart, others = distances(spoken, known), ~np.eye(len(said), dtype=bool)
        report[name] = {
            "top1": float(hits.mean()),
            "top1_true": float(nearest_of_rivals(spoken, known).mean()),
            "equal_error_rate_true": equal_error_rate(np.diag(apart), apart[others]),
        }
    return report | {"top1_by_all_judges": float(by_all.mean())}


def pitch_errors(voices: Sequence[HeldOut], said: Sequence[tuple[str, Speech]]) -> dict[str, Any]:
    """Return semitones between the median pitch of our speech and the speaker's true one."""
    errors = []
    for voice, (_, speech) in zip(voices, said, strict=True):
        found, _, _ = voice_pitch(torch.from_numpy(speech), SAMPLE_RATE)
        true, _, _ = voice_pitch(torch.from_numpy(voice.clean.samples), SAMPLE_RATE)
        if found and true:
            errors.append(abs(12 * float(np.log2(found / true))))
    return {"median_semitones": median(errors), "worst": max(errors), "n": len(errors)}


def stranger(echo: EchoModel, request: VoiceRequest) -> dict[str, Any]:
    """Return the same of festival's ked, a voice of another synthesizer."""
    reference = speak_festival("A tall man crossed the street. He looked at his watch and left.")
    true, _, _ = voice_pitch(torch.from_numpy(reference), SAMPLE_RATE)
    errors = []
    for text in SENTENCES[:6]:
        speech = _say(echo, Reference(reference, SAMPLE_RATE), text, request)
        found, _, _ = voice_pitch(torch.from_numpy(speech), SAMPLE_RATE)
        if found and true:
            errors.append(abs(12 * float(np.log2(found / true))))
    return {"voice": "festival ked", "median_semitones": median(errors), "n": len(errors)}


def vocoder_on_true_mels(echo: EchoModel) -> dict[str, Any]:
    """Return distance and pitch error of copies from true mels, beside those of Griffin-Lim."""
    settings = MelSettings()
    griffin = GriffinLim(settings, iterations=60)
    rows: dict[str, list[tuple[list[float], float]]] = {"ours": [], "griffin_lim_60": []}
    for index in range(12):
        text = SENTENCES[index]
        true = torch.from_numpy(true_speech(HELD_OUT + index, text))
        mel = log_mel(true, settings)
        for name, vocoder in (("ours", echo.vocoder("native")), ("griffin_lim_60", griffin)):
            copy = vocoder(mel)[0].float()
            rows[name].append(_distances(true[: len(copy)], copy))
    return {
        name: {
            "log_spectral_distance_db": dict(
                zip(FLOORS_DB, np.mean([d for d, _ in found], axis=0).tolist(), strict=True)
            ),
            "pitch_error_semitones": float(np.nanmedian([p for _, p in found])),
            "n": len(found),
        }
        for name, found in rows.items()
    }


def _distances(true: torch.Tensor, copy: torch.Tensor) -> tuple[list[float], float]:
    """Return the spectral distance within each of FLOORS_DB, and that of pitch in semitones."""
    found = [log_spectral_distance_db(copy, true, floor_db=floor) for floor in FLOORS_DB.values()]
    one, two = pitch_hz(true, SAMPLE_RATE).f0_hz, pitch_hz(copy, SAMPLE_RATE).f0_hz
    count = min(len(one), len(two))
    semitones = (12 * (one[:count] / two[:count]).log2()).abs()
    return found, float(semitones[~semitones.isnan()].mean())


def speed(echo: EchoModel, voice: HeldOut, request: VoiceRequest) -> dict[str, Any]:
    """Return the real-time factor of all stages, warm, on five seconds of reference."""
    text = "The quick answer came at once, and everyone in the hall was glad to hear it at last."
    walls, seconds = [], 0.0
    for _ in range(6):
        start_s = time.perf_counter()
        speech = _say(echo, voice.recorded, text, request)
        walls.append(time.perf_counter() - start_s)
        seconds = len(speech) / SAMPLE_RATE
    return {
        "real_time_factor": median(walls[1:]) / seconds,
        "wall_s": median(walls[1:]),
        "speech_s": seconds,
        "threads": torch.get_num_threads(),
        "n": len(walls) - 1,
    }


if __name__ == "__main__":
    typer.run(main)
