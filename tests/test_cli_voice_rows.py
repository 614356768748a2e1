"""`clone --batch`: a row each, the model loaded once, a bad row one line and the rest goes on."""

from __future__ import annotations

import errno
import io
import os
import re
import sys
from pathlib import Path

import fake_voices
import pytest
import soundfile
from command_line import complaint, run
from fake_voices import FakeVoiceModel, make_reference, pitch_of, write_wav

from diffusion_bench.backends.voice.recipes import read_recipe
from diffusion_bench.cli.batch_rows import Row, perform_rows
from diffusion_bench.cli.cloning import Cloning

CONSENT = "--yes-i-have-consent"


@pytest.fixture(autouse=True)
def model(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch
) -> FakeVoiceModel:
    return fake_voices.install_world(monkeypatch, tmp_path_factory.mktemp("bundled"))


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    return write_wav(tmp_path / "me.wav", make_reference(120).samples)


def clone(*arguments: object) -> int:
    return run("clone", "--device", "cpu", *arguments)


@pytest.fixture
def batch(tmp_path: Path, reference: Path) -> Path:
    file = tmp_path / "lines.csv"
    file.write_text(
        "reference,text,out,seed,voice\n"
        f"{reference.name},Three short words.,one.wav,,\n"
        ',"Commas, too, can be said.",two.wav,4,ada\n'
        ",This one is unspeakable.,three.wav,,ada\n"
        ",Nobody by that name.,four.wav,,zoe\n"
        ",🙂,five.wav,,\n"
        "nowhere.wav,No such recording.,six.wav,,\n"
        ",Over there and gone.,one.wav,,\n"
        ",The last of them.,eight.wav,,\n",
        encoding="utf-8",
    )
    return file


def test_a_batch_keeps_the_model_and_goes_on_after_a_bad_row(
    batch: Path, capsys: pytest.CaptureFixture[str], model: FakeVoiceModel
) -> None:
    assert clone("--batch", batch, CONSENT) == 2
    said = capsys.readouterr()
    written = [batch.parent / name for name in ("one.wav", "two.wav", "eight.wav")]
    assert said.out.split("\n")[:-1] == [str(path) for path in written]
    assert model.loaded == ["echo"]
    errors = [line for line in said.err.splitlines() if line.startswith("error: ")]
    assert [re.match(r"error: row (\d) ", line)[1] for line in errors] == ["3", "4", "5", "6", "7"]
    for line, reason in zip(
        errors, ("unspeakable", "unknown voice 'zoe'", "no word", "", "row 1"), strict=True
    ):
        assert reason in line
    assert said.err.splitlines()[-1] == "3 of 8 rows spoken"
    assert pitch_of(soundfile.read(written[0])[0]) == pytest.approx(120, rel=0.03)
    assert pitch_of(soundfile.read(written[1])[0]) == pytest.approx(200, rel=0.03)
    assert read_recipe(written[1]).request.seed == 4
    assert not any((batch.parent / f"{name}.wav").exists() for name in ("three", "four", "five"))


def test_a_batch_without_failures_ends_well_and_needs_consent_for_recordings_only(
    batch: Path, capsys: pytest.CaptureFixture[str], model: FakeVoiceModel
) -> None:
    assert clone("--batch", batch) == 2
    assert "add --yes-i-have-consent" in complaint(capsys)
    assert model.loaded == []
    batch.write_text("text,out\nThree short words.,one.wav\n", encoding="utf-8")
    assert clone("--batch", batch) == 0
    assert capsys.readouterr().err.endswith("1 of 1 rows spoken\n")


def test_a_batch_of_a_spreadsheet_with_decimal_commas_is_parted_by_semicolons(
    batch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch.write_text('\ufefftext;out;seed\r\n"Three, short words.";größe.wav;4\r\n', "utf-8")
    assert clone("--batch", batch) == 0
    request = read_recipe(batch.parent / "größe.wav").request
    assert (request.text, request.seed) == ("Three, short words.", 4)


def test_a_batch_begun_again_keeps_what_is_there_unless_told(
    batch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch.write_text("text,out\nThree short words.,one.wav\nTwo words.,two.wav\n")
    kept = batch.parent / "one.wav"
    kept.write_bytes(b"kept")
    assert clone("--batch", batch) == 0
    assert kept.read_bytes() == b"kept"
    last = "1 of 2 rows spoken, 1 there already (--overwrite makes them anew)\n"
    assert capsys.readouterr().err.endswith(last)
    assert clone("--batch", batch, "--overwrite") == 0
    assert capsys.readouterr().err.endswith("2 of 2 rows spoken\n")
    assert read_recipe(kept).request.text == "Three short words."


def test_no_candidate_is_written_over_what_is_there_or_what_another_row_wrote(
    batch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    batch.write_text(
        "text,out\nThree short words.,one.wav\nTwo words.,one-2.wav\nNot again.,two.wav\n"
        "Over and out.,x/../one.wav\nThe end.,three.wav\n"
    )
    kept = batch.parent / "two-2.wav"
    kept.write_bytes(b"kept")
    for name in ("three.wav", "three-2.wav"):
        (batch.parent / name).write_bytes(b"kept")
    assert clone("--batch", batch, "--candidates", "2") == 2
    told = capsys.readouterr().err.splitlines()
    assert [line for line in told if line.startswith("error: ")] == [
        "error: row 2 (line 3): its out is that of row 1 too",
        "error: row 3 (line 4): two-2.wav is there already, but not all 2 files of the row; "
        "--overwrite makes them anew",
        "error: row 4 (line 5): its out is that of row 1 too",
    ]
    assert told[-1].startswith("1 of 5 rows spoken, 1 there already")
    assert kept.read_bytes() == b"kept"
    assert not (batch.parent / "two.wav").exists()
    assert read_recipe(batch.parent / "one-2.wav").request.text == "Three short words."
    assert clone("--batch", batch, "--candidates", "2", "--overwrite") == 2
    assert read_recipe(kept).request.text == "Not again."


def test_no_candidate_is_written_over_a_recording_that_a_row_reads(
    batch: Path, reference: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = reference.read_bytes()
    other = write_wav(batch.parent / "you-2.wav", make_reference(120).samples)
    batch.write_text(
        f"text,out,reference\nOne word.,you.wav,{reference.name}\nTwo words.,a.wav,you-2.wav\n"
        f"Three words.,me.wav,{other.name}\n"
    )
    assert clone("--batch", batch, CONSENT, "--overwrite", "--candidates", "2") == 2
    errors = [line for line in capsys.readouterr().err.splitlines() if line.startswith("error")]
    assert errors == [
        "error: row 1 (line 2): it would write over you-2.wav, which row 3 reads",
        "error: row 3 (line 4): it would write over me.wav, which row 1 reads",
    ]
    assert reference.read_bytes() == before
    alone = ("--text", "One word.", "--out", batch.parent / "you.wav", "--candidates", "2")
    assert clone("--reference", other, CONSENT, *alone) == 2
    assert "you-2.wav is the reference itself" in complaint(capsys)


def test_overwriting_is_for_batches_only(capsys: pytest.CaptureFixture[str]) -> None:
    assert clone("--text", "Three short words.", "--voice", "ada", "--overwrite") == 2
    assert "--overwrite belongs to --batch" in complaint(capsys)


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"", "its first line must name the columns text and out"),
        (b"a,b\n1,2\n", "its first line must name the columns text and out"),
        (b"text,out,pitch\n", "it names text, out, pitch"),
        (b"text,out\n", "there is no row under its head"),
        (b"\xff\xfe\x00t", "not a UTF-8 CSV file"),
        (b'text,out\n"open,x.wav\n', "not a UTF-8 CSV file"),
    ],
)
def test_a_file_that_is_no_batch_is_one_line(
    content: bytes, line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lines.csv"
    file.write_bytes(content)
    assert clone("--batch", file) == 2
    assert line in complaint(capsys)
    file.unlink()
    assert clone("--batch", file) == 2
    assert "No such file" in complaint(capsys)


def test_a_row_of_the_wrong_width_or_seed_is_marked(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lines.csv"
    file.write_text(
        "text,out,seed\nOne, two,a.wav,1\nShort\nThree short words.,,1\nSo it is.,b.wav,x\n",
        encoding="utf-8",
    )
    assert clone("--batch", file) == 2
    errors = capsys.readouterr().err.splitlines()
    assert ["fields" in line for line in errors] == [True, True, False, False, False]
    assert errors[2].endswith("row 3 (line 4): it names no out")
    assert "seed 'x' is no whole number" in errors[3]
    assert errors[4] == "0 of 4 rows spoken"


def test_a_setting_that_is_wrong_for_every_row_is_said_once(
    batch: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert clone("--batch", batch, CONSENT, "--steps", "0") == 2
    assert "--steps: Input should be greater than or equal to 1" in complaint(capsys)


def test_an_interrupted_batch_ends_as_interrupted(
    batch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Cloning, "speak_row", interrupt)
    assert clone("--batch", batch, CONSENT) == 130
    assert capsys.readouterr().err == "interrupted\n"


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_a_batch_ends_with_who_read_its_output_and_blames_no_row(
    batch: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    reader, writer = os.pipe()
    os.close(reader)  # as `head` has left
    asked: list[int] = []

    def speak(_: Cloning, row: Row, *__: object) -> None:
        asked.append(row.number)
        os.write(writer, b"one.wav\n")

    monkeypatch.setattr(Cloning, "speak_row", speak)
    for name in ("stdout", "stderr"):  # typer puts others in their place, where a pipe is closed
        monkeypatch.setattr(sys, name, getattr(sys, name))
    assert clone("--batch", batch, CONSENT) == 141
    os.close(writer)
    assert asked == [1]
    assert capsys.readouterr().err == ""


class Unread(io.StringIO):
    """An output whose reader has gone, as Windows tells it."""

    def flush(self) -> None:
        raise OSError(errno.EINVAL, "Invalid argument")


def test_windows_own_word_for_that_blames_no_row_either(monkeypatch: pytest.MonkeyPatch) -> None:
    def speak(row: Row) -> None:
        sys.stdout.flush()

    monkeypatch.setattr(sys, "stdout", Unread())
    with pytest.raises(OSError, match="Invalid argument"):
        perform_rows([Row(number=1, line=2)], speak, done="spoken")


def test_each_warning_of_a_batch_names_the_row_it_is_about(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_wav(tmp_path / "long.wav", make_reference(120, duration_s=20.0).samples)
    file = tmp_path / "lines.csv"
    file.write_text("text,out,reference\nThree short words.,a.wav,\nHello there.,b.wav,long.wav\n")
    assert clone("--batch", file, CONSENT) == 0
    warnings = [line for line in capsys.readouterr().err.splitlines() if "warning" in line]
    of_second = "warning: row 2 (line 3): "
    assert f"{of_second}a text of 2 words: short ones are often said badly" in warnings
    assert any(line.startswith(f"{of_second}the reference: ") for line in warnings)
    assert all(re.match(r"warning: row [12] \(line [23]\): ", line) for line in warnings)


def test_a_row_for_a_folder_that_is_not_there_is_told_by_its_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "lines.csv"
    file.write_text("text,out\nThree short words.,b/num.wav\n")
    assert clone("--batch", file) == 2
    (error,) = (line for line in capsys.readouterr().err.splitlines() if "error" in line)
    out = tmp_path / "b" / "num.wav"
    assert error == f"error: row 1 (line 2): out {out}: there is no folder {out.parent}"
