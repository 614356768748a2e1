"""What the figures of Echo's card are measured by."""

from __future__ import annotations

import re
import time

import numpy as np
import pytest
import torch

from diffusion_bench.audio.mel import MelSettings, log_mel
from diffusion_bench.backends.catalog import MODELS_FOLDER
from diffusion_bench.backends.echo.pipeline import EchoPipeline
from diffusion_bench.backends.echo.voice import EchoModel
from diffusion_bench.backends.voice.catalog import find_voice_model
from diffusion_bench.backends.voice.voices import find_voice
from diffusion_bench.pronunciation.front_end import phonemes
from diffusion_bench.training.echo import measure, step_curve
from diffusion_bench.training.echo.recognise import WordErrors

FOLDER = MODELS_FOLDER / "echo"

pytestmark = pytest.mark.skipif(not FOLDER.exists(), reason="the bundled voice is not here")


@pytest.fixture
def sample() -> np.ndarray:
    """Return a second of a sample voice at 16 kHz."""
    return find_voice("ben", "echo").samples[16_000:32_000]


def test_each_spectral_distance_of_the_card_is_measured(monkeypatch, sample):
    card = (FOLDER / "MODEL_CARD.md").read_text(encoding="utf-8")
    named = re.search(
        r"distance within (\d+) dB(?s:.*?)the same within (\d+) dB, and with (\w+ \w+)", card
    )
    assert named is not None
    monkeypatch.setattr(measure, "true_speech", lambda number, text: sample)
    echo = EchoModel.load(find_voice_model("echo"), device="cpu", precision="fp32")
    found = measure.vocoder_on_true_mels(echo)["ours"]["log_spectral_distance_db"]
    wide, narrow, without = named.groups()
    asked = [f"{wide}_db", f"{narrow}_db", without.replace(" ", "_")]
    assert list(found) == asked
    assert found[asked[1]] < found[asked[0]] <= found[asked[2]]


def test_the_seconds_of_a_step_curve_are_the_model_s_own_for_a_sentence(monkeypatch, sample):
    pipeline = EchoPipeline.from_pretrained(FOLDER)
    voice = pipeline.encode_voice(torch.from_numpy(sample))
    with torch.inference_mode():
        plan = pipeline.plan(phonemes("Good morning."), voice)
    mel = log_mel(torch.zeros(plan.mean.shape[-1] * MelSettings().hop_length), MelSettings())
    truth = step_curve.TrueSpeech("Good morning.", mel[..., : plan.mean.shape[-1]], plan, voice)
    monkeypatch.setattr(WordErrors, "add", lambda self, samples, text: time.sleep(0.5))
    start_s = time.perf_counter()
    row = step_curve.measure(pipeline, [truth] * 4, "ddim", 2, 0.2)
    assert 0 < 4 * row["sentence_s"] <= time.perf_counter() - start_s - 4 * 0.5
