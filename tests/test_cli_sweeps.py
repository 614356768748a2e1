"""`sweep` and `compare` on a real report of two cells."""

from __future__ import annotations

import csv
import io
import json
import os
import re
import shutil
import signal
import sys
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest
from command_line import run
from fakes import make_cell

from diffusion_bench.backends.device import CACHE_VARIABLE
from diffusion_bench.bench.runner import Progress
from diffusion_bench.bench.sweep import parse_sweep
from diffusion_bench.cli.sweeps import _watch, _with_options, describe, time_left
from diffusion_bench.records import BUNDLED_MODEL, BUNDLED_SIDE, ImageRequest
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.sustained import LEAST_S

pytestmark = pytest.mark.usefixtures("warm_workers")

SIZE = f"{BUNDLED_SIDE}x{BUNDLED_SIDE}"
PLAN = (
    f'name = "tiny"\nrepeats = 2\n[axes]\nmodel = ["broken", "{BUNDLED_MODEL}"]\n'
    'sampler = ["ddim"]\nsteps = [2]\n'
)


@pytest.fixture(scope="module")
def swept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Run a sweep of a cell that fails and one that does not; return its report."""
    folder = tmp_path_factory.mktemp("swept")
    (folder / "broken").mkdir()  # known for a model, and cannot be loaded
    (folder / "broken" / "model_index.json").write_text("broken", encoding="utf-8")
    (folder / "tiny.toml").write_text(PLAN, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(CACHE_VARIABLE, str(folder))
        patch.setenv("OMP_NUM_THREADS", "1")
        patch.chdir(folder)
        assert run("sweep", "tiny.toml", "--device", "cpu") == 0
        yield folder / "tiny.jsonl"  # named after the sweep


def test_a_sweep_writes_its_report(swept: Path) -> None:
    report = read_report(swept)
    assert report.header.plan.name == "tiny"
    assert [cell.status for cell in report.cells] == ["failed", "ok"]


def test_a_report_that_exists_is_refused_and_untouched(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = swept.read_bytes()
    plan = swept.with_name("tiny.toml")
    assert run("sweep", plan, "--out", swept, "--device", "cpu") == 2
    output, errors = capsys.readouterr()
    assert (output, errors) == ("", f"error: {swept}: exists; use --resume or another name\n")
    assert swept.read_bytes() == before


def test_resuming_shows_what_there_is_with_its_failures(
    swept: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = swept.read_bytes()
    plan = swept.with_name("tiny.toml")
    assert run("sweep", plan, "--out", swept, "--device", "cpu", "--resume") == 0
    output, errors = capsys.readouterr()
    assert swept.read_bytes() == before
    assert errors == ""
    assert "failed" in output
    # The message, in as many lines as its column takes.
    assert all(word in output for word in ("model", "'broken'", "cannot"))
    assert "2 repeats after 1 warm-up," in " ".join(output.split())  # in as many lines as it takes
    assert output.endswith(f"report: {swept}\n")


def test_what_failed_is_tried_again_by_the_command(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "again.jsonl"
    path.write_bytes(swept.read_bytes())
    plan = swept.with_name("tiny.toml")
    assert run("sweep", plan, "--out", path, "--device", "cpu", "--retry") == 0
    lines = [json.loads(line) for line in path.read_bytes().splitlines()]
    assert [line.get("status") for line in lines].count("failed") == 2  # it is as broken as before
    assert len(read_report(path).cells) == len(read_report(swept).cells)


@pytest.mark.parametrize(
    ("plan", "options"),
    [
        ('[axes]\nmodel = ["{}", "nope"]\n', ()),
        ('[axes]\nmodel = ["{}", "nope"]\n', ("--find-limit", "batch")),
        ('[axes]\nmodel = ["nope"]\nbatch = [2]\n[devices]\nnames = ["cpu", "cpu"]\n', ()),
        ('[voice_axes]\nmodel = ["echo", "nope"]\n', ()),
    ],
    ids=["pictures", "a limit", "two devices", "speech"],
)
def test_a_model_that_is_none_is_refused_before_a_report_is_begun(
    plan: str, options: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file, out = tmp_path / "plan.toml", tmp_path / "plan.jsonl"
    file.write_text(f'name = "x"\n{plan.format(BUNDLED_MODEL)}', encoding="utf-8")
    assert run("sweep", file, "--out", out, *options) == 2
    spoken = "voice " if "voice" in plan else ""
    output, errors = capsys.readouterr()
    assert errors.startswith(f"error: unknown {spoken}model 'nope'; known: ")
    assert (output, errors.count("\n")) == ("", 1)
    assert not out.exists()


def test_a_device_that_is_not_here_leaves_no_report(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = swept.with_name("tiny.toml"), tmp_path / "new.jsonl"
    assert run("sweep", plan, "--out", out, "--device", "cuda:99", "--resume") == 2
    output, errors = capsys.readouterr()
    note, error = errors.splitlines()
    assert note == f"note: there is no report {out} yet; starting it"
    assert error.startswith("error: device 'cuda:99' cannot be used here; usable: ")
    assert output == ""
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(sys.platform == "win32", reason="the limit is POSIX")
@pytest.mark.parametrize(
    ("options", "words"),
    [
        (
            ["--emulate-vram", "plenty"],
            "--emulate-vram 'plenty' is no amount of memory; say it as 12GiB",
        ),
        (
            ["--emulate-vram", "12"],
            "--emulate-vram 12 is out of range: it takes 1.0MiB to 1.0PiB, said with the unit, as "
            "12GiB; a bare number is bytes",
        ),
        (["--emulate-vram", "9" * 400], "999 is out of range: it takes 1.0MiB to 1.0PiB"),
        (["--sustain", "long"], "--sustain 'long' is no duration; say it as 90s, 10m or 1.5h"),
        (["--sustain", "9999h"], "--sustain 9999h is too long: it takes up to 24 h 00 min"),
        (["--find-limit", "steps"], "--find-limit takes batch or resolution"),
        (["--find-limit", "batch", "--resume"], "and starts a new report"),
        (["--find-limit", "batch", "--sustain", "10m"], "in few steps: leave out --sustain"),
        (["--find-limit", "batch", "--exhaustive"], "in few steps: leave out --exhaustive"),
    ],
)
def test_an_option_that_makes_no_sense_is_one_line_and_begins_no_report(
    options: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tiny.toml").write_text(PLAN, encoding="utf-8")
    out = tmp_path / "new.jsonl"
    assert run("sweep", tmp_path / "tiny.toml", "--out", out, "--device", "cpu", *options) == 2
    output, errors = capsys.readouterr()
    *notes, error = errors.splitlines()
    assert output == ""
    assert all(note.startswith("note: ") for note in notes)
    assert error.startswith("error: ")
    assert words in error
    assert len(error) < 400
    assert not out.exists()


@pytest.mark.parametrize(("text", "is_short"), [("10s", True), ("89s", True), ("90s", False)])
def test_going_on_for_too_short_a_time_is_said_before_anything_is_measured(
    text: str, is_short: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    plan = parse_sweep(PLAN)
    assert _with_options(plan, False, text, None).sustain_s == float(text[:-1])
    said = capsys.readouterr().err
    note = f"note: cells go on for {text[:-1]} s and will show neither figure: from 90 s on "
    assert said.startswith(note) if is_short else not said


def test_the_help_names_the_shortest_time_that_counts(capsys: pytest.CaptureFixture[str]) -> None:
    assert run("sweep", "--help") == 0
    assert f"In less than {LEAST_S:g}s" in " ".join(
        re.findall(r"[\w.:,]+", capsys.readouterr().out)
    )


def test_exhaustive_times_every_step_and_each_cell_is_a_line_in_a_pipe(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    plan, out = tmp_path / "long.toml", tmp_path / "long.jsonl"
    plan.write_text(
        'name = "long"\nrepeats = 1\nmeasured_steps = 2\n[axes]\nsampler = ["ddim"]\n'
        "steps = [4]\nbatch = [1, 2]\n",
        encoding="utf-8",
    )
    assert run("sweep", plan, "--out", out, "--device", "cpu", "--exhaustive") == 0
    report = read_report(out)
    assert report.header.plan.measured_steps is None
    for cell in report.cells:
        assert [len(sample.step_s) for sample in cell.samples] == [4]
        assert cell.extrapolation is None
    first, second = capsys.readouterr().err.splitlines()
    assert first.startswith(f"1/2 ddim, 4 steps, {SIZE}, batch 1; about ")
    assert second.startswith(f"2/2 ddim, 4 steps, {SIZE}, batch 2; about 0 s left")


def test_a_full_disk_is_one_line_and_begins_no_report(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    import resource

    out = tmp_path / "new.jsonl"
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, limits[1]))
    try:
        code = run("sweep", swept.with_name("tiny.toml"), "--out", out, "--device", "cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert code == 2
    output, errors = capsys.readouterr()
    assert (output, errors) == ("", f"error: cannot write {out}: File too large\n")
    assert not out.exists()
    assert not list(tmp_path.glob("*.part")) + list(tmp_path.glob(".*.part"))


def test_a_report_is_written_as_csv_markdown_and_html(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = [tmp_path / name for name in ("a.csv", "a.md", "a.html")]
    options = zip(("--csv", "--markdown", "--html"), files, strict=True)
    assert run("compare", swept, *(part for option in options for part in option)) == 0
    output = capsys.readouterr().out
    assert [line for line in output.splitlines() if line.startswith("wrote")] == [
        f"wrote {path}" for path in files
    ]
    rows = list(csv.DictReader(io.StringIO(files[0].read_text(encoding="utf-8"))))
    assert [(row["status"], row["model"]) for row in rows] == [
        ("failed", "broken"),
        ("ok", BUNDLED_MODEL),
    ]
    assert f"| {BUNDLED_MODEL} |" in files[1].read_text(encoding="utf-8")
    assert files[2].read_text(encoding="utf-8").lstrip().lower().startswith("<!doctype html>")


def test_two_reports_are_set_against_each_other(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    other = tmp_path / "other.jsonl"
    shutil.copy(swept, other)
    assert run("compare", swept, other) == 0
    output = capsys.readouterr().out
    assert "verdict" in output
    assert "1.00" in output
    assert "cannot compare" in output  # the cell that failed
    assert "differing beside the work: nothing" in output


def test_damage_is_said_and_the_rest_shown(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    torn = tmp_path / "torn.jsonl"
    torn.write_bytes(swept.read_bytes()[:-100])
    assert run("compare", torn) == 0
    output, errors = capsys.readouterr()
    assert errors.startswith("note: torn.jsonl: the last line was torn")
    assert errors.count("\n") == 1
    assert "model 'broken' cannot be loaded" in output


def test_a_table_that_cannot_be_written_is_one_line(
    swept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "none" / "a.csv"
    assert run("compare", swept, "--csv", path) == 2
    assert capsys.readouterr() == (
        "",
        f"error: --csv {path}: there is no folder {path.parent}\n",
    )


def test_what_a_run_is_at_is_said_in_a_few_words() -> None:
    request = ImageRequest(prompt="a cat", steps=20, width=96, height=32, batch=4)
    settings = {"num_cells": 4, "num_done": 1}
    at = {
        "starting": Progress(kind="ready", **settings),
        "ddim, 20 steps, 96x32, batch 4": Progress(kind="heartbeat", request=request, **settings),
        "ddim, 20 steps, 96x32, batch 4, repeat 2 done": Progress(
            kind="repeated", request=request, repeat=2, **settings
        ),
        "done": Progress(kind="done", **settings),
    }
    for words, progress in at.items():
        assert describe(progress) == words


@pytest.mark.skipif(os.name != "posix", reason="sends signals")
def test_a_second_sigterm_as_timeout_sends_does_not_cut_the_end_of_a_sweep_short() -> None:
    ended: list[str] = []

    def events() -> Generator[Progress]:
        try:
            yield Progress(kind="ready", num_cells=1, num_done=0)
            os.kill(os.getpid(), signal.SIGTERM)
        finally:
            os.kill(os.getpid(), signal.SIGTERM)
            ended.append("in order")

    with pytest.raises(KeyboardInterrupt):
        _watch(events())

    assert ended == ["in order"]


@pytest.mark.parametrize("dumb", [False, True], ids=["pipe", "TERM=dumb"])
def test_where_no_bar_is_drawn_each_end_of_a_round_is_a_line_with_the_time_left(
    dumb: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    if dumb:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich's own way to say that it is a terminal
        monkeypatch.setenv("TERM", "dumb")
    request = ImageRequest(prompt="a cat", steps=20)

    def events() -> Generator[Progress]:
        usual = {"num_cells": 2, "num_done": 0, "rounds": 3}
        yield Progress(kind="ready", **usual)
        for done, left_s in ((1, 75.0), (2, None)):
            yield Progress(kind="round", request=request, cell=make_cell(), **usual)
            yield Progress(kind="round_done", rounds_done=done, remaining_s=left_s, **usual)

    _watch(events())
    assert capsys.readouterr().err.splitlines() == [
        "round 1 of 3 done; about 1 min 15 s left",
        "round 2 of 3 done",
    ]


def test_a_cell_that_failed_is_one_line_of_a_log(capsys: pytest.CaptureFixture[str]) -> None:
    message = "; ".join(["memory that the allocator asked for"] * 4)
    ended = make_cell(status="oom", message=message)
    _watch(each for each in [Progress(kind="cell", num_cells=1, num_done=1, cell=ended)])
    assert capsys.readouterr().err == f"oom: {message}\n"


def test_what_a_model_says_as_its_cell_fails_commands_no_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    ended = make_cell(status="failed", message="no class \x1b]0;mine\x07")
    _watch(each for each in [Progress(kind="cell", num_cells=1, num_done=1, cell=ended)])
    assert capsys.readouterr().err == "failed: no class \\x1b]0;mine\\x07\n"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (None, ""),
        (0.2, "about 0 s left"),
        (59.4, "about 59 s left"),
        (59.6, "about 1 min 00 s left"),
        (3725, "about 1 h 02 min left"),
    ],
)
def test_the_time_left_is_words_or_nothing(seconds: float | None, words: str) -> None:
    assert time_left(seconds) == words
