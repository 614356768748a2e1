"""Exports: a row a cell with its failure, units in headers, and no formula for a spreadsheet."""

from __future__ import annotations

import csv
import io

import pytest
from fakes import NO_GPU, make_cell, make_report

from diffusion_bench.reports.export import to_csv, to_rows
from diffusion_bench.reports.labels import report_labels
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.schema import Extrapolation
from diffusion_bench.ui.figures import cell_table


def read_csv(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def reasons(not_measured: object) -> dict[str, str]:
    """Return the reason of each column, as somebody would split them."""
    parted = [part.split(": ", 1) for part in str(not_measured).split(" | ")]
    return {column: why for columns, why in parted for column in columns.split(", ")}


def test_what_was_not_measured_splits_into_columns_and_a_reason_said_once():
    why = "no counter; virtual machines | containers\nhave none: none at all"
    missing = {"energy_j": why, "energy": why, "compile_s": "nothing to compile"}
    cell = make_cell().model_copy(update={"missing": missing})
    (row,) = read_csv(to_csv([make_report(cell)]))
    found = reasons(row["not_measured"])
    assert found["energy_j"] == "no counter; virtual machines / containers have none: none at all"
    assert found["net_energy_j"] == found["energy_j"]
    assert found["compile_s"] == "nothing to compile"
    assert set(found) <= set(row)
    assert all(row["not_measured"].count(each) == 1 for each in found.values())


def test_every_cell_is_a_row_and_a_failed_one_has_status_message_and_no_figures():
    failed = make_cell(steps=30, status="oom", message="out of memory", rss_mib=None)
    rows = to_rows([make_report(make_cell(wall_s=(2.0,)), failed)])
    assert [(row["status"], row["message"], row["median_s"]) for row in rows] == [
        ("ok", "", 2.0),
        ("oom", "out of memory", None),
    ]
    assert list(rows[0]) == list(rows[1])
    assert {"nvml_used_mib": NO_GPU}.items() <= reasons(rows[0]["not_measured"]).items()
    assert rows[0]["rss_mib"] == 800.0


def test_csv_reads_back_with_units_in_its_header():
    (row,) = read_csv(to_csv([make_report(make_cell(wall_s=(2.0,), prompt='a "cat",\nred'))]))
    assert (row["median_s"], row["rss_mib"]) == ("2.0", "800.0")
    assert row["prompt"] == 'a "cat",\nred'
    assert row["nvml_used_mib"] == ""


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", " =", "\r", "＝"])
def test_no_text_in_csv_is_a_formula(start):
    attack = f"{start}HYPERLINK(1)"
    report = make_report(make_cell(model=attack, prompt=attack), source=attack, cpu=attack)
    (row,) = read_csv(to_csv([report]))
    for field in ("model", "prompt", "report", "device"):
        assert row[field].startswith("'"), field


def test_a_negative_number_stays_a_number():
    cell = make_cell().model_copy(update={"load_s": -1.5})
    assert read_csv(to_csv([make_report(cell)]))[0]["load_s"] == "-1.5"


def test_reports_without_cells_export_as_nothing():
    assert to_csv([make_report()]) == ""
    assert "No cells." in to_markdown([make_report()])


def test_reports_of_several_machines_are_named_by_machine_and_file():
    gpu = make_report(source="b.jsonl", gpu="NVIDIA L4")
    assert report_labels([make_report(source="a.jsonl"), gpu]) == [
        "Test CPU, a.jsonl",
        "NVIDIA L4, b.jsonl",
    ]
    assert report_labels([gpu, gpu]) == ["b.jsonl", "b.jsonl (2)"]
    assert report_labels([gpu]) == [""]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t", "\r"])
def test_no_cell_of_csv_starts_a_formula_wherever_the_text_came_from(start):
    attack = f"{start}cmd|' /C calc'!A0"
    labels = {"stop_reason": None, "missing": {attack: attack}, "started_utc": attack}
    failed = make_cell(model=attack, status="failed", message=attack).model_copy(update=labels)
    report = make_report(failed, make_cell(prompt=attack), source=attack, cpu=attack, torch=attack)
    for row in read_csv(to_csv([report, make_report(make_cell(), source=attack)])):
        for key, text in row.items():
            number = key.endswith(("_s", "_mib", "_j"))
            assert number or not text.lstrip(" ").startswith(("=", "+", "-", "@", "\t", "\r")), key


def test_the_fit_the_warnings_and_the_overall_verdict_are_exported():
    old = make_report(make_cell(wall_s=[1.0 + i / 100 for i in range(6)], rss_mib=15_000.0))
    new = make_report(make_cell(wall_s=[2.0 + i / 100 for i in range(6)]), torch="9.9", source="b")
    first, second = read_csv(to_csv([old, new]))
    assert (first["fit"], second["fit"]) == ("tight", "fits")
    assert first["fit_reason"] == "peak 15000 of 16000 MiB"
    text = to_markdown([old, new])
    assert "slower (1 slower)" in text
    assert "software.torch: 2.11.0 and 9.9" in text
    few = read_csv(to_csv([make_report(make_cell(wall_s=(1.0, 1.01, 1.02)))]))
    assert few[0]["warnings"] == "too few samples for an interval: 3"


def test_the_interval_of_a_median_stands_in_every_table_and_none_where_calls_are_few():
    five = make_report(make_cell(wall_s=(1.0, 1.1, 1.2, 1.3, 1.5)))
    few = make_report(make_cell(wall_s=(1.0, 1.1)))
    for table in (to_markdown([five]), *cell_words(five)):
        assert "interval from (s)" in table
        assert "1.5" in table
    assert "interval from (s)" not in to_markdown([few])
    assert to_rows([few])[0]["interval_low_s"] is None


def cell_words(report):
    table = cell_table([report])
    return [" ".join([*table["headers"], *row]) for row in table["data"]]


def test_a_cell_off_the_line_of_its_steps_is_flagged_and_its_rule_told_where_it_is_extrapolated():
    walls = {10: 0.6, 20: 0.7, 50: 1.0, 100: 4.5}
    cells = [make_cell(steps=steps, wall_s=(wall,)) for steps, wall in walls.items()]
    *on_line, off = to_rows([make_report(*cells)])
    assert "slower than the line of its steps by over 10%" in off["warnings"]
    assert not any("line" in row["warnings"] for row in on_line)
    assert "slower than the line" in to_markdown([make_report(*cells)])
    rule = Extrapolation(measured_steps=10, rule="ten of them")
    long = cells[0].model_copy(update={"extrapolation": rule})
    assert to_rows([make_report(long)])[0]["extrapolation_rule"] == "ten of them"
