"""What `clone` says of the speech it wrote: warnings of what was measured, and the judges."""

from __future__ import annotations

import re
from pathlib import Path

import fake_voices
import numpy as np
import pytest
from command_line import run
from fake_voices import RATE, FakeVoiceModel, make_reference, write_wav
from speech_like import speech_like
from tiny_judges import save_tiny_speaker_encoder, save_tiny_whisper

from diffusion_bench.backends.voice import judges

CONSENT = "--yes-i-have-consent"
JUDGED = re.compile(
    r"x-vector similarity \(WavLM\) (.+?), word errors \(Whisper\) (.+?), character errors (.+)$"
)


@pytest.fixture(autouse=True)
def model(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> FakeVoiceModel:
    return fake_voices.install_world(monkeypatch, tmp_path_factory.mktemp("bundled"))


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    return (
        save_tiny_speaker_encoder(tmp_path_factory.mktemp("wavlm")),
        save_tiny_whisper(tmp_path_factory.mktemp("whisper")),
    )


@pytest.fixture
def weights(folders: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the judges be the tiny ones."""
    monkeypatch.setattr(judges, "SPEAKER_MODEL", str(folders[0]))
    monkeypatch.setattr(judges, "SPEECH_MODEL", str(folders[1]))


def clone(*arguments: object) -> int:
    return run("clone", "--device", "cpu", "--steps", "1", *arguments)


def shares(told: str) -> list[float]:
    return [float(share.rstrip("%")) for share in told.split(" / ")]


def test_what_was_measured_is_warned_of_once(
    model: FakeVoiceModel,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    own = model.encode_voice
    monkeypatch.setattr(model, "encode_voice", lambda _: own(make_reference(100)))  # of ada's 200
    assert clone("--text", "Extraordinarily.", "--out", tmp_path / "out.wav") == 0
    told = capsys.readouterr().err.splitlines()
    assert told.count("warning: a text of 1 word: short ones are often said badly") == 1
    (pitch,) = (line for line in told if "below the reference" in line)
    assert re.match(r"warning: its pitch is 1[12]\.\d semitones below the reference", pitch)
    assert told[-1].startswith("seed 0, ")


@pytest.mark.parametrize(
    ("text", "warned"), [("Is it one, sir?", True), ("Row on, row on, sir.", False)]
)
def test_a_repetition_is_warned_of_unless_the_text_has_it(
    text: str,
    warned: bool,
    model: FakeVoiceModel,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    phrase = speech_like(1.5, seed=3)
    stammer = np.concatenate([speech_like(1.5, seed=4), phrase, phrase])
    model._letters = lambda *_: stammer
    assert clone("--text", text, "--out", tmp_path / "out.wav") == 0
    assert ("is said again at" in capsys.readouterr().err) is warned


DISTANCE = re.compile(
    r"mel distance ([\d.]+) dB from 9 steps of the same seed; two seeds are ([\d.]+) dB apart\n"
)


@pytest.mark.parametrize("candidates", [1, 3])
def test_speech_is_held_against_more_steps_of_its_own_seed(
    candidates: int, model: FakeVoiceModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--text", "The river was quiet.", "--candidates", candidates, "--against-steps", 9)
    assert clone(*asked, "--seed", 5, "--out", tmp_path / "out.wav") == 0
    told = capsys.readouterr().err
    same, other = map(float, DISTANCE.search(told).groups())
    assert same == 0  # of the fake, whose steps change nothing
    assert other > 1
    assert len(list(tmp_path.iterdir())) == candidates
    model.uneven = True
    assert clone(*asked, "--out", tmp_path / "out.wav") == 0
    assert "the mel distance from 9 steps cannot be told: other steps" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("steps", "line"),
    [
        (1, "1 steps are not more than the 1 they are to be compared with"),
        (1001, "--against-steps: Input should be less than or equal to 1000"),
    ],
)
def test_steps_that_are_no_more_are_refused_before_anything_is_spoken(
    steps: int, line: str, model: FakeVoiceModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ("--text", "The river was quiet.", "--against-steps", steps)
    assert clone(*asked, "--out", tmp_path / "out.wav") == 2
    assert line in capsys.readouterr().err
    assert (model.spoken, list(tmp_path.iterdir())) == ([], [])


@pytest.mark.usefixtures("weights")
def test_the_judges_are_asked_of_each_candidate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    reference = write_wav(tmp_path / "me.wav", make_reference(120).samples)
    told = ("--reference", reference, CONSENT, "--text", "The river was quiet.", "--candidates", 2)
    assert clone(*told, "--judge", "--out", tmp_path / "out.wav") == 0
    found = JUDGED.search(capsys.readouterr().err.splitlines()[-1])
    similarity, words, letters = (shares(told) for told in found.groups())
    assert [len(one) for one in (similarity, words, letters)] == [2, 2, 2]
    assert all(-1 <= share <= 1 for share in similarity)
    assert min(words) >= 75  # of four words, random weights hear one at best
    assert min(letters) > 0
    assert clone(*told, "--out", tmp_path / "out.wav") == 0
    assert "WavLM" not in capsys.readouterr().err


@pytest.mark.usefixtures("weights")
def test_the_judges_hear_what_was_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    lengths = []

    def transcribe(_: object, samples: np.ndarray, sample_rate: int) -> str:
        assert sample_rate == RATE
        lengths.append(len(samples))
        return "the river was quite"

    monkeypatch.setattr(judges.SpeechJudge, "transcribe", transcribe)
    out = tmp_path / "out.wav"
    assert clone("--text", "The river was quiet.", "--judge", "--out", out) == 0
    found = JUDGED.search(capsys.readouterr().err.splitlines()[-1])
    assert shares(found[2]) == [25.0]
    assert shares(found[3]) == [pytest.approx(100 * 2 / 19, abs=0.05)]
    assert lengths[0] > RATE


@pytest.mark.usefixtures("weights")
def test_what_the_judges_cannot_tell_is_a_dash(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out.wav"
    assert clone("--text", "The river was quiet.", "--save-voice", "mum", "--out", out) == 0
    capsys.readouterr()
    assert clone("--voice", "mum", "--text", "Привет вам всем.", "--judge", "--out", out) == 0
    found = JUDGED.search(capsys.readouterr().err.splitlines()[-1])
    assert found.groups() == ("-", "-", "-")


@pytest.mark.usefixtures("weights")
def test_a_recipe_is_judged_too_and_a_batch_loads_the_judges_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    loaded = []
    load = judges.Judges.load.__func__
    counted = classmethod(lambda cls, **given: loaded.append(1) or load(cls, **given))
    monkeypatch.setattr(judges.Judges, "load", counted)
    rows = tmp_path / "rows.csv"
    rows.write_text("text,out\nThe river was quiet.,one.wav\nIt was not.,two.wav\n")
    assert run("clone", "--device", "cpu", "--batch", rows, "--judge") == 0
    assert capsys.readouterr().err.count("word errors (Whisper)") == 2
    assert loaded == [1]
    again = ("--from", tmp_path / "one.wav", "--out", tmp_path / "again.wav", "--judge")
    assert run("clone", "--device", "cpu", *again) == 0
    assert "word errors (Whisper)" in capsys.readouterr().err


@pytest.mark.parametrize("how", ["text", "batch"])
def test_without_the_judges_weights_one_line_says_so_before_anything_is_spoken(
    how: str, model: FakeVoiceModel, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows, out = tmp_path / "rows.csv", tmp_path / "out.wav"
    rows.write_text("text,out\nThe river was quiet.,out.wav\nIt was not.,two.wav\n")
    asked = ("--batch", rows) if how == "batch" else ("--text", "It was quiet.", "--out", out)
    assert clone(*asked, "--judge") == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert re.fullmatch(
        r"error: speaker encoder 'microsoft/wavlm-base-plus-sv' is not on this machine [^\n]+\n",
        said.err,
    )
    assert model.spoken == []
    assert not out.exists()
