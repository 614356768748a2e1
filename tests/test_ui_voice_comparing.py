"""A grid of speech: what can be heard, what is told of it, its bounds, and whose voice it is."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import gradio as gr
import pytest
import soundfile
from fake_voices import make_reference, write_wav
from test_ui_voice_speaking import VALUES, model, outbox
from ui_server import is_free, wait_until

from diffusion_bench.audio.watermark.search import detect
from diffusion_bench.backends.engine import Engine
from diffusion_bench.backends.voice.recipes import read_recipe
from diffusion_bench.backends.voice.voices import save_voice
from diffusion_bench.ui.jobs import Jobs
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.voice.comparing import MAX_CELLS, CompareView, Comparing
from diffusion_bench.ui.voice.comparison_panel import given_up, to_updates
from diffusion_bench.ui.voice.recordings import CONSENT
from diffusion_bench.ui.voice.speaking import Speaking

__all__ = ["model", "outbox"]

AXES = {"sampler": ["ddim", "ddpm"], "steps": "1, 2 2", "guidance_scale": "", "seed": ""}
ONE = {"sampler": ["ddim"], "steps": "1"}


@pytest.fixture
def make_comparing(outbox):
    with closing(Jobs()) as jobs:
        yield lambda shared=False: Comparing(
            Speaking(Engine("cpu"), jobs, Outbox(outbox), shared=shared)
        )


def said_in(views):
    return [view.said[1] for view in views if view.said]


def column(table, head):
    at = next(number for number, name in enumerate(table["headers"]) if head in name)
    return [row[at] for row in table["data"]]


def test_each_candidate_is_heard_marked_with_its_settings_and_its_figures(make_comparing, model):
    views = list(make_comparing().speak(VALUES, AXES, None))

    said, last = said_in(views), views[-1]
    recipes = [read_recipe(Path(each.path)) for each in said]
    assert [(one.request.sampler, one.request.steps, one.request.seed) for one in recipes] == [
        *(("ddim", 1, 7), ("ddim", 2, 7), ("ddpm", 1, 7), ("ddpm", 2, 7))
    ]
    assert all(detect(*soundfile.read(each.path, dtype="float32")).found for each in said)
    assert Path(said[3].path).name == "ai-speech-seed-7-ddpm-2-steps.wav"
    assert said[2].words == "DDPM, 1 step"
    assert said[3].label == f"DDPM, 2 steps: {said[3].speech.wall_s:.2f} s"
    assert column(last.table, "settings") == [each.words for each in said]
    assert all(column(last.table, "similarity"))
    assert all(column(last.table, "semitones"))
    assert len(last.chart.figure.data) == 4
    assert {row[0] for row in last.chart.table["data"]} == {each.words for each in said}
    assert last.status.startswith("4 candidates in ")
    assert len(model.spoken) == 5, "one is a warm-up that is thrown away"


def test_without_the_watermark_there_is_none_and_the_file_says_so(make_comparing, model):
    (said,) = said_in(make_comparing().speak(VALUES | {"watermark": False}, ONE, None))

    assert not detect(*soundfile.read(said.path, dtype="float32")).found
    assert read_recipe(Path(said.path)).watermark is False
    assert said.words == "What was said"


def test_a_recording_is_compared_only_with_consent_and_is_kept_nowhere(
    make_comparing, model, tmp_path, outbox
):
    comparing = make_comparing()
    path = write_wav(tmp_path / "me.wav", make_reference(120).samples)
    heard = comparing.speaking.hear(str(path))
    own = VALUES | {"voice": ""}

    with pytest.raises(ValueError, match=CONSENT):
        next(comparing.speak(own, ONE, heard))
    assert model.spoken == []
    (said,) = said_in(comparing.speak(own | {"consent": True}, ONE, heard))

    assert read_recipe(Path(said.path)).request.voice == heard.reference.name()
    files = {each.name for each in outbox.rglob("*") if each.is_file()}
    assert files == {"ai-speech-seed-7.wav", "ai-speech-seed-7.json"}


def test_mel_distances_are_from_the_most_steps_and_another_seed_is_what_chance_makes(
    make_comparing, model
):
    """The fake's sound follows from its seed, whatever its steps."""
    *_, last = make_comparing().speak(VALUES, {"steps": "1, 2", "seed": "7, 8"}, None)

    same, other, most, other_of_most = column(last.table, "mel distance")
    assert column(last.table, "settings")[2] == "2 steps, seed 7"
    assert last.status.endswith("Mel distances are from 2 steps, seed 7.")
    assert (same, most) == ("0.00", "")
    assert other == other_of_most
    assert float(other) > 0.5


def test_speech_of_other_lengths_has_no_mel_distance_and_why_is_said(make_comparing, model):
    letters = model._letters
    model._letters = lambda text, hz, request, index: letters(
        text + "a" * request.steps, hz, request, index
    )

    *_, last = make_comparing().speak(VALUES, {"steps": "1, 2"}, None)

    assert column(last.table, "mel distance") == ["", ""]
    assert "Mel distances cannot be told: other steps, or another seed," in last.status


def test_of_the_bundled_model_more_steps_are_nearer_to_the_most(make_comparing):
    values = VALUES | {"text": "Hello there.", "temperature": 1.0}

    *_, last = make_comparing().speak(values, {"steps": "2, 8, 16"}, None)

    few, more, most = column(last.table, "mel distance")
    assert float(few) > float(more) > 0
    assert most == ""


@pytest.mark.parametrize(
    ("changed", "axes", "said"),
    [
        ({}, {"steps": "ten"}, "steps: 'ten' is no list of numbers, as in 10, 20, 50"),
        ({}, {"steps": "0"}, "steps"),
        ({}, {"sampler": ["unipc"]}, "does not take the sampler unipc; it takes ddim, ddpm"),
        ({}, {"steps": "1 2 3 4 5 6 7"}, "2 rows of 7 candidates are more than 12"),
        ({"text": "a" * 1801}, {}, "4 times a text of 1801 characters is more than 7200"),
        ({"voice": ""}, {}, "record or upload"),
    ],
)
def test_a_grid_that_cannot_be_said_is_refused_before_any_work(
    make_comparing, model, changed, axes, said
):
    with pytest.raises(ValueError, match=said):
        next(make_comparing().speak(VALUES | changed, AXES | axes, None))
    assert model.spoken == []


@pytest.mark.parametrize(
    ("changed", "axes", "said"),
    [
        ({}, {"steps": "1 2 3 4"}, "2 rows of 4 candidates are more than 6"),
        ({}, {"steps": "2 999"}, "steps 999 is too much for a shared app"),
        ({"voice": "eve"}, {}, "a shared app offers its sample voices only"),
        ({"text": "a" * 601}, {}, "too long for a shared app"),
    ],
)
def test_a_guests_grid_is_smaller_and_no_cell_is_beyond_the_limits(
    make_comparing, model, changed, axes, said
):
    save_voice("eve", make_reference(120))

    with pytest.raises(ValueError, match=said):
        next(make_comparing(shared=True).speak(VALUES | changed, AXES | axes, None))


def test_cancel_frees_the_device_and_what_is_said_by_then_is_compared(make_comparing, model):
    kept = []
    views = make_comparing().speak(VALUES, AXES | {"steps": "1, 1000"}, None, kept)
    next(view for view in views if view.said)
    next(view for view in views if view.status and view.status.startswith("Candidate 2 of 4."))

    views.close()

    wait_until(is_free, "the device is free", limit_s=5)
    last = given_up(kept, "Cancelled.")
    assert last.status == "Cancelled. 1 said by then: they can be heard."
    assert len(last.chart.figure.data) == len(last.table["data"]) == 1
    assert given_up([], "Cancelled.") == CompareView(done=0, status="Cancelled.")


def test_a_player_is_sent_once_and_all_are_emptied_when_another_grid_begins(make_comparing, model):
    views = list(make_comparing().speak(VALUES, {"steps": "1, 2"}, None))

    players = [to_updates(view)[2:][:MAX_CELLS] for view in views]
    begun, sent = players[0], [one for one in players[1:] if one != [gr.skip()] * MAX_CELLS]

    assert [(one.value, one.visible) for one in begun] == [(None, False)] * MAX_CELLS
    assert [[one == gr.skip() for one in each[:3]] for each in sent] == [
        [False, True, True],
        [True, False, True],
    ]
    assert sent[1][1].label.startswith("2 steps: ")
