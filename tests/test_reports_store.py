"""The writer loses no acknowledged cell: not to a kill, a full disk or a second writer."""

from __future__ import annotations

import errno
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import make_cell, make_header, make_report

from diffusion_bench.records import Memory
from diffusion_bench.reports.read import UnreadableReport, read_report
from diffusion_bench.reports.store import (
    ReportNotWritten,
    ReportRefused,
    ReportWriter,
    finished_ids,
    to_line,
)

TESTS = Path(__file__).parent

# Appends cells without end; a cell's steps are printed once `append` has returned.
APPEND_FOR_EVER = """
import itertools, sys
sys.path[:0] = [sys.argv[2], sys.argv[3]]
from fakes import make_cell, make_header
from diffusion_bench.reports.store import ReportWriter, finished_ids
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
        ({"torch": "2.12.0"}, r"software\.torch \('2\.11\.0' in the file, '2\.12\.0' now\)"),
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
