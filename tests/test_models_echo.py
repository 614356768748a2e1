"""The bundled voice: its weights are the trained ones, and do what its card says.

The recogniser is pocketsphinx, the voices are the bundled sample voices; both come with pip or the
repository, so that no synthesizer is needed. Bounds are looser than the card's figures, which are
measured on more speech.
"""

from __future__ import annotations

import itertools
from statistics import mean, median

import numpy as np
import pytest
import torch
from recogniser import word_errors

from diffusion_bench.audio.joining import speech_span
from diffusion_bench.audio.mel import MelSettings, log_mel
from diffusion_bench.audio.pitch import pitch_hz, voice_pitch
from diffusion_bench.audio.spectral_distance import log_spectral_distance_db
from diffusion_bench.audio.timbre import timbre_similarity
from diffusion_bench.audio.vocoders import GriffinLim
from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.backends.echo.voice import EchoModel, voice_in
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.backends.voice.doubts import expected_duration_s
from diffusion_bench.backends.voice.voices import bundled_names, find_voice
from diffusion_bench.pronunciation.front_end import phonemes
from diffusion_bench.records import VoiceRequest

FOLDER = MODELS_FOLDER / "echo"
TEXTS = (
    "The train to the coast leaves at seven in the morning.",
    "She put the letters on the table and closed the door.",
    "After the rain, the children played in the garden.",
    "It was the best meal that I had ever eaten.",
)
RATE = 16_000

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the bundled voice is not here")


@pytest.fixture(scope="module")
def model() -> EchoModel:
    return EchoModel.load(find_voice_model("echo"), device="cpu", precision="fp32")


def say(model: EchoModel, voice: str, text: str, **settings: object) -> np.ndarray:
    entry = model.entry
    asked = {"steps": entry.steps, "temperature": entry.temperature, **settings}
    request = VoiceRequest(text=text, **asked)
    with torch.inference_mode():
        state = model.encode_voice(find_voice(voice, "echo"))
        return model.speak(text, state, request, lambda index, steps: None).audio[0].numpy()


@pytest.fixture(scope="module")
def spoken(model: EchoModel) -> dict[tuple[str, str], np.ndarray]:
    """Return every text in every sample voice."""
    pairs = itertools.product(bundled_names(), TEXTS)
    return {(voice, text): say(model, voice, text) for voice, text in pairs}


def test_three_sample_voices_come_with_it():
    assert bundled_names() == ["ada", "ben", "cleo"]
    for name in bundled_names():
        reference = find_voice(name, "echo")
        assert 5 < reference.duration_s < 10
        assert reference.transcript


def test_it_is_small_and_keeps_no_pickles():
    weights = list(FOLDER.rglob("*.safetensors"))
    assert sum(path.stat().st_size for path in weights) <= 20e6
    assert {path.suffix for path in FOLDER.rglob("*") if path.is_file()} <= {
        ".json", ".safetensors", ".md", ".png",
    }  # fmt: skip


@pytest.mark.slow
def test_words_are_understood(spoken):
    counts = [word_errors(wave, RATE, text) for (_, text), wave in spoken.items()]
    wrong, words = (sum(column) for column in zip(*counts, strict=True))
    assert wrong / words <= 0.3


@pytest.mark.slow
def test_each_clone_has_its_reference_s_pitch(spoken):
    errors = []
    for (voice, _), wave in spoken.items():
        want, _, _ = voice_pitch(torch.from_numpy(find_voice(voice, "echo").samples), RATE)
        have, _, _ = voice_pitch(torch.from_numpy(wave), RATE)
        errors.append(abs(12 * np.log2(have / want)))
    assert median(errors) <= 0.7


@pytest.mark.slow
def test_each_clone_is_most_like_its_own_reference(spoken):
    references = {name: find_voice(name, "echo").samples for name in bundled_names()}
    hits = [
        max(references, key=lambda name: timbre_similarity(wave, RATE, references[name], RATE))
        == voice
        for (voice, _), wave in spoken.items()
    ]
    assert mean(hits) >= 0.9


def test_the_vocoder_copies_true_speech_better_than_griffin_lim(model):
    settings = MelSettings()
    vocoders = (model.vocoder("native"), GriffinLim(settings, iterations=60))
    distances: tuple[list[float], list[float]] = ([], [])
    pitches = []
    for name in bundled_names():
        true = torch.from_numpy(find_voice(name, "echo").samples)
        mel = log_mel(true, settings)
        for vocoder, found in zip(vocoders, distances, strict=True):
            copy = vocoder(mel)[0]
            found.append(log_spectral_distance_db(copy, true[: len(copy)], settings))
            if vocoder is vocoders[0]:
                tracks = [pitch_hz(wave, RATE).f0_hz for wave in (true[: len(copy)], copy)]
        semitones = (12 * (tracks[0] / tracks[1]).log2()).abs()
        pitches.append(semitones[~semitones.isnan()].mean().item())
    assert mean(distances[0]) <= 4.3 < mean(distances[1])
    assert mean(pitches) <= 0.3


@torch.inference_mode()
def test_what_would_pass_full_scale_is_turned_down_whole_and_not_cut_off(model: EchoModel) -> None:
    """At temperature 1 the loudest of these candidates pass it by far; cut off, they crackle."""
    voice = voice_in(model.encode_voice(find_voice("ada", "echo")))
    plan = model.pipeline.plan(phonemes("A small bird sat on the wall."), voice)
    asked = VoiceRequest(text="x", steps=10, temperature=1.0, batch=4, seed=10)
    mel = model.denoise(plan, voice, asked, lambda index, steps: None)
    loud = model.vocoder("native")(mel, plan.f0_hz.expand(len(mel), -1))
    heard = model.sound(mel, plan)

    assert loud.abs().max() > 1.1
    assert heard.abs().max() <= 0.96
    for before, after in zip(loud, heard, strict=True):
        gain = (before @ after) / (before @ before)
        torch.testing.assert_close(after, gain * before)
    softer = mel - 1.0
    own = model.vocoder("native")(softer, plan.f0_hz.expand(len(mel), -1))
    assert torch.equal(model.sound(softer, plan), own), "what fits is left as it is"


def test_ddpm_and_ddim_say_the_same_words(model):
    text = TEXTS[0]
    for sampler, steps in (("ddim", 10), ("ddpm", 50)):
        wrong, words = word_errors(
            say(model, "ben", text, sampler=sampler, steps=steps), RATE, text
        )
        assert wrong / words <= 0.5


def test_it_speaks_at_the_pace_its_catalog_entry_tells(
    model: EchoModel, spoken: dict[tuple[str, str], np.ndarray]
) -> None:
    """By that pace it is told how long a text takes, and whether words are missing."""
    shares = []
    for (_, text), sound in spoken.items():
        first, last = speech_span(sound, RATE)
        expected_s = expected_duration_s(text, 1.0, model.entry)
        assert expected_s is not None
        shares.append((last - first) / RATE / expected_s)

    assert 0.9 < median(shares) < 1.1
    assert min(shares) > 0.75  # below 0.7 words would be called missing
