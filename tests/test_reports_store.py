"""The writer loses no acknowledged cell: not to a kill, a full disk or a second writer."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from fakes import make_cell, make_header, make_report

from diffusion_bench.records import Memory
from diffusion_bench.reports import read, store
from diffusion_bench.reports.read import UnreadableReport, read_report
from diffusion_bench.reports.schema import Header
from diffusion_bench.reports.store import (
    ReportNotWritten,
    ReportRefused,
    ReportWriter,
    to_line,
)
from diffusion_bench.reports.unfinished import finished_ids
from diffusion_bench.whole_file import NotWritten

TESTS = Path(__file__).parent

# Appends cells without end; a cell's steps are printed once `append` has returned.
APPEND_FOR_EVER = """
import itertools, sys
sys.path[:0] = [sys.argv[2], sys.argv[3]]
from fakes import make_cell, make_header
from diffusion_bench.reports.store import ReportWriter
from diffusion_bench.reports.unfinished import finished_ids
writer, report = ReportWriter.resume(sys.argv[1], make_header())
done = finished_ids(report)
for seed in itertools.count():
    cell = make_cell(seed=seed, wall_s=(1.0,) * 50)
    if cell.cell_id not in done:
        writer.append(cell)
        print(cell.cell_id, flush=True)
"""

# Appends until the limit on the size of files stops it, and says how.
APPEND_TO_LIMIT = """
import resource, signal, sys
sys.path[:0] = [sys.argv[2], sys.argv[3]]
from fakes import make_cell, make_header
from diffusion_bench.reports.store import ReportNotWritten, ReportWriter
writer = ReportWriter.create(sys.argv[1], make_header())
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (20_000, 20_000))
try:
    for seed in range(1000):
        writer.append(make_cell(seed=seed))
        print(seed, flush=True)
except ReportNotWritten as error:
    print(error, flush=True)
"""


def start(code: str, path: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, str(path), str(TESTS), str(TESTS.parent)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_no_acknowledged_cell_is_lost_to_kills_and_none_is_torn_after_resume(tmp_path):
    path = tmp_path / "report.jsonl"
    acknowledged: set[str] = set()
    chance = random.Random(7)
    for _ in range(5):
        process = start(APPEND_FOR_EVER, path)
        assert process.stdout
        for _ in range(chance.randint(5, 40)):
            acknowledged.add(process.stdout.readline().strip())
        process.kill()
        acknowledged |= {line.strip() for line in process.stdout if line.endswith("\n")}
        process.wait()
        process.stdout.close()
    writer, report = ReportWriter.resume(path, make_header())
    writer.close()
    assert len(acknowledged) >= 25
    assert acknowledged <= finished_ids(report)
    lines = path.read_bytes().splitlines()
    assert len(lines) == 1 + len(report.cells), "a cell is there twice"
    assert read_report(path).notes == ()


@pytest.mark.skipif(os.name != "posix", reason="limits on file sizes are POSIX")
def test_a_full_disk_leaves_every_acknowledged_cell_and_nothing_half_written(tmp_path):
    path = tmp_path / "report.jsonl"
    process = start(APPEND_TO_LIMIT, path)
    lines = process.communicate(timeout=60)[0].splitlines()
    assert "the disk is full" in lines[-1]
    assert "report.jsonl" in lines[-1]
    report = read_report(path)
    assert report.notes == ()
    assert [str(cell.request.seed) for cell in report.cells] == lines[:-1]
    assert path.read_bytes().endswith(b"\n")


def test_after_a_failed_write_the_same_writer_goes_on(tmp_path, monkeypatch):
    path = tmp_path / "report.jsonl"
    with ReportWriter.create(path, make_header()) as writer:
        size = path.stat().st_size
        real = os.write
        monkeypatch.setattr(os, "write", lambda file, data: real(file, data[: len(data) // 2]))
        with pytest.raises(ReportNotWritten, match="the disk is full"):
            writer.append(make_cell())
        assert path.stat().st_size == size
        monkeypatch.undo()
        writer.append(make_cell())
    assert len(read_report(path).cells) == 1


def no_room(file: int) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_disk_that_reports_being_full_only_at_the_end_is_believed(tmp_path, monkeypatch):
    """Networked and quota-limited disks take the write and refuse it at fsync."""
    path = tmp_path / "report.jsonl"
    with ReportWriter.create(path, make_header()) as writer:
        size = path.stat().st_size
        monkeypatch.setattr(os, "fsync", no_room)
        with pytest.raises(ReportNotWritten, match="the disk is full"):
            writer.append(make_cell())
        assert path.stat().st_size == size


def test_a_header_that_cannot_be_written_leaves_no_file(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(ReportNotWritten, match=r"report\.jsonl: No space left"):
        ReportWriter.create(tmp_path / "report.jsonl", make_header())
    monkeypatch.undo()
    left = {path.name for path in tmp_path.iterdir()} - {"report.jsonl.lock"}
    assert left == set()


def test_create_refuses_a_file_with_content_and_takes_an_empty_one(tmp_path):
    path = tmp_path / "report.jsonl"
    path.touch()
    ReportWriter.create(path, make_header()).close()
    before = path.read_bytes()
    with pytest.raises(ReportRefused, match="exists; use --resume or another name"):
        ReportWriter.create(path, make_header())
    assert path.read_bytes() == before


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX pipes")
def test_no_report_is_begun_in_a_pipe_or_in_the_place_of_a_folder(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder"):
        with pytest.raises(ReportRefused, match=f"{name}: is a folder, device or pipe"):
            ReportWriter.create(tmp_path / name, make_header())
    assert (tmp_path / "pipe").is_fifo()


def test_a_folder_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(ReportRefused, match="does not exist"):
        ReportWriter.create(tmp_path / "none" / "report.jsonl", make_header())


def test_resume_cuts_a_torn_line_keeps_its_bytes_and_goes_on(tmp_path):
    path = tmp_path / "report.jsonl"
    with ReportWriter.create(path, make_header()) as writer:
        writer.append(make_cell(steps=5))
    with path.open("ab") as file:
        file.write(b'{"kind":"cell","cel')
    writer, report = ReportWriter.resume(path, make_header())
    with writer:
        writer.append(make_cell(steps=6))
    assert "torn" in report.notes[0]
    after = read_report(path)
    assert ([cell.request.steps for cell in after.cells], after.notes) == ([5, 6], ())
    assert (tmp_path / "report.jsonl.corrupt").read_bytes() == b'{"kind":"cell","cel\n'


def test_resume_without_a_file_starts_one(tmp_path):
    writer, report = ReportWriter.resume(tmp_path / "report.jsonl", make_header())
    writer.close()
    assert report.cells == ()
    assert read_report(tmp_path / "report.jsonl").header == make_header()


@pytest.mark.parametrize(
    ("now", "says"),
    [
        ({"torch": "2.12.0"}, r"software\.torch \(2\.11\.0 in the file, 2\.12\.0 now\)"),
        ({"cpu": "Other CPU"}, r"machine\.cpu"),
        ({"repeats": 9}, r"plan\.repeats \(3 in the file, 9 now\)"),
        ({"protocol_version": 1}, "protocol_version"),
        ({"cells": [make_cell().request]}, r"plan\.cells \(0 in the file, 1 now"),
    ],
)
def test_resume_refuses_another_machine_or_plan_and_names_the_difference(tmp_path, now, says):
    path = tmp_path / "report.jsonl"
    ReportWriter.create(path, make_header()).close()
    before = path.read_bytes()
    with pytest.raises(ReportRefused, match=says) as refused:
        ReportWriter.resume(path, make_header(**now))
    assert path.read_bytes() == before
    ReportWriter.resume(path, make_header())[0].close()  # the lock is free again,
    assert refused.tb, "although the failed call is still referred to"


def on_card(**card: Any) -> Header:
    header = make_header(gpu="NVIDIA L4")
    (gpu,) = header.machine.gpus
    machine = header.machine.model_copy(update={"gpus": (gpu.model_copy(update=card),)})
    return header.model_copy(update={"machine": machine})


def test_a_screen_that_fell_asleep_does_not_keep_a_sweep_from_going_on(tmp_path):
    path = tmp_path / "report.jsonl"
    ReportWriter.create(path, on_card(display_active=True)).close()
    writer, report = ReportWriter.resume(path, on_card(display_active=False))
    writer.close()
    assert report.header == on_card(display_active=True)


def test_what_changed_of_a_card_is_named_with_both_values(tmp_path):
    path = tmp_path / "report.jsonl"
    ReportWriter.create(path, on_card(driver="580.65", pcie_width=16)).close()
    changed = r"machine\.gpus\.0\.driver \(580\.65 in the file, 590\.10 now\)"
    with pytest.raises(ReportRefused, match=changed) as refused:
        ReportWriter.resume(path, on_card(driver="590.10", pcie_width=16))
    assert "pcie" not in str(refused.value)


def test_a_sweep_goes_on_only_on_the_card_it_began_on_where_both_tell_it(tmp_path):
    def planned(uuid_hash: str | None) -> Header:
        header = on_card()
        plan = header.plan.model_copy(update={"gpu_uuid_hash": uuid_hash})
        return header.model_copy(update={"plan": plan})

    path = tmp_path / "report.jsonl"
    ReportWriter.create(path, planned("aa")).close()
    with pytest.raises(ReportRefused, match=r"card \(aa in the file, bb now\)"):
        ReportWriter.resume(path, planned("bb"))
    for same in ("aa", None):
        ReportWriter.resume(path, planned(same))[0].close()


def test_a_refusal_of_a_hostile_file_is_one_printable_line(tmp_path):
    path = tmp_path / "report.jsonl"
    ReportWriter.create(path, make_header(cpu="\x1b[2J\n" + 400 * "x")).close()
    with pytest.raises(ReportRefused) as refused:
        ReportWriter.resume(path, make_header())
    assert str(refused.value).isprintable()
    assert len(str(refused.value)) < 400


@pytest.mark.parametrize("limit", ["MAX_REPORT_BYTES", "MAX_LINES"])
def test_a_sweep_in_rounds_never_outgrows_what_is_read(tmp_path, monkeypatch, limit):
    """A cell is written anew after every visit; ten rounds are far past the limits here."""
    path, header = tmp_path / "report.jsonl", make_header()
    line = len(to_line(make_cell(seed=1, wall_s=(1.0,) * 10)))
    most = {"MAX_REPORT_BYTES": len(to_line(header)) + 4 * line, "MAX_LINES": 6}
    monkeypatch.setattr(read, limit, most[limit])
    expected: dict[int, int] = {}
    with ReportWriter.create(path, header) as writer:
        for visit in range(1, 11):
            for seed in (1, 2, 3):
                writer.append(make_cell(seed=seed, wall_s=(1.0,) * visit))
                expected[seed] = visit
                report = read_report(path)
                found = {cell.request.seed: len(cell.samples) for cell in report.cells}
                assert (found, report.notes) == (expected, ())
    assert {entry.name for entry in tmp_path.iterdir()} <= {"report.jsonl", "report.jsonl.lock"}


def test_a_resumed_report_counts_the_lines_that_it_has(tmp_path, monkeypatch):
    path = tmp_path / "report.jsonl"
    monkeypatch.setattr(read, "MAX_LINES", 4)
    with ReportWriter.create(path, make_header()) as writer:
        writer.append(make_cell(seed=1))
        writer.append(make_cell(seed=2))
    with ReportWriter.resume(path, make_header())[0] as writer:
        writer.append(make_cell(seed=2, wall_s=(5.0,)))
    assert [cell.samples[0].wall_s for cell in read_report(path).cells] == [1.0, 5.0]


def test_a_cell_that_would_make_the_report_unreadable_is_refused_and_the_others_stay(
    tmp_path, monkeypatch
):
    path, header = tmp_path / "report.jsonl", make_header()
    monkeypatch.setattr(read, "MAX_LINES", 4)
    with ReportWriter.create(path, header) as writer:
        writer.append(make_cell(seed=1))
        writer.append(make_cell(seed=2))
        before = path.read_bytes()
        with pytest.raises(ReportNotWritten, match="larger than is read; what was saved before"):
            writer.append(make_cell(seed=3))
        assert path.read_bytes() == before
        writer.append(make_cell(seed=1, wall_s=(7.0,)))
    assert [cell.samples[0].wall_s for cell in read_report(path).cells] == [1.0, 7.0]


def test_a_report_that_cannot_be_written_anew_is_as_it_was_and_goes_on(tmp_path, monkeypatch):
    def full(path: Path, content: bytes) -> None:
        raise NotWritten(f"cannot write {path}: No space left on device")

    path = tmp_path / "report.jsonl"
    with ReportWriter.create(path, make_header()) as writer:
        writer.append(make_cell())
        before = path.read_bytes()
        monkeypatch.setattr(read, "MAX_LINES", 3)
        monkeypatch.setattr(store, "write_whole", full)
        with pytest.raises(ReportNotWritten, match="No space left on device; what was saved"):
            writer.append(make_cell(wall_s=(2.0,)))
        assert path.read_bytes() == before
        monkeypatch.undo()
        writer.append(make_cell(wall_s=(3.0,)))
    assert [cell.samples[0].wall_s for cell in read_report(path).cells] == [3.0]


def test_lines_that_nobody_could_read_are_refused_before_they_are_written(tmp_path, monkeypatch):
    path, header, cell = tmp_path / "report.jsonl", make_header(), make_cell(wall_s=(1.0,) * 99)
    monkeypatch.setattr(read, "MAX_LINE_BYTES", len(to_line(header)) - 1)
    with pytest.raises(ReportRefused, match="not begun: the plan makes a line of"):
        ReportWriter.create(path, header)
    assert not path.exists()
    monkeypatch.setattr(read, "MAX_LINE_BYTES", len(to_line(header)))
    with ReportWriter.create(path, header) as writer:
        with pytest.raises(ReportNotWritten, match=r"the cell makes a line of .* MiB"):
            writer.append(cell)
        monkeypatch.setattr(read, "MAX_LINE_BYTES", len(to_line(cell)))
        monkeypatch.setattr(read, "MAX_VALUES", to_line(cell).count(b",") - 1)
        with pytest.raises(ReportNotWritten, match=r"the cell makes a line of .* values"):
            writer.append(cell)
    assert read_report(path).cells == ()


def test_resume_refuses_a_file_that_is_no_report_and_leaves_it_alone(tmp_path):
    path = tmp_path / "letter.txt"
    path.write_text("Dear reader")
    with pytest.raises(UnreadableReport):
        ReportWriter.resume(path, make_header())
    assert path.read_text() == "Dear reader"


def test_a_second_writer_is_refused_until_the_first_closes(tmp_path):
    path = tmp_path / "report.jsonl"
    with ReportWriter.create(path, make_header()) as first:
        with pytest.raises(ReportRefused, match="another sweep is writing"):
            ReportWriter.resume(path, make_header())
        first.append(make_cell())
    writer, report = ReportWriter.resume(path, make_header())
    writer.close()
    assert len(report.cells) == 1
    with pytest.raises(ValueError, match="closed"):
        writer.append(make_cell())


@pytest.mark.parametrize(
    ("number", "remedy"),
    [(errno.ENOSPC, "make room and"), (errno.EACCES, r"unharmed: continue .* can be written$")],
)
def test_room_is_asked_for_only_where_it_is_lacking(tmp_path, monkeypatch, number, remedy):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    with ReportWriter.create(tmp_path / "report.jsonl", make_header()) as writer:
        monkeypatch.setattr(store, "_write", refuse)
        with pytest.raises(ReportNotWritten, match=remedy):
            writer.append(make_cell())


def lose(path):
    path.unlink()


def save_in_an_editor(path):
    path.with_suffix(".new").write_bytes(path.read_bytes())
    path.with_suffix(".new").replace(path)


@pytest.mark.skipif(os.name != "posix", reason="Windows replaces no file that is open")
@pytest.mark.parametrize("disturb", [lose, save_in_an_editor])
def test_a_report_removed_or_replaced_while_it_is_written_loses_no_cell(tmp_path, disturb):
    path = tmp_path / "report.jsonl"
    (tmp_path / "report-kept1.jsonl").touch()  # somebody's
    with ReportWriter.create(path, make_header()) as writer:
        writer.append(make_cell(seed=0))
        disturb(path)
        with pytest.raises(ReportNotWritten, match=r"replaced .* is in .*report-kept2\.jsonl"):
            writer.append(make_cell(seed=1))
    kept = read_report(tmp_path / "report-kept2.jsonl")
    assert [cell.request.seed for cell in kept.cells] == [0, 1]


@pytest.mark.skipif(os.name != "posix", reason="Windows replaces no file that is open")
def test_a_report_removed_before_its_sweep_is_interrupted_is_kept(tmp_path):
    path = tmp_path / "report.jsonl"
    writer = ReportWriter.create(path, make_header())
    writer.append(make_cell(seed=0))
    path.unlink()
    with pytest.raises(ReportNotWritten, match=r"report-kept1\.jsonl"):
        writer.close()
    writer.close()
    assert len(read_report(tmp_path / "report-kept1.jsonl").cells) == 1
    ReportWriter.create(path, make_header()).close()  # the lock is free


def test_finished_cells_are_those_that_ended_by_themselves():
    cells = [
        make_cell(steps=number, status=status)
        for number, status in enumerate(("ok", "oom", "failed", "cancelled"), start=1)
    ]
    assert finished_ids(make_report(*cells)) == {cell.cell_id for cell in cells[:3]}


def test_a_line_is_one_line_of_utf8_and_never_holds_nan():
    line = to_line(make_cell(prompt="a\ncat\u2028ü"))
    assert line.count(b"\n") == 1
    assert "ü".encode() in line
    with pytest.raises(ValueError, match="JSON"):
        to_line(Memory.model_construct(rss_mib=float("nan")))
