"""The commands about the mark: what they print and how they end."""

from __future__ import annotations

import json
from functools import partial

import numpy as np
import pytest
import soundfile as sf
from command_line import run
from speech_like import speech_like

from diffusion_bench.audio.files import read_recipe, read_sound, write_sound

watermark = partial(run, "watermark")


@pytest.fixture
def speech(tmp_path):
    path = tmp_path / "speech.wav"
    write_sound(path, speech_like(4.0), 16000, recipe={"seed": 3})
    return path


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".ogg", ".mp3"])
def test_what_is_marked_is_found(tmp_path, speech, suffix, capsys):
    out = tmp_path / f"marked{suffix}"
    assert watermark("embed", speech, out) == 0
    assert watermark("detect", out) == 0
    told = capsys.readouterr()
    assert f"{out}: marked (agreement " in told.out
    assert "from 0.0 to 4.0 s" in told.out
    assert told.err == ""
    assert read_sound(out).sample_rate == 16000
    assert read_recipe(out) == {"seed": 3}


def test_what_is_not_marked_ends_with_1(speech, capsys):
    assert watermark("detect", speech) == 1
    assert f"{speech}: no mark found (agreement " in capsys.readouterr().out


def test_a_mark_of_another_key_needs_the_key(tmp_path, speech):
    out = tmp_path / "marked.flac"
    assert watermark("embed", speech, out, "--key", "ours") == 0
    assert watermark("detect", out) == 1
    assert watermark("detect", out, "--key", "ours") == 0


def test_json_is_a_line_a_file_and_a_mistake_hides_no_other(tmp_path, speech, capsys):
    marked, no_sound = tmp_path / "marked.flac", tmp_path / "text.wav"
    watermark("embed", speech, marked)
    no_sound.write_text("text " * 100)
    capsys.readouterr()
    assert watermark("detect", "--json", no_sound, speech, marked) == 2
    told = capsys.readouterr()
    first, second = map(json.loads, told.out.splitlines())
    assert (first["file"], first["found"]) == (str(speech), False)
    assert (second["file"], second["found"]) == (str(marked), True)
    assert second["p_value"] < 1e-6 < first["p_value"]
    assert {"score", "start_s", "end_s"} < first.keys()
    assert told.err.startswith("error: text.wav: not a sound file")
    assert told.err.count("\n") == 1


def test_one_file_without_the_mark_among_others_ends_with_1(tmp_path, speech):
    marked = tmp_path / "marked.flac"
    watermark("embed", speech, marked)
    assert watermark("detect", speech, marked) == 1
    assert watermark("detect", marked, marked) == 0


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (("none.wav", "a.wav"), "none.wav: there is no such file"),
        (("speech.wav", "a.xyz"), "a.xyz does not end in one of .wav"),
        (("speech.wav", "none/a.wav"), "there is no folder"),
        (("speech.wav", "speech.wav"), "is the file to mark itself"),
        (("low.wav", "a.wav"), "needs 8000 Hz or more; got 4000 Hz"),
    ],
)
def test_what_cannot_be_marked_ends_with_2(tmp_path, speech, names, complaint, capsys):
    sf.write(tmp_path / "low.wav", np.zeros(4000), 4000)
    before = speech.read_bytes()
    assert watermark("embed", *(tmp_path / name for name in names)) == 2
    told = capsys.readouterr()
    assert complaint in told.err
    assert told.err.count("\n") == 1
    assert speech.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["low.wav", "speech.wav"]


def test_help_lists_both(capsys):
    assert watermark("--help") == 0
    assert {"detect", "embed"} < set(capsys.readouterr().out.split())
