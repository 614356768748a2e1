"""`compare` on reports that no sweep has to run for: limits, speech, files that are its own."""

from __future__ import annotations

import csv
import io
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run
from fakes import make_cell, make_header, write_report

from diffusion_bench.records import BUNDLED_MODEL, BUNDLED_SIDE, VoiceRequest, VoiceStages
from diffusion_bench.reports.read import read_report
from diffusion_bench.reports.schema import Cell, Energy, Limit, Sample
from diffusion_bench.reports.store import to_line
from diffusion_bench.ui.figures import cell_table

SIZE = f"{BUNDLED_SIDE}x{BUNDLED_SIDE}"


@pytest.fixture
def report(tmp_path: Path) -> Path:
    """Return a report of one cell."""
    return write_report(tmp_path / "mine.jsonl", make_cell())


def test_a_report_whose_cells_all_failed_alike_says_so_and_one_that_went_well_needs_no_column(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failed = [
        make_cell(status="oom", message="no room", order=order, seed=order) for order in (0, 1)
    ]
    assert run("compare", write_report(tmp_path / "failed.jsonl", *failed)) == 0
    told = capsys.readouterr().out
    assert "status" in told
    assert told.count(" oom ") == 2
    well = [make_cell(order=order, seed=order) for order in (0, 1)]
    assert run("compare", write_report(tmp_path / "well.jsonl", *well)) == 0
    assert "status" not in capsys.readouterr().out


def test_limits_are_told_wherever_a_report_is_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    head, cell = make_header(), make_cell()
    limits = [
        Limit(axis="batch", request=cell.request, largest_fit=8, smallest_misfit=9),
        Limit(
            axis="batch",
            request=cell.request.model_copy(update={"width": 64}),
            largest_fit=None,
            smallest_misfit=1,
        ),
    ]
    report = tmp_path / "limit.jsonl"
    report.write_bytes(b"".join(map(to_line, (head, cell, *limits))))
    names = ("a.csv", "a.md", "a.html")
    csv_path, markdown, page = paths = [tmp_path / name for name in names]
    options = zip(("--csv", "--markdown", "--html"), paths, strict=True)
    assert run("compare", report, *(part for option in options for part in option)) == 0
    told = [
        f"{BUNDLED_MODEL}, fp32, {SIZE}: the largest batch that fits is 8 (9 does not fit)",
        f"{BUNDLED_MODEL}, fp32, 64x{BUNDLED_SIDE}: no batch fits; 1 does not",
    ]
    for text in (capsys.readouterr().out, markdown.read_text(), page.read_text()):
        assert [line for line in told if line in text] == told
    rows = list(csv.DictReader(io.StringIO(csv_path.read_text())))
    columns = ("resolution", "batch", "status", "limit_of", "largest_fit", "smallest_misfit")
    assert [tuple(row[name] for name in columns) for row in rows] == [
        (SIZE, "1", "ok", "", "", ""),
        (SIZE, "", "", "batch", "8", "9"),
        (f"64x{BUNDLED_SIDE}", "", "", "batch", "", "1"),
    ]


def test_what_an_emulated_card_fits_is_nowhere_taken_for_what_the_card_does(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A batch that ran out of 12 GiB on a card of 24 says nothing of 24."""
    head = make_header(gpu="NVIDIA GeForce RTX 4090", memory_mib=24564.0)
    plan = head.plan.model_copy(update={"emulated_memory_mib": 12288.0})
    cell = make_cell(status="oom").model_copy(update={"labels": ("emulated",)})
    limits = [
        Limit(axis="batch", request=cell.request, largest_fit=8, smallest_misfit=9),
        Limit(axis="batch", request=cell.request, largest_fit=None, smallest_misfit=1),
    ]
    report = tmp_path / "twelve.jsonl"
    head = head.model_copy(update={"plan": plan})
    report.write_bytes(b"".join(map(to_line, (head, cell, *limits))))
    paths = [tmp_path / name for name in ("a.csv", "a.md", "a.html")]
    options = zip(("--csv", "--markdown", "--html"), paths, strict=True)
    assert run("compare", report, *(part for option in options for part in option)) == 0
    told = [
        "NVIDIA GeForce RTX 4090, 12 GiB of emulated memory, ",
        "the largest batch that fits 12 GiB of emulated memory is 8 (9 does not fit)",
        "no batch fits 12 GiB of emulated memory; 1 does not",
    ]
    for text in (capsys.readouterr().out, *(path.read_text() for path in paths[1:])):
        assert [words for words in told if words in text] == told
    rows = list(csv.DictReader(io.StringIO(paths[0].read_text())))
    assert [row["labels"] for row in rows] == ["emulated"] * 3
    assert [row["warnings"] for row in rows] == ["emulated", "", ""]


def spoken(num_steps: int, denoising_s: float) -> Cell:
    """Return a cell of two chunks of 15 steps each, whose sound lasts twice as long as the call."""
    request = VoiceRequest(text="one word more", steps=15)
    stages = VoiceStages(
        text_s=0.0,
        voice_encoder_s=0.0,
        prior_s=0.5,
        denoising_s=denoising_s,
        vocoder_s=0.5,
        other_s=0.0,
    )
    wall_s = denoising_s + 1
    sample = Sample(
        wall_s=wall_s,
        stages=stages,
        step_s=(denoising_s / num_steps,) * num_steps,
        audio_s=2 * wall_s,
        first_audio_s=0.25,
    )
    update = {
        "cell_id": request.workload_id(),
        "request": request,
        "samples": (sample,) * 2,
        "energy": Energy(total_j=64.0, window_s=2 * wall_s, method="counter"),
    }
    return make_cell().model_copy(update=update)


def test_speech_is_printed_with_its_own_figures_and_pictures_without(
    report: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write_report(tmp_path / "voice.jsonl", spoken(30, 3.0))
    own = ("speech (s)", "real-time factor", "first sound (s)", "energy (J/s of speech)")
    assert run("compare", path) == 0
    table = columns(capsys.readouterr().out)
    assert {name: table[name] for name in (*own, "denoising steps/s", "n")} == {
        "speech (s)": "8",
        "real-time factor": "0.5",
        "first sound (s)": "0.25",
        "energy (J/s of speech)": "4",
        "denoising steps/s": "10",
        "n": "2",
    }
    page = cell_table([read_report(path)])
    on_page = dict(zip(page["headers"], page["data"][0], strict=True))
    assert {name: on_page[name] for name in own[1:]} == {name: table[name] for name in own[1:]}
    assert run("compare", report) == 0
    assert not set(own) & set(columns(capsys.readouterr().out))


def columns(printed: str) -> dict[str, str]:
    """Return the first row of a printed table by its heads, each in as many lines as it took."""
    lines = printed.splitlines()
    heads, body = (
        [line.strip(sign).split(sign) for line in lines if sign in line] for sign in ("┃", "│")
    )
    names, values = (
        [" ".join(" ".join(parts).split()) for parts in zip(*rows, strict=True)]
        for rows in (heads, body)
    )
    return dict(zip(names, values, strict=True))


@pytest.fixture
def wide(tmp_path: Path) -> Path:
    """Return a report whose table has many columns, long names and large figures."""
    energy = Energy(total_j=52468.0, window_s=33.0, method="counter", net_j=51234.0)
    walls = (11.01234, 11.02345, 11.05678)
    cell = make_cell(wall_s=walls, nvml_used_mib=10780.0, rss_mib=14200.4)
    cell = cell.model_copy(update={"energy": energy, "labels": ("throttled",)})
    message = "out of memory: " + "some words of the allocator " * 8
    model = "a" * 30 + "/" + "b" * 30
    other = make_cell(status="oom", message=message, order=1, model=model)
    return write_report(tmp_path / "wide.jsonl", cell, other)


@pytest.mark.parametrize("screen", [None, 20, 40, 80, 130, 400])
def test_no_figure_is_cut_in_a_pipe_nor_on_a_narrow_screen(
    wide: Path,
    screen: int | None,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if screen:
        monkeypatch.setenv("TTY_COMPATIBLE", "1")  # rich's own way to say that it is a terminal
        monkeypatch.setenv("NO_COLOR", "1")
        monkeypatch.setenv("COLUMNS", str(screen))
    assert run("compare", wide) == 0
    printed = re.sub(r"\x1b\[[0-9;]*m", "", capsys.readouterr().out)
    assert "…" not in printed
    if screen:
        assert max(map(len, printed.splitlines())) <= screen
        figures = ("10780", "14200", "17489", "17078", "0.02222")
        assert all(re.search(rf"(?<![\w.]){figure}(?![\w.])", printed) for figure in figures)
        return
    (row,) = (line.split() for line in printed.splitlines() if " ok " in line)
    assert {"10780", "14200", "17489", "17078", "0.02222", "throttled;"} <= set(row)


@pytest.mark.parametrize("option", ["--csv", "--markdown", "--html"])
@pytest.mark.parametrize("linked", [False, True])
def test_a_report_that_is_compared_is_never_written_over(
    report: Path, option: str, linked: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    before, out = report.read_bytes(), report
    if linked:
        out = report.with_name("link")
        out.symlink_to(report)
    assert run("compare", report, option, out) == 2
    assert capsys.readouterr() == (
        "",
        f"error: {option} {out} is the report {report} itself; write to another file\n",
    )
    assert report.read_bytes() == before
    assert out.is_symlink() == linked


def test_two_outputs_of_one_name_are_refused_before_either_is_written(
    report: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = report.with_name("out")
    again = report.parent / ".." / report.parent.name / "out"
    assert run("compare", report, "--csv", out, "--html", again) == 2
    output, errors = capsys.readouterr()
    assert (output, errors.count("\n")) == ("", 1)
    assert "--html" in errors
    assert "the file of --csv itself" in errors
    assert not out.exists()


def test_files_are_written_whoever_leaves_while_the_tables_are_printed(
    report: Path, tmp_path: Path
) -> None:
    outputs = [tmp_path / name for name in ("a.csv", "a.md", "a.html")]
    options = zip(("--csv", "--markdown", "--html"), outputs, strict=True)
    command = [sys.executable, "-m", "diffusion_bench", "compare", report]
    command += [part for option in options for part in option]
    read, write = os.pipe()
    os.close(read)  # as `head` has left, once it has its lines
    subprocess.run(command, stdout=write, stderr=subprocess.DEVNULL, check=False)
    os.close(write)
    assert [path.exists() for path in outputs] == [True] * 3


@pytest.mark.parametrize("command", ["compare", "explain", "doctor", "tiers"])
def test_nothing_in_a_report_gives_a_terminal_orders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    orders = "\x1b]0;owned\x07\x9b2J\r\u202e"
    paths = []
    for name in ("mine", "friend"):
        cells = [make_cell(model=f"{orders}{word}", rss_mib=800.0) for word in ("a", "b")]
        cells.append(make_cell(status="failed", message=orders))
        head = make_header(cells=[cell.request for cell in cells], cpu=f"{name}{orders}")
        path = tmp_path / f"{name}.jsonl"
        path.write_bytes(b"".join(map(to_line, (head, *cells))))
        paths.append(path)

    assert run(command, *paths) in (0, 1)
    captured = capsys.readouterr()
    said = captured.out + captured.err
    assert not set("\x1b\x07\x9b\r\u202e") & set(said)
    assert command not in ("compare", "explain") or r"\x1b]0;owned\x07\x9b2J\r\u202e" in said


def test_a_tariff_gives_images_their_cost_and_a_bad_one_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    whole = Energy(total_j=360.0, window_s=3.0, method="counter")
    cell = make_cell().model_copy(update={"energy": whole})
    report = write_report(tmp_path / "a.jsonl", cell)
    assert run("compare", report, "--tariff", "0.30", "--csv", tmp_path / "a.csv") == 0
    assert "cost of 1000" in capsys.readouterr().out
    assert ",0.01," in (tmp_path / "a.csv").read_text(encoding="utf-8")
    assert run("compare", report) == 0
    assert "cost of 1000" not in capsys.readouterr().out
    assert run("compare", report, "--tariff", "-1") == 2


def test_two_reports_of_one_name_are_told_apart_wherever_they_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    paths = []
    for folder in ("mine", "friend"):
        (tmp_path / folder).mkdir()
        paths.append(write_report(tmp_path / folder / "quick.jsonl", make_cell()))
    assert run("compare", *paths) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in ("quick.jsonl: Test CPU", "quick.jsonl (2): Test CPU"))


def test_a_ratio_far_from_one_keeps_its_digits(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A card takes a thousandth of a processor's time, and not 0.00 of it."""
    slow = write_report(tmp_path / "slow.jsonl", make_cell(wall_s=(1000.0,) * 5))
    fast = write_report(tmp_path / "fast.jsonl", make_cell(wall_s=(1.234,) * 5))
    assert run("compare", slow, fast, "--markdown", tmp_path / "both.md") == 0
    for text in (capsys.readouterr().out, (tmp_path / "both.md").read_text()):
        assert "0.001234" in text
        assert "ratio of times 0.001234 (" in text


@pytest.mark.skipif(os.name == "nt", reason="no file there is called so")
@pytest.mark.parametrize("command", ["compare", "explain", "doctor"])
def test_no_name_of_a_report_gives_a_terminal_orders(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    paths = [write_report(tmp_path / f"{name}\x1b]0;owned\x07.jsonl", make_cell()) for name in "ab"]
    for path in paths:
        path.write_bytes(path.read_bytes() + b"{")
    assert run(command, *paths) in (0, 1)
    captured = capsys.readouterr()
    assert "owned" in captured.out
    assert not set("\x1b\x07") & set(captured.out + captured.err)


def test_a_report_without_a_cell_says_so(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = write_report(tmp_path / "begun.jsonl")
    assert run("compare", report) == 0
    assert capsys.readouterr().out.splitlines()[1:] == ["No cells."]
