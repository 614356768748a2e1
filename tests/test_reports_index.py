"""Reports are read once; what has changed is read again, and a broken index costs nothing."""

from __future__ import annotations

import contextlib
import errno
import os
import random
import sqlite3
import subprocess
import sys
import threading

import pytest
from fakes import make_cell, make_header, make_report
from test_reports_hostile import hostile_file, lines_of, originals

from diffusion_bench.records import BUNDLED_MODEL, Speed
from diffusion_bench.reports import index, index_database
from diffusion_bench.reports.digests import digest_of
from diffusion_bench.reports.export import to_rows
from diffusion_bench.reports.index import ALWAYS_READ, ReportIndex
from diffusion_bench.reports.store import to_line

GPU = "NVIDIA GeForce RTX 4070 Ti"


def write(path, seconds=1.0, cells=2):
    wanted = [make_cell(wall_s=(seconds,) * 7, steps=10 + i) for i in range(cells)]
    header = make_header(gpu=GPU, cells=[cell.request for cell in wanted])
    path.write_bytes(to_line(header) + b"".join(map(to_line, wanted)))
    return path


@pytest.fixture
def reads(monkeypatch):
    """The names of the files read in full, in order."""
    seen = []
    real = index.read_report

    def spy(path):
        seen.append(path.name)
        return real(path)

    monkeypatch.setattr(index, "read_report", spy)
    return seen


def test_a_digest_has_the_device_and_the_figures_of_each_cell():
    cell = make_cell(wall_s=(1.0, 1.1, 0.9, 1.2, 1.0, 1.0, 1.0), steps=20, batch=4)
    failed = make_cell(status="oom", message="no memory", steps=30)

    found = digest_of(make_report(cell, failed, gpu=GPU, source="mine.jsonl"))

    assert (found.source, found.on_gpu, found.gpu) == ("mine.jsonl", True, GPU)
    (one,) = found.cells
    assert (one.model, one.steps, one.batch, one.n) == (BUNDLED_MODEL, 20, 4, 7)
    assert one.low_s <= one.median_s == 1.0 <= one.high_s
    assert one.denoising_s == pytest.approx(0.8)


def test_a_digest_has_how_each_cell_ended_for_the_memory_of_the_card():
    ran = make_cell(nvml_used_mib=11_500.0, steps=20)
    failed = make_cell(status="oom", message="no memory", steps=30, batch=8)
    crashed = make_cell(status="crashed", message="no memory", steps=40)
    other = make_cell(status="oom", message="no memory", speed=Speed(offload="model"))

    found = digest_of(make_report(ran, failed, crashed, other, gpu=GPU))

    assert [(one.memory_fit, one.peak_mib) for one in found.cells] == [("tight", 11_500.0)]
    assert [(one.model, one.steps, one.batch) for one in found.failed] == [(BUNDLED_MODEL, 30, 8)]
    on_cpu = digest_of(make_report(ran, failed))
    assert [(one.memory_fit, one.peak_mib) for one in on_cpu.cells] == [(None, None)]
    assert on_cpu.failed == ()


def test_a_card_that_was_made_smaller_did_not_run_out_of_its_memory():
    report = make_report(make_cell(status="oom", message="no memory"), gpu=GPU)
    plan = report.header.plan.model_copy(update={"emulated_memory_mib": 6144.0})
    header = report.header.model_copy(update={"plan": plan})
    assert len(digest_of(report).failed) == 1
    assert digest_of(report.model_copy(update={"header": header})).failed == ()


def test_what_ran_out_of_memory_and_peaks_are_kept(tmp_path, reads):
    path = tmp_path / "a.jsonl"
    cells = [make_cell(nvml_used_mib=9000.0), make_cell(status="oom", message="none", steps=30)]
    header = make_header(gpu=GPU, cells=[cell.request for cell in cells])
    path.write_bytes(to_line(header) + b"".join(map(to_line, cells)))
    known = ReportIndex(tmp_path / "index")

    first, second = known.ask([path]).digests + known.ask([path]).digests

    assert first == second
    assert (second.cells[0].peak_mib, len(second.failed)) == (9000.0, 1)
    assert reads == ["a.jsonl"]


def test_a_digest_counts_the_cells_that_are_still_to_be_measured():
    done, cancelled = make_cell(steps=20), make_cell(status="cancelled", steps=30)

    assert digest_of(make_report(done)).unfinished == 0
    assert digest_of(make_report(done, cancelled)).unfinished == 1


def test_without_cells_the_rest_is_told_all_the_same(tmp_path, reads):
    path = write(tmp_path / "a.jsonl")
    kept = ReportIndex(tmp_path / "index")
    (whole,) = kept.ask([path]).digests

    (light,) = kept.ask([path], with_cells=False).digests

    assert light == whole._replace(cells=())
    assert reads == ["a.jsonl"]


def test_a_report_is_read_once_and_again_when_it_changed(tmp_path, reads):
    path = write(tmp_path / "a.jsonl")
    known = ReportIndex(tmp_path / "index")

    first, second = known.ask([path]), known.ask([path])
    assert first == second
    assert reads == ["a.jsonl"]

    write(path, seconds=2.0)
    os.utime(path, ns=(1, 1))
    assert known.ask([path]).digests[0].cells[0].median_s == 2.0
    assert known.ask([path]).digests[0].cells[0].median_s == 2.0
    assert reads == ["a.jsonl"] * 2


def test_what_is_kept_is_what_a_full_reading_gives(tmp_path):
    paths = [write(tmp_path / f"{i}.jsonl", seconds=1.0 + i, cells=3) for i in range(5)]
    fresh = ReportIndex(tmp_path / "index").ask(paths).digests
    kept = ReportIndex(tmp_path / "index").ask(paths).digests
    read = [digest_of(index.read_report(path)) for path in paths]
    assert sorted(kept) == sorted(fresh) == sorted(read)


def test_a_file_that_is_no_report_is_complained_of_each_time_and_stops_no_other(tmp_path, reads):
    good, bad = write(tmp_path / "good.jsonl"), tmp_path / "bad.jsonl"
    bad.write_text("<html>")
    known = ReportIndex(tmp_path / "index")
    for _ in range(2):
        asked = known.ask([bad, good, tmp_path / "gone.jsonl"])
        assert len(asked.digests) == 1
        assert any("gone.jsonl" in line for line in asked.complaints)
        assert any("bad.jsonl" in line for line in asked.complaints)
    assert sorted(reads) == ["bad.jsonl", "good.jsonl"]


def test_a_report_that_could_not_be_read_once_is_read_when_it_can_be(tmp_path, monkeypatch):
    path, known = write(tmp_path / "a.jsonl"), ReportIndex(tmp_path / "index")

    def refuse(*_args, **_kwargs):
        raise OSError(errno.EACCES, os.strerror(errno.EACCES))

    with monkeypatch.context() as patch:
        patch.setattr(type(path), "open", refuse)
        (complaint,) = known.ask([path]).complaints
    assert "Permission denied" in complaint

    asked = known.ask([path])
    assert (len(asked.digests), asked.complaints) == (1, ())


def test_a_report_too_new_for_an_index_is_read_by_the_version_that_knows_its_format(tmp_path):
    path = write(tmp_path / "a.jsonl")
    script = (
        "import sys\n"
        "from pathlib import Path\n"
        "from diffusion_bench.reports import schema\n"
        "schema.SCHEMA_VERSION -= 1\n"
        "from diffusion_bench.reports.index import ReportIndex\n"
        "print(*ReportIndex(Path(sys.argv[1])).ask([Path(sys.argv[2])]).complaints)\n"
    )
    arguments = [sys.executable, "-c", script, str(tmp_path / "index"), str(path)]
    older = subprocess.run(arguments, capture_output=True, text=True, check=True)
    assert "update Diffusion Bench to open it" in older.stdout

    assert len(ReportIndex(tmp_path / "index").ask([path]).digests) == 1


def test_without_patience_a_few_are_read_the_newest_first_and_the_rest_next_time(tmp_path, reads):
    paths = [write(tmp_path / f"{i:02}.jsonl", cells=1) for i in range(ALWAYS_READ + 5)]
    for age, path in enumerate(paths):
        os.utime(path, ns=(10**9 * (100 - age),) * 2)
    known = ReportIndex(tmp_path / "index")

    asked = known.ask(paths, patience_s=0.0)
    assert (len(asked.digests), asked.unread) == (ALWAYS_READ, 5)
    assert reads == [path.name for path in paths[:ALWAYS_READ]]

    asked = known.ask(paths, patience_s=0.0)
    assert (len(asked.digests), asked.unread) == (ALWAYS_READ + 5, 0)


@pytest.mark.parametrize(
    "damage", [b"", b"not sqlite" * 100, b"SQLite format 3\0" + b"\xff" * 4000]
)
def test_a_damaged_index_is_made_again(tmp_path, damage, reads):
    path, file = write(tmp_path / "a.jsonl"), tmp_path / "index"
    ReportIndex(file).ask([path])
    file.write_bytes(damage)

    for _ in range(2):
        assert len(ReportIndex(file).ask([path]).digests) == 1
    assert reads == ["a.jsonl"] * 2


def test_an_index_damaged_in_its_middle_still_answers(tmp_path, reads):
    paths = [write(tmp_path / f"{i}.jsonl") for i in range(30)]
    file = tmp_path / "index"
    whole = ReportIndex(file).ask(paths).digests
    data = bytearray(file.read_bytes())
    for place in range(4096, len(data), 4096):
        data[place : place + 200] = b"\xa5" * 200
    file.write_bytes(bytes(data))

    assert sorted(ReportIndex(file).ask(paths).digests) == sorted(whole)
    reads.clear()
    assert sorted(ReportIndex(file).ask(paths).digests) == sorted(whole)
    assert reads == []  # it was made again


def test_an_index_of_another_version_is_made_again(tmp_path, reads, monkeypatch):
    path = write(tmp_path / "a.jsonl")
    ReportIndex(tmp_path / "index").ask([path])
    monkeypatch.setattr(index_database, "VERSION", index_database.VERSION + 1)
    assert len(ReportIndex(tmp_path / "index").ask([path]).digests) == 1
    assert reads == ["a.jsonl"] * 2


def test_a_place_where_nothing_can_be_written_costs_a_reading_and_no_more(tmp_path, reads):
    path = write(tmp_path / "a.jsonl")
    nowhere = ReportIndex(tmp_path / "no such folder" / "index")
    assert len(nowhere.ask([path]).digests) == 1
    assert len(nowhere.ask([path]).digests) == 1
    assert reads == ["a.jsonl"] * 2


def test_an_index_that_another_process_holds_is_done_without(tmp_path, monkeypatch):
    monkeypatch.setattr(index_database, "WAIT_S", 0.01)
    path, file = write(tmp_path / "a.jsonl"), tmp_path / "index"
    ReportIndex(file).ask([write(tmp_path / "b.jsonl")])
    holder = sqlite3.connect(file)
    holder.execute("BEGIN EXCLUSIVE")
    try:
        assert len(ReportIndex(file).ask([path]).digests) == 1
    finally:
        holder.close()


def test_two_that_write_at_once_lose_nothing(tmp_path):
    paths = [write(tmp_path / f"{i}.jsonl", cells=1) for i in range(60)]
    file = tmp_path / "index"
    answers = []
    threads = [
        threading.Thread(target=lambda: answers.append(ReportIndex(file).ask(paths)))
        for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [len(asked.digests) for asked in answers] == [60] * 4
    assert all(sorted(asked.digests) == sorted(answers[0].digests) for asked in answers)


NO_UTF8 = os.fsdecode(b"caf\xe9")


def odd_place(make, path):
    """Make a file or a folder there, or skip the test."""
    try:
        return make(path)
    except (OSError, ValueError):
        pytest.skip("this file system takes no such name or time")


def test_a_file_whose_name_is_no_text_is_read_each_time_and_stops_no_other(tmp_path, reads):
    odd = odd_place(write, tmp_path / f"{NO_UTF8}.jsonl")
    bad = tmp_path / f"{NO_UTF8}-bad.jsonl"
    bad.write_text("<html>")
    good, gone = write(tmp_path / "good.jsonl"), tmp_path / f"{NO_UTF8}-gone.jsonl"
    known = ReportIndex(tmp_path / "index")
    for _ in range(2):
        asked = known.ask([odd, bad, good, gone])
        assert sorted(one.source for one in asked.digests) == [r"caf\xe9.jsonl", "good.jsonl"]
        assert len(asked.complaints) == 2
        assert all(r"caf\xe9-" in line for line in asked.complaints)
        "\n".join(asked.complaints).encode()
    assert sorted(reads) == sorted([odd.name, bad.name] * 2 + ["good.jsonl"])


def test_a_folder_whose_name_is_no_text_costs_what_is_known_of_others_nothing(tmp_path, reads):
    folder = tmp_path / NO_UTF8
    odd_place(lambda path: path.mkdir(), folder)
    odd, good = write(folder / "odd.jsonl"), write(tmp_path / "good.jsonl")
    known = ReportIndex(tmp_path / "index")
    for _ in range(2):
        assert len(known.ask([odd, good]).digests) == 2
    assert sorted(reads) == ["good.jsonl", "odd.jsonl", "odd.jsonl"]


def test_a_time_that_sqlite_cannot_hold_costs_that_files_place_alone(tmp_path, reads):
    late, good = write(tmp_path / "late.jsonl"), write(tmp_path / "good.jsonl")
    odd_place(lambda path: os.utime(path, ns=(10**19, 10**19)), late)
    if late.stat().st_mtime_ns < 2**63:
        pytest.skip("this file system holds no time after the year 2262")
    known = ReportIndex(tmp_path / "index")
    for _ in range(2):
        assert len(known.ask([late, good]).digests) == 2
    assert sorted(reads) == ["good.jsonl", "late.jsonl", "late.jsonl"]


def test_of_a_report_that_cannot_be_kept_whole_nothing_is_kept(tmp_path, reads, monkeypatch):
    real = index.digest_of

    def spoilt(report):
        found = real(report)
        if report.source != "odd.jsonl":
            return found
        return found._replace(cells=(found.cells[0], found.cells[1]._replace(median_s=0.0)))

    monkeypatch.setattr(index, "digest_of", spoilt)
    odd, good = write(tmp_path / "odd.jsonl"), write(tmp_path / "good.jsonl")
    known = ReportIndex(tmp_path / "index")
    for _ in range(2):
        assert [len(one.cells) for one in known.ask([odd, good]).digests] == [2, 2]
    assert sorted(reads) == ["good.jsonl", "odd.jsonl", "odd.jsonl"]


def test_hostile_reports_are_answered_or_complained_of_and_kept_as_they_are(tmp_path, reads):
    rng, sound = random.Random(3), [lines_of(report) for report in originals()]
    paths = [tmp_path / f"{number}.jsonl" for number in range(120)]
    for path in paths:
        path.write_bytes(hostile_file(sound, rng))
    known = ReportIndex(tmp_path / "index")
    first, second = known.ask(paths), known.ask(paths)
    assert len(first.digests) + len(first.complaints) == len(paths)
    assert min(len(first.digests), len(first.complaints)) > 20
    assert sorted(first.complaints) == sorted(second.complaints)
    assert sorted(map(repr, first.digests)) == sorted(map(repr, second.digests))


def test_memory_that_spilled_is_kept_as_the_tables_of_the_report_have_it():
    """A card that swaps to the host is full, and slower than the line of its steps."""
    walls = {10: 1.0, 20: 2.0, 30: 3.0, 40: 12.0}
    cells = [
        make_cell(wall_s=(wall_s,) * 3, steps=steps, nvml_used_mib=12_000.0)
        for steps, wall_s in walls.items()
    ]
    report = make_report(*cells, gpu=GPU)

    told = [row["fit"] for row in to_rows([report])]
    assert told == ["tight", "tight", "tight", "spilled"]
    assert [cell.memory_fit for cell in digest_of(report).cells] == told


@pytest.mark.parametrize("damage", ["DROP TABLE failed", "ALTER TABLE cell DROP COLUMN peak_mib"])
def test_an_index_that_lacks_a_part_of_itself_is_made_again(tmp_path, damage, reads):
    path, file = write(tmp_path / "a.jsonl"), tmp_path / "index"
    ReportIndex(file).ask([path])
    with contextlib.closing(sqlite3.connect(file)) as connection, connection:
        connection.execute(damage)

    for _ in range(2):
        assert len(ReportIndex(file).ask([path]).digests) == 1
    assert reads == ["a.jsonl"] * 2  # at first, and once more
