"""`clone` with a model that may say nothing, as language models of speech do."""

from __future__ import annotations

from pathlib import Path

import pytest
from command_line import run
from fake_voices import FakeVoiceModel, install_world

from diffusion_bench.backends.voice import recipes
from diffusion_bench.backends.voice.recipes import read_recipe

TEXT = "Three short words."


@pytest.fixture
def mute(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Return the candidates that say nothing, to be filled."""
    model: FakeVoiceModel = install_world(monkeypatch, tmp_path_factory.mktemp("bundled"))
    silent: set[int] = set()
    letters = model._letters
    monkeypatch.setattr(
        model, "_letters", lambda *asked: letters(*asked)[: 0 if asked[-1] in silent else None]
    )
    return silent


def clone(*arguments: object) -> int:
    return run("clone", "--device", "cpu", *arguments)


def test_a_model_that_says_nothing_writes_nothing_and_says_so(
    mute: set[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mute |= {0, 1}
    assert clone("--text", TEXT, "--candidates", 2, "--out", tmp_path / "a.wav") == 2
    said = capsys.readouterr().err
    assert said.startswith("error: echo said nothing to this text in this voice: try another seed")
    assert said.count("\n") == 1
    assert list(tmp_path.iterdir()) == []


def test_the_candidates_that_spoke_are_kept(
    mute: set[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mute.add(0)
    out = tmp_path / "a.wav"
    assert clone("--text", TEXT, "--candidates", 3, "--out", out) == 0
    said = capsys.readouterr()
    assert said.out.splitlines() == [str(out), str(tmp_path / "a-2.wav")]
    assert "warning: candidate 1 of 3 said nothing and is left out" in said.err
    assert {read_recipe(path).candidate for path in tmp_path.iterdir()} == {1, 2}


def test_a_file_s_candidate_that_says_nothing_this_time_is_told(
    mute: set[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    first, again = tmp_path / "a.wav", tmp_path / "again.wav"
    assert clone("--text", TEXT, "--candidates", 2, "--out", first) == 0
    mute.add(read_recipe(first).candidate)
    capsys.readouterr()
    assert clone("--from", first, "--out", again) == 2
    assert "the candidate that made the file said nothing this time" in capsys.readouterr().err
    assert not again.exists()


def test_a_row_of_which_a_candidate_said_nothing_is_done_and_is_not_asked_for_again(
    mute: set[int], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    mute.add(1)
    rows = tmp_path / "rows.csv"
    rows.write_text(f"text,out\n{TEXT},a.wav\n", encoding="utf-8")
    assert clone("--batch", rows, "--candidates", 2) == 0
    assert not (tmp_path / "a-2.wav").exists()
    written = (tmp_path / "a.wav").read_bytes()
    capsys.readouterr()
    assert clone("--batch", rows, "--candidates", 2) == 0
    assert "0 of 1 rows spoken, 1 there already" in capsys.readouterr().err
    assert (tmp_path / "a.wav").read_bytes() == written


def test_the_file_that_was_named_is_written_last(
    mute: set[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    save = recipes.save_speech
    monkeypatch.setattr(
        recipes, "save_speech", lambda path, *rest: (written.append(path.name), save(path, *rest))
    )
    assert clone("--text", TEXT, "--candidates", 3, "--out", tmp_path / "a.wav") == 0
    assert written == ["a-3.wav", "a-2.wav", "a.wav"]
