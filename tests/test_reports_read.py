"""Reports are read strictly: damage is said, hostile files are refused in one line."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import make_cell, make_header, make_report

from diffusion_bench.records import digest
from diffusion_bench.reports import impossible, read
from diffusion_bench.reports.doctor import examine_report
from diffusion_bench.reports.read import UnreadableReport, parse_report, read_report
from diffusion_bench.reports.schema import Fit, ModelFacts
from diffusion_bench.reports.store import ReportWriter, to_line
from diffusion_bench.reports.unfinished import finished_ids

HEADER = to_line(make_header())
CELL = to_line(make_cell())
OTHER = to_line(make_cell(steps=7))

MODELS = b",".join(b'{"name":"%d"}' % number for number in range(1001))
AS_SPEECH = (b'"decoder_s":', b'"voice_encoder_s":0,"prior_s":0,"vocoder_s":')


def changed(line: bytes, **fields: object) -> bytes:
    return json.dumps({**json.loads(line), **fields}).encode() + b"\n"


def test_what_was_written_is_read_back_equal(tmp_path):
    cells = make_cell(), make_cell(steps=7, status="oom", message="no room")
    written = tuple(cell.cell_id for cell in cells)
    report = make_report(*cells).model_copy(update={"written": written})
    lines = to_line(report.header) + b"".join(map(to_line, report.cells))
    path = tmp_path / "report.jsonl"
    path.write_bytes(lines)
    assert read_report(path) == report
    assert parse_report(lines.decode(), "report.jsonl") == report


@pytest.mark.parametrize("torn", [OTHER[:50], OTHER[:-1], b"\0" * 300, OTHER[:50] + b"\n"])
def test_a_torn_last_line_is_cut_and_said(torn):
    report = parse_report(HEADER + CELL + torn, "r.jsonl")
    assert [cell.request.steps for cell in report.cells] == [20]
    assert report.notes == (
        f"the last line was torn by an interruption: {len(torn)} bytes left out",
    )


def test_a_damaged_line_in_the_middle_is_skipped_and_said_by_number():
    report = parse_report(HEADER + CELL[:40] + b"\n" + b"\xff\xfe{\n" + OTHER, "r.jsonl")
    assert [cell.request.steps for cell in report.cells] == [7]
    assert report.notes == (
        "line 2 is damaged and was skipped",
        "line 3 is damaged and was skipped",
    )


def test_of_two_lines_with_one_cell_id_the_last_one_counts():
    again = to_line(make_cell(wall_s=(5.0,)))
    report = parse_report(HEADER + CELL + OTHER + again, "r.jsonl")
    assert [cell.request.steps for cell in report.cells] == [7, 20]
    assert report.cells[1].samples[0].wall_s == 5.0
    assert report.written == tuple(cell.cell_id for cell in report.cells)


def test_cells_are_in_the_plans_order_whichever_line_was_written_last() -> None:
    """In rounds they end at different times, and what failed may be tried again."""
    plan = [make_cell(steps=steps, order=order) for order, steps in enumerate((5, 10, 20))]
    data = HEADER + b"".join(to_line(plan[place]) for place in (2, 0, 1, 0))
    report = parse_report(data, "r.jsonl")
    assert [cell.order for cell in report.cells] == [0, 1, 2]
    assert report.written == tuple(plan[place].cell_id for place in (2, 1, 0))


def test_files_from_windows_editors_are_read():
    text = b"\xef\xbb\xbf" + (HEADER + CELL).replace(b"\n", b"\r\n") + b"\r\n"
    report = parse_report(text, "r.jsonl")
    assert (len(report.cells), report.notes) == (1, ())


def test_what_powershell_made_of_a_report_is_named() -> None:
    """In version 5 its `>` writes UTF-16."""
    with pytest.raises(UnreadableReport, match=r"^r.jsonl: is text in UTF-16; save it as UTF-8$"):
        parse_report((HEADER + CELL).decode().encode("utf-16"), "r.jsonl")


HOSTILE = {
    "huge number": (HEADER + CELL.replace(b'"load_s":null', b'"load_s":1e20'), "above 1e.19"),
    "tiny number": (HEADER + CELL.replace(b'"load_s":null', b'"load_s":1e-300'), "below 1e-40"),
    "huge in header": (changed(HEADER, protocol_version=10**30), "line 1: a number above"),
    "time runs back": (HEADER + CELL.replace(b'"step_s":[', b'"step_s":[-0.1,'), "cannot have"),
    "no window": (
        HEADER
        + changed(CELL, energy={"total_j": 1.0, "window_s": 1e-300, "method": "x", "scope": "gpu"}),
        "energy: a window",
    ),
    "stages of speech": (
        HEADER + CELL.replace(b'"text_encoder_s"', b'"text_s"', 1).replace(*AS_SPEECH, 1),
        "another kind of work",
    ),
    "endless steps": (
        HEADER + CELL.replace(b'"step_s":[', b'"step_s":[' + b"0," * 10_000, 1),
        "more than 10000 steps in one call",
    ),
    "1001 models": (HEADER.replace(b'"models":[', b'"models":[' + MODELS), "line 1: plan.models"),
    "name with a line break": (HEADER + changed(CELL, **{"a\nb\x1b": 1}), r"a\?b\?"),
    "very new": (changed(HEADER, schema_version=10**3000), "report format 1000"),
    "empty": (b"", "empty"),
    "blank": (b"\n \n", "empty"),
    "picture": (b"\x89PNG\r\n\x1a\n" + bytes(100), "not a report"),
    "zeros": (bytes(5000), "not a report"),
    "html": (b"<html></html>\n", "not a report"),
    "json array": (b"[1, 2]\n", "not a report"),
    "torn header": (HEADER[:-20], "first line"),
    "header without newline": (HEADER[:-1], "first line"),
    "damaged header": (HEADER[:60] + b"\n" + CELL, "line 1 is not JSON"),
    "other json": (b'{"a": 1}\n', "kind is not 'header'"),
    "cell first": (CELL, "kind is not 'header'"),
    "newer": (changed(HEADER, schema_version=9, new=1), "report format 9.*up to format 8"),
    "older": (changed(HEADER, schema_version=0), "schema_version"),
    "version is a word": (changed(HEADER, schema_version="1"), "schema_version"),
    "unknown field": (changed(HEADER, surprise=1), "surprise"),
    "second header": (HEADER + HEADER + CELL, "line 2: Input tag"),
    "wrong kind": (HEADER + changed(CELL, kind="step"), "line 2: Input tag"),
    "not an object": (HEADER + b"17\n", "line 2"),
    "null": (HEADER + b"null\n", "line 2"),
    "lax number": (HEADER + changed(CELL, order="0"), "line 2: cell.order"),
    "NaN": (HEADER + changed(CELL, load_s=float("nan")), "line 2: NaN is not a number"),
    "infinity": (HEADER + changed(CELL, load_s=float("-inf")), "line 2: -Infinity"),
    "overflow": (HEADER + CELL.replace(b'"load_s":null', b'"load_s":1e999'), "load_s"),
    "deep": (HEADER + b"[" * 100_000 + b"]" * 100_000 + b"\n", "line 2"),
    "deep header": (b'{"kind":' * 100_000 + b"1" + b"}" * 100_000 + b"\n", "line 1"),
    "5000 digits": (HEADER + b'{"order":' + b"9" * 5000 + b"}\n", "line 2"),
    "4000 digits": (HEADER + changed(CELL, order=10**4000), "line 2: order"),
    "surrogate": (HEADER + changed(CELL, message="\ud800"), "line 2"),
    "forged id": (HEADER + changed(CELL, cell_id="0" * 16), "line 2: cell_id '0000"),
    "forged time": (HEADER + CELL.replace(b'"wall_s":1.0', b'"wall_s":1e-300'), "cannot have"),
    "endless time": (HEADER + CELL.replace(b'"wall_s":1.0', b'"wall_s":1e300'), "cannot have"),
}


@pytest.mark.parametrize(("data", "says"), HOSTILE.values(), ids=HOSTILE)
def test_a_hostile_file_is_refused_in_one_line_that_names_it(data, says):
    with pytest.raises(UnreadableReport, match=says) as refused:
        parse_report(data, "evil.jsonl")
    message = str(refused.value)
    assert message.startswith("evil.jsonl: ")
    assert "\n" not in message
    assert len(message) < 500


def test_thousands_of_damaged_lines_are_counted_and_not_listed():
    report = parse_report(HEADER + b"{\n" * 5000 + CELL, "r.jsonl")
    assert len(report.notes) == read.MAX_NOTES + 1
    assert report.notes[-1] == "4980 more lines are damaged and were skipped"


def test_a_line_of_many_objects_is_refused_before_one_is_made(monkeypatch):
    """A nest has no commas: 28 MiB of them took more than a gigabyte and half a minute."""
    nest = b'{"":' * 900 + b"1" + b"}" * 900
    line = b"[" + b",".join([nest] * 3) + b"]\n"
    monkeypatch.setattr(read, "MAX_VALUES", 2000)
    monkeypatch.setattr(read, "_is_json", pytest.fail)
    for lines in (HEADER + line, HEADER + line + line):
        with pytest.raises(UnreadableReport, match="line 2: more than 2000 values"):
            parse_report(lines, "evil.jsonl")


def test_a_line_with_thousands_of_mistakes_is_one_short_complaint():
    line = CELL.replace(b'"step_s":[', b'"step_s":[' + b"[]," * 5000, 1)
    with pytest.raises(UnreadableReport, match="5000 values in it are none"):
        parse_report(HEADER + line, "r.jsonl")


@pytest.mark.parametrize(
    ("sound", "crafted"),
    [
        (b'"cores_logical":4', b'"cores_logical":9500000000000000000'),
        (b'"cores_logical":4', b'"cores_logical":0'),
        (b'"cores_physical":2', b'"cores_physical":-1'),
        (b'"index":0', b'"index":9223372036854775808'),
    ],
)
def test_a_number_of_cores_or_cards_that_no_machine_has_is_refused(sound, crafted):
    head = to_line(make_header(gpu="NVIDIA L4"))
    assert parse_report(head, "a").header.machine.gpus
    assert sound in head
    field = sound.partition(b":")[0].strip(b'"').decode()
    with pytest.raises(UnreadableReport, match=f"line 1: machine.*{field}"):
        parse_report(head.replace(sound, crafted), "a")


def test_text_with_lone_surrogates_is_refused_and_does_not_crash():
    with pytest.raises(UnreadableReport):
        parse_report("\ud800" + HEADER.decode(), "r.jsonl")


def test_a_missing_file_a_folder_and_a_pipe_are_refused(tmp_path):
    with pytest.raises(UnreadableReport, match=r"none\.jsonl: no such file"):
        read_report(tmp_path / "none.jsonl")
    with pytest.raises(UnreadableReport, match="is a folder"):
        read_report(tmp_path)
    with pytest.raises(UnreadableReport, match="cannot be read"):
        read_report("bad\0name")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe")  # opening it would wait for ever
        with pytest.raises(UnreadableReport, match="pipe"):
            read_report(tmp_path / "pipe")


def test_too_many_bytes_lines_and_samples_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "r.jsonl"
    path.write_bytes(HEADER + CELL + OTHER)
    monkeypatch.setattr(read, "MAX_LINES", 3)
    with pytest.raises(UnreadableReport, match="more than 3 lines"):
        read_report(path)
    monkeypatch.setattr(impossible, "MAX_SAMPLES", 2)
    with pytest.raises(UnreadableReport, match="more than 2 samples"):
        parse_report(HEADER + CELL, "r.jsonl")
    monkeypatch.setattr(read, "MAX_LINE_BYTES", len(HEADER + CELL) // 2)
    with pytest.raises(UnreadableReport, match=r"line \d: longer than"):
        parse_report(HEADER + CELL, "r.jsonl")
    monkeypatch.setattr(read, "MAX_REPORT_BYTES", len(HEADER))
    with pytest.raises(UnreadableReport, match="larger than"):
        read_report(path)


def test_reports_import_without_anything_heavy():
    code = (
        "import sys\n"
        "from diffusion_bench.reports import compare, export, labels, read, stats, store\n"
        "heavy = {'torch', 'gradio', 'diffusers', 'plotly', 'pandas'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"


def test_a_report_of_format_1_is_still_read_with_every_figure() -> None:
    path = Path(__file__).parent / "data" / "report_format_1.jsonl"
    raw = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    report = read_report(path)
    assert raw[0]["schema_version"] == 1
    assert report.header.protocol_version == 1
    assert not report.notes
    assert [cell.cell_id for cell in report.cells] == [line["cell_id"] for line in raw[1:]]
    for cell, line in zip(report.cells, raw[1:], strict=True):
        assert [sample.wall_s for sample in cell.samples] == [s["wall_s"] for s in line["samples"]]
        assert cell.memory.rss_mib == line["memory"]["rss_mib"]
        assert (cell.extrapolation, cell.stop_reason, cell.before) == (None, None, None)


# Written by the versions of their time: `3_later` when requests had got more fields.
FORMATS = ["2", "3", "3_later", "4", "5", "6", "7"]


@pytest.mark.parametrize("name", FORMATS)
def test_a_report_of_every_format_with_a_models_revision_is_read_and_gone_on_with(name, tmp_path):
    """The revision is part of a cell's name, which no version may compute otherwise."""
    path = Path(__file__).parent / "data" / f"report_format_{name}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    raw = [json.loads(line) for line in lines]
    assert raw[0]["schema_version"] == int(name[0])
    assert raw[0]["plan"]["models"][0]["revision"]
    report = read_report(path)
    assert (report.header.schema_version, report.notes) == (8, ())
    measured = [line for line in raw if line["kind"] == "cell"]
    figures = [[sample["wall_s"] for sample in line["samples"]] for line in measured]
    assert [[sample.wall_s for sample in cell.samples] for cell in report.cells] == figures
    assert finished_ids(report) == set(report.header.planned_ids())
    assert [found.level for found in examine_report(report)] == ["ok"]
    copy = tmp_path / path.name
    copy.write_bytes(path.read_bytes())
    writer, before = ReportWriter.resume(copy, report.header)
    with writer:
        again = before.cells[0].model_copy(update={"load_s": 7.0})
        writer.append(again)
    assert {cell.cell_id: cell.load_s for cell in read_report(copy).cells}[again.cell_id] == 7.0
    assert len(read_report(copy).cells) == len(report.cells)


@pytest.mark.parametrize("name", FORMATS)
def test_a_request_that_was_changed_in_an_older_report_is_found(name):
    path = Path(__file__).parent / "data" / f"report_format_{name}.jsonl"
    lines = path.read_bytes().splitlines(keepends=True)
    changed_line = lines[1].replace(b'"steps":20', b'"steps":21')
    assert changed_line != lines[1]
    with pytest.raises(UnreadableReport, match="the line was changed after it was measured"):
        parse_report(lines[0] + changed_line, "r.jsonl")


def test_a_line_of_steps_keeps_its_cells_when_they_are_read_under_todays_name():
    request = make_cell().request
    facts = ModelFacts(name=request.model, revision="one")
    header = make_header(cells=[request])
    header = header.model_copy(update={"plan": header.plan.model_copy(update={"models": (facts,)})})
    old = digest({"request": request.model_dump(mode="json"), "revision": "one"})
    cell = make_cell().model_copy(update={"cell_id": old})
    fit = Fit(shape="s", fixed_s=1.0, per_step_s=1.0, worst_residual=0.5, points=3, off_line=(old,))
    report = parse_report(b"".join(map(to_line, (header, cell, fit))), "r.jsonl")
    assert report.cells[0].cell_id == header.cell_id(request) != old
    assert report.fits[0].off_line == (header.cell_id(request),)


def test_a_report_of_format_2_reads_as_one_of_the_newest(tmp_path):
    """Format 3 only added speech: a header that says 2 is the same report."""
    path = tmp_path / "two.jsonl"
    path.write_bytes(changed(HEADER, schema_version=2) + CELL)
    report = read_report(path)
    assert report.header.schema_version == 8
    assert len(report.cells) == 1
