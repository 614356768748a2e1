"""The part Speech of the tab How it works: what it shows and lets hear, and what it refuses."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from ui_server import is_free, wait_until

from diffusion_bench.audio.files import read_sound
from diffusion_bench.audio.watermark.search import detect
from diffusion_bench.backends.device import hold_device
from diffusion_bench.backends.engine import Engine
from diffusion_bench.records import VoiceRequest
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.looking import LookView
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.speech_looking import (
    ROWS,
    SOUNDS,
    SpeechLooking,
    temperature_words,
    title_of,
)
from diffusion_bench.ui.voice.speaking import Speaking

VALUES = {"text": "It begins with noise, and a voice comes out.", "voice": "ada"}
VALUES |= {"steps": 4, "seed": 1}


@pytest.fixture(scope="module")
def engine():
    return Engine("cpu")


@pytest.fixture
def make_looking(engine, tmp_path):
    with closing(Jobs()) as jobs:
        yield lambda shared=False: SpeechLooking(
            Speaking(engine, jobs, Outbox(tmp_path), shared=shared)
        )


def test_a_look_at_speech_is_seen_heard_charted_and_saved(make_looking):
    views = list(make_looking().look(VALUES))

    done = [view.done for view in views[:-1] if view.done is not None]
    assert done == list(range(views[0].total + 1)) == list(range(9))
    last = views[-1]
    assert tuple(last.rows) == ROWS
    for row in last.rows.values():
        assert len(row) >= 3
        assert all(Path(path).is_file() and words for path, words in row)
    assert tuple(last.sounds) == SOUNDS
    assert {row[0] for row in last.table["data"]} == {"DDIM", "DDPM"}
    assert "final residual" in last.table["headers"][5]
    with Image.open(last.sheet) as sheet:
        assert sheet.width > 3 * 300
    with Image.open(last.film) as film:
        assert film.n_frames == VALUES["steps"] + 1  # what comes of the steps is the last


def test_the_temperature_of_the_noise_is_told_in_title_words_and_table(make_looking):
    last = list(make_looking().look(VALUES | {"temperature": 0.25}))[-1]
    assert "At temperature 0.25 all noise" in last.status
    assert "temperature 0.25" in last.table["headers"][4]
    request = VoiceRequest(text=VALUES["text"], temperature=0.25)
    assert "temperature 0.25" in title_of(request)
    assert "as strong as in training" in temperature_words(1.0)


def test_everything_that_can_be_heard_is_marked_as_generated_and_differs(make_looking):
    sounds = list(make_looking().look(VALUES))[-1].sounds

    heard = [read_sound(Path(path)) for path in sounds.values()]
    assert len({len(sound.samples) for sound in heard}) == 1
    for number, sound in enumerate(heard):
        assert detect(sound.samples, sound.sample_rate).found
        assert float(np.abs(sound.samples).max()) > 0.05
        for other in heard[:number]:
            assert float(np.abs(sound.samples - other.samples).max()) > 0.01


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"text": "One sentence. " * 40}, "one sentence is looked into at a time"),
        ({"text": " "}, "no word to say"),
        ({"steps": 251}, "251 steps are more than 250"),
        ({"voice": "nobody"}, "unknown voice 'nobody'"),
        ({"voice": "../secret"}, "voice"),
    ],
)
def test_what_cannot_be_said_is_refused_before_anything_is_loaded(make_looking, values, message):
    with pytest.raises(ValueError, match=message):
        next(make_looking().look(VALUES | values))


@pytest.mark.parametrize("unset", [-1, None])
def test_a_seed_that_is_not_set_is_picked_as_it_is_of_pictures(make_looking, unset):
    assert next(make_looking().look(VALUES | {"seed": unset})).done == 0


def test_guests_hear_no_voice_that_was_saved(make_looking):
    with pytest.raises(ValueError, match="sample voices only"):
        next(make_looking(shared=True).look(VALUES | {"voice": "grandma"}))


def test_a_look_at_speech_that_waits_or_runs_can_be_stopped(make_looking):
    with hold_device("cpu"):
        views = make_looking().look(VALUES)
        seen = [next(views) for _ in range(6)]
        views.close()
    assert sum(view == LookView() for view in seen) >= 3

    views = make_looking().look(VALUES | {"steps": 250})
    next(view for view in views if view.status and view.status.startswith("Step"))
    views.close()
    wait_until(is_free, "the device is free")
    assert is_free()
