"""Files that a command is to write are looked at before it works, whatever the command."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from command_line import complaint
from fakes import make_cell, write_report

from diffusion_bench.audio.files import write_sound
from diffusion_bench.backends.engine import Engine
from diffusion_bench.bench import runner
from diffusion_bench.charts.tiers import study as tier_study
from diffusion_bench.cli import main
from diffusion_bench.tiers import rows

ROOT = Path(__file__).parents[1]
COMMANDS = {
    ("generate", "a cat", "--out"): ".png",
    ("show", "noising", "--out"): ".png",
    ("show", "noising", "--film"): ".gif",
    ("show", "noising", "--csv"): ".csv",
    ("clone", "--text", "Good morning.", "--out"): ".wav",
    ("watermark", "embed", "a.wav"): ".flac",
    ("sweep", "a.toml", "--out"): ".jsonl",
    ("compare", "a.jsonl", "--csv"): ".csv",
    ("compare", "a.jsonl", "--markdown"): ".md",
    ("compare", "a.jsonl", "--html"): ".html",
    ("tiers", "--html"): ".html",
    ("predict", "--rows", "a.csv", "--out"): ".csv",
}
each_output = pytest.mark.parametrize(
    ("command", "ending"), COMMANDS.items(), ids=[" ".join(command) for command in COMMANDS]
)


def work(*_: object, **__: object) -> None:
    raise AssertionError("it began to work")


@pytest.fixture
def idle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Lay out what the commands read, and let none of them work; return the files' names."""
    monkeypatch.chdir(tmp_path)
    write_report(Path("a.jsonl"), make_cell())
    Path("a.toml").write_text('name = "a"', encoding="utf-8")
    Path("a.csv").write_text("card,model\nRTX 4090,sd15\n", encoding="utf-8")
    write_sound(Path("a.wav"), np.full(16_000, 0.1, np.float32), 16_000)
    for name in ("generate", "look", "speak"):
        monkeypatch.setattr(Engine, name, work)
    for module, name in ((runner, "run_sweep"), (tier_study, "study"), (rows, "predict_rows")):
        monkeypatch.setattr(module, name, work)
    return sorted(os.listdir())


@each_output
def test_a_file_of_another_kind_or_in_no_folder_is_refused_before_any_work(
    idle: list[str], command: tuple[str, ...], ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert "b.docx does not end in" in complaint(capsys, *command, "b.docx")
    told = complaint(capsys, *command, f"none/b{ending}")
    assert told.endswith(f"none/b{ending}: there is no folder none\n")
    assert sorted(os.listdir()) == idle


@pytest.mark.skipif(sys.platform != "linux", reason="root may write anywhere but to /proc")
@each_output
def test_a_file_that_cannot_be_written_is_refused_before_any_work(
    idle: list[str], command: tuple[str, ...], ending: str, capsys: pytest.CaptureFixture[str]
) -> None:
    file = f"/proc/b{ending}"
    told = complaint(capsys, *command, file)
    assert told == f"error: cannot write {file}: No such file or directory\n"
    assert sorted(os.listdir()) == idle


def test_a_table_of_rows_is_never_written_over(
    idle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told = complaint(capsys, "predict", "--rows", "a.csv", "--out", "./a.csv")
    assert "is the table of --rows itself" in told


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs a pipe with a name")
def test_a_pipe_may_be_called_anything_but_where_its_ending_says_the_format(
    idle: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    os.mkfifo("pipe")
    with pytest.raises(AssertionError, match="it began to work"):
        main(["generate", "a cat", "--out", "pipe"])
    told = complaint(capsys, "clone", "--text", "Good morning.", "--out", "pipe")
    assert "--out pipe does not end in one of .wav" in told
    assert "--out pipe-0 does not end in .png" in complaint(
        capsys, "generate", "a cat", "--pictures", "2", "--out", "pipe"
    )
    assert sorted(os.listdir()) == sorted([*idle, "pipe"])


@pytest.mark.parametrize(
    ("command", "in_the_way"),
    [
        (("generate", "a cat", "--pictures", "2", "--out", "b.png"), "b-1.png"),
        (("clone", "--text", "Good morning.", "--candidates", "2", "--out", "b.wav"), "b-2.wav"),
    ],
    ids=["pictures", "candidates"],
)
def test_each_of_several_files_is_looked_at_before_any_work(
    idle: list[str],
    command: tuple[str, ...],
    in_the_way: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    Path(in_the_way).mkdir()
    told = complaint(capsys, *command)
    assert told == f"error: cannot write {in_the_way}: Is a directory\n"


@pytest.mark.skipif(os.name != "posix", reason="needs /dev/stdout")
@pytest.mark.parametrize(
    "command",
    [
        ("predict", "--rows", "a.csv", "--out"),
        ("compare", "a.jsonl", "--csv"),
        ("tiers", "--html"),
    ],
    ids=["predict", "compare", "tiers"],
)
def test_what_goes_to_standard_output_is_all_that_stands_there(
    command: tuple[str, ...], tmp_path: Path
) -> None:
    report = write_report(tmp_path / "a.jsonl", make_cell())
    report.write_bytes(report.read_bytes() + b"{")  # torn, of which a note is told
    head, row = "card,model,precision,steps,width,height,batch", "RTX 4090,sd15,fp16,20,512,512,1"
    (tmp_path / "a.csv").write_text(f"{head}\n{row}\n", encoding="utf-8")
    ending = COMMANDS[command]
    program = [sys.executable, "-m", "diffusion_bench", *command]
    where = {"cwd": tmp_path, "env": {**os.environ, "PYTHONPATH": str(ROOT)}, "check": True}
    piped = subprocess.run([*program, "/dev/stdout"], capture_output=True, **where)
    told = subprocess.run([*program, f"b{ending}"], capture_output=True, **where)
    assert piped.stdout == (tmp_path / f"b{ending}").read_bytes()
    assert f"b{ending}".encode() in told.stdout
    assert piped.stderr == told.stderr
    assert (b"note: a.jsonl: the last line was torn" in piped.stderr) is (command[0] == "compare")
