"""What the page says of the speech it made: notes and a table of what was measured."""

from __future__ import annotations

import re
from contextlib import closing

import numpy as np
import pytest
from fake_voices import install_page_world
from speech_like import speech_like

from diffusion_bench.backends.engine import Engine
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.voice.speaking import Speaking

VALUES = {"text": "It was quiet, and nobody spoke.", "voice": "ada", "model": "echo", "steps": 1}


@pytest.fixture
def model(monkeypatch, tmp_path):
    return install_page_world(monkeypatch, tmp_path / "bundled")


@pytest.fixture
def speak(model, tmp_path):
    (tmp_path / "outbox").mkdir()
    with closing(Jobs()) as jobs:
        speaking = Speaking(Engine("cpu"), jobs, Outbox(tmp_path / "outbox"), shared=False)
        yield lambda **values: list(speaking.speak(VALUES | values, None))[-1]


@pytest.mark.parametrize(
    ("text", "noted"), [("Is it one, sir?", True), ("Row on, row on, sir.", False)]
)
def test_a_repetition_is_noted_unless_the_text_has_it(text, noted, speak, model, monkeypatch):
    phrase = speech_like(1.5, seed=3)
    stammer = np.concatenate([speech_like(1.5, seed=4), phrase, phrase])
    monkeypatch.setattr(model, "_letters", lambda *_: stammer)

    assert ("is said again at" in speak(text=text).status) is noted


def test_the_table_has_the_length_that_the_text_should_take(speak):
    lines = speak().measures.splitlines()

    (row,) = (line for line in lines if line.startswith("| seconds |"))
    assert re.search(r"\| \d+\.\d \|  \| \d\.\d\d of what the text should take \|", row)


def test_of_a_text_too_short_to_tell_the_table_has_no_length(speak):
    measures = speak(text="Is it one, sir?").measures

    assert "syllables" in measures
    assert "seconds |" not in measures.replace("syllables a second", "")
