from __future__ import annotations

import gc
import os
import weakref
from concurrent.futures import ThreadPoolExecutor

import pytest
from fakes import make_cell, make_header

from diffusion_bench.records import ImageRequest
from diffusion_bench.reports.index import ReportIndex
from diffusion_bench.reports.store import ReportWriter
from diffusion_bench.ui.outbox import KEEP_S, Outbox
from diffusion_bench.ui.report_files import (
    MAX_LISTED,
    REMEMBERED,
    ReportFolder,
    open_reports,
    read_cached,
)


def write_report(folder, name, *cells, planned=None):
    folder.mkdir(exist_ok=True)
    header = make_header(cells=planned or [cell.request for cell in cells])
    with ReportWriter.create(folder / name, header) as writer:
        for cell in cells:
            writer.append(cell)
    return folder / name


def test_names_are_newest_first_and_only_reports(tmp_path):
    for age, name in enumerate(("a.jsonl", "b.jsonl", "c.jsonl")):
        path = write_report(tmp_path, name, make_cell())
        os.utime(path, (1000 + age, 1000 + age))
    (tmp_path / "notes.txt").write_text("x")

    assert ReportFolder(tmp_path).names() == ["c.jsonl", "b.jsonl", "a.jsonl"]


def test_a_name_that_a_browser_cannot_show_is_not_offered(tmp_path):
    write_report(tmp_path, "a.jsonl", make_cell())
    try:
        write_report(tmp_path, os.fsdecode(b"caf\xe9.jsonl"), make_cell())
    except OSError:
        pytest.skip("this file system takes no such name")

    folder = ReportFolder(tmp_path)

    assert folder.names() == ["a.jsonl"]
    assert len(folder.paths()) == 2  # to be learnt from
    assert len(folder.measured_with("Test CPU")) == 1


def test_a_folder_that_is_not_there_has_no_reports(tmp_path):
    assert ReportFolder(tmp_path / "none").names() == []


@pytest.mark.parametrize("name", ["../secret.jsonl", "/etc/passwd", "", "none.jsonl", "."])
def test_a_name_that_is_not_listed_opens_nothing(tmp_path, name):
    write_report(tmp_path, "secret.jsonl", make_cell())
    write_report(tmp_path / "reports", "mine.jsonl", make_cell())

    with pytest.raises(ValueError, match="there is no report"):
        ReportFolder(tmp_path / "reports").path(name)


def test_a_sweeps_name_becomes_a_file_name_and_no_path(tmp_path):
    folder = ReportFolder(tmp_path / "reports")

    paths = [
        folder.new_path(name, "2026-01-02T03:04:05Z")
        for name in ("quick", "../../etc/x y", "..", "ünï")
    ]

    assert [path.name.removesuffix("-20260102T030405Z.jsonl") for path in paths] == [
        "quick",
        "etc-x-y",
        "sweep",
        "n",
    ]
    assert {path.parent for path in paths} == {tmp_path / "reports"}
    assert (tmp_path / "reports").is_dir()


def test_no_two_sweeps_of_one_second_get_one_file(tmp_path):
    folder, utc = ReportFolder(tmp_path), "2026-01-02T03:04:05Z"
    write_report(tmp_path, "quick-20260102T030405Z-2.jsonl", make_cell())  # of another app

    with ThreadPoolExecutor() as visitors:
        paths = list(visitors.map(lambda _: folder.new_path("quick", utc), range(20)))

    assert len(set(paths)) == 20
    names = sorted(path.name for path in paths)
    assert "quick-20260102T030405Z.jsonl" in names
    assert "quick-20260102T030405Z-2.jsonl" not in names
    assert "quick-20260102T030405Z-3.jsonl" in names


def test_unfinished_are_those_that_lack_cells_of_their_plan(tmp_path):
    done, other = make_cell(steps=5), ImageRequest(prompt="a cat", steps=9)
    write_report(tmp_path, "whole.jsonl", done)
    write_report(tmp_path, "half.jsonl", done, planned=[done.request, other])
    (tmp_path / "broken.jsonl").write_text("hello")

    assert ReportFolder(tmp_path).unfinished() == ["half.jsonl"]


def test_an_indexed_report_is_not_read_again_to_be_called_unfinished(tmp_path, monkeypatch):
    done, other = make_cell(steps=5), ImageRequest(prompt="a cat", steps=9)
    path = write_report(tmp_path / "reports", "half.jsonl", done, planned=[done.request, other])
    folder = ReportFolder(tmp_path / "reports", ReportIndex(tmp_path / "index"))
    assert folder.unfinished() == ["half.jsonl"]

    monkeypatch.setattr("diffusion_bench.reports.index.read_report", None)
    assert folder.unfinished() == ["half.jsonl"]
    monkeypatch.undo()

    writer, _ = ReportWriter.resume(path, folder.read("half.jsonl").header)
    with writer:
        writer.append(make_cell(steps=9, prompt="a cat"))
    assert folder.unfinished() == []


def test_estimates_read_the_newest_reports_of_the_same_processor_only(tmp_path):
    cpu = make_header().machine.cpu
    for age in range(REMEMBERED + 3):
        path = write_report(tmp_path, f"{age:03}.jsonl", make_cell())
        os.utime(path, (1000 + age, 1000 + age))

    found = ReportFolder(tmp_path).measured_with(cpu)

    newest = [f"{age:03}.jsonl" for age in reversed(range(3, REMEMBERED + 3))]
    assert [report.source for report in found] == newest
    assert ReportFolder(tmp_path).measured_with(f"not {cpu}") == []


def test_a_list_to_choose_from_is_of_the_newest(tmp_path):
    for age in range(MAX_LISTED + 1):
        path = tmp_path / f"{age}.jsonl"
        path.touch()
        os.utime(path, (1000 + age, 1000 + age))

    listed = ReportFolder(tmp_path).newest()

    assert (len(listed), listed[0]) == (MAX_LISTED, f"{MAX_LISTED}.jsonl")
    assert "0.jsonl" not in listed


def test_a_report_that_grew_is_read_again(tmp_path):
    first, second = make_cell(steps=5), make_cell(steps=9)
    planned = [first.request, second.request]
    path = write_report(tmp_path, "grows.jsonl", first, planned=planned)
    folder = ReportFolder(tmp_path)
    assert len(folder.read("grows.jsonl").cells) == 1

    writer, _ = ReportWriter.resume(path, folder.read("grows.jsonl").header)
    with writer:
        writer.append(second)

    assert len(folder.read("grows.jsonl").cells) == 2


def test_a_bad_report_is_named_and_the_others_open(tmp_path):
    folder = tmp_path / "reports"
    write_report(folder, "good.jsonl", make_cell())
    (folder / "bad.jsonl").write_text("hello")
    upload = write_report(tmp_path / "upload", "mine.jsonl", make_cell())

    opened = open_reports(
        ReportFolder(folder), ["bad.jsonl", "gone.jsonl", "good.jsonl"], [str(upload)]
    )

    assert [report.source for report in opened.reports] == ["good.jsonl", "mine.jsonl"]
    assert "bad.jsonl" in opened.complaints[0]
    assert "gone.jsonl" in opened.complaints[1]


def test_more_reports_than_a_page_can_show_are_refused_before_one_is_read(tmp_path):
    upload = str(write_report(tmp_path / "uploads", "a.jsonl", make_cell()))
    folder = ReportFolder(tmp_path)

    assert len(open_reports(folder, [], [upload] * REMEMBERED).reports) == REMEMBERED
    with pytest.raises(ValueError, match=f"{REMEMBERED + 1} reports; the page opens {REMEMBERED}"):
        open_reports(folder, ["b.jsonl"], [upload] * REMEMBERED)


def test_the_outbox_keeps_the_name_and_drops_what_is_old(tmp_path):
    now_s = 0.0
    outbox = Outbox(tmp_path, clock=lambda: now_s)
    old = outbox.place("../old.csv", "a")
    now_s = 2 * KEEP_S

    new = outbox.place("new.csv", b"b")

    assert os.path.basename(old) == "old.csv"
    assert not os.path.exists(old)
    with open(new, "rb") as file:
        assert file.read() == b"b"


def test_of_a_report_that_grows_only_the_newest_version_is_remembered(tmp_path):
    """A sweep of an evening has hundreds, of which each holds all that were before it."""
    cells = [make_cell(steps=steps) for steps in range(1, 9)]
    planned = [cell.request for cell in cells]
    path = write_report(tmp_path, "grows.jsonl", cells[0], planned=planned)
    writer, _ = ReportWriter.resume(path, read_cached(path).header)
    seen = [weakref.ref(read_cached(path))]
    with writer:
        for cell in cells[1:]:
            writer.append(cell)
            seen.append(weakref.ref(read_cached(path)))

    gc.collect()
    assert [version() is not None for version in seen] == [False] * 7 + [True]
