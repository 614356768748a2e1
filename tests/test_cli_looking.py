"""The command show: the sheet, the film and the numbers, and what it refuses before any work."""

from __future__ import annotations

import csv

import pytest
from command_line import run
from PIL import Image

PROMPT = "a cat on a blue background"


@pytest.fixture(autouse=True)
def here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_show_writes_a_sheet_a_film_and_the_numbers(here, capsys):
    asked = ("show", "denoising", PROMPT, "--steps", "3", "--size", "64", "--seed", "2")
    assert run(*asked, "--out", "steps.png", "--film", "steps.gif", "--csv", "steps.csv") == 0
    out, err = capsys.readouterr()
    assert out.split() == ["steps.png", "steps.gif", "steps.csv"]
    assert "Both begin with the same noise." in err
    with Image.open(here / "steps.png") as sheet:
        assert sheet.format == "PNG"
    with Image.open(here / "steps.gif") as film:
        assert film.n_frames == 3 + 1  # the picture is the last
    with open(here / "steps.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [(row["sampler"], row["step"]) for row in rows] == [
        (sampler, str(step)) for sampler in ("DDIM", "DDPM") for step in (1, 2, 3)
    ]


@pytest.mark.parametrize("what", ["noising", "unet", "guidance"])
def test_every_look_has_its_sheet_named_after_it(here, what):
    assert run("show", what, PROMPT, "--steps", "2", "--size", "64") == 0
    assert [path.name for path in here.iterdir()] == [f"{what}.png"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["unet", "--film", "a.gif"], "--film: there is none of unet"),
        (["noising", "--out", "a.jpg"], "--out a.jpg does not end in .png"),
        (["noising", "--csv", "no/a.csv"], "--csv no/a.csv: there is no folder no"),
        (["noising", "--steps", "251"], "251 steps are more than 250"),
        (["noising", "--steps", "0"], "steps"),
        (["attention"], "No such command 'attention'"),
        (["noising", " "], "the prompt is empty"),
        (["noising", "--model", "no/such"], "no/such"),
        (["speech", "--steps", "0"], "steps"),
        (["speech", "--steps", "251"], "251 steps are more than 250"),
        (["speech", "--voice", "nobody"], "unknown voice 'nobody'"),
        (["speech", "One sentence. " * 40], "one sentence is looked into at a time"),
        (["speech", "--out", "a.wav"], "--out a.wav does not end in .png"),
        (["speech", "--sounds", "no/heard"], "--sounds no/heard: no folder can be made there"),
    ],
)
def test_what_cannot_be_shown_is_said_in_one_line_before_any_work(here, capsys, arguments, message):
    assert run("show", *arguments) == 2
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert not list(here.iterdir())


def test_show_speech_writes_what_is_seen_and_heard(here, capsys):
    text = "It begins with noise."
    asked = ("show", "speech", text, "--steps", "3", "--voice", "ben", "--sounds", "heard")
    assert run(*asked, "--film", "said.gif", "--csv", "said.csv") == 0

    out, err = capsys.readouterr()
    told = ("the-plan-without-a-step", "half-way-of-ddim-the-plan-and-x-0")
    told += ("ddim-all-steps", "ddpm-all-steps")
    heard = [f"heard/speech-{number}-{words}.wav" for number, words in enumerate(told, 1)]
    assert out.split() == ["speech.png", "said.gif", "said.csv", *heard]
    assert all((here / path).is_file() for path in out.split())
    assert "Text and voice alone give the plan" in err
    assert "red is more than the plan, blue less" in err
    assert "predicts v" in err
    with open(here / "said.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["sampler"] for row in rows] == ["DDIM"] * 3 + ["DDPM"] * 3
