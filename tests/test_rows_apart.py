"""Cells that differ in one setting alone have rows and names that differ in every table."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest
from fakes import make_cell, make_header, make_report, make_trace

from diffusion_bench.bench.progress import Progress
from diffusion_bench.charts.page import to_html
from diffusion_bench.charts.roofline import roofline_numbers
from diffusion_bench.cli import main
from diffusion_bench.cli.sweeps import describe
from diffusion_bench.records import Speed
from diffusion_bench.reports.doctor import examine_report
from diffusion_bench.reports.export import to_csv
from diffusion_bench.reports.labels import name_request
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.overall import overall
from diffusion_bench.reports.schema import Cell
from diffusion_bench.reports.store import to_line
from diffusion_bench.ui.figures import CELL_HEADERS, cell_table
from diffusion_bench.ui.reading import trace_choices

# Each with the words that tell its second cell.
SETTINGS: dict[str, tuple[dict[str, Any], str]] = {
    "speed": ({"speed": Speed(packed=True)}, "packed"),
    "precision": ({"precision": "bf16"}, "bf16"),
    "guidance": ({"guidance_scale": 7.5}, "7.5"),
    "seed": ({"seed": 41}, "41"),
    "model": ({"model": "sd15"}, "sd15"),
    "other settings": ({"negative_prompt": "fog"}, "fog"),
}
CAN_ALONE = ("speed", "precision", "guidance", "seed")  # told of a request without another beside

pytestmark = pytest.mark.parametrize("setting", SETTINGS)


def two_cells(setting: str, **fields: Any) -> list[Cell]:
    """Return cells of the same figures and order that differ in a setting."""
    walls = (1.0, 1.1, 0.9, 1.0, 1.05)
    return [make_cell(wall_s=walls, **fields, **more) for more in ({}, SETTINGS[setting][0])]


APART = [False, True]  # two lines, of which the second alone tells it


def telling(lines: list[str], setting: str) -> list[bool]:
    """Return of each line whether it tells the value of the setting that the second cell has."""
    return [SETTINGS[setting][1] in line for line in lines]


def rows_of(markdown: str) -> list[str]:
    return [line for line in markdown.splitlines() if "| ddim |" in line]


def test_the_rows_of_every_export_differ_and_settings_that_do_not_vary_have_no_column(setting):
    report = make_report(*two_cells(setting))
    markdown = to_markdown([report])
    assert telling(rows_of(markdown), setting) == APART
    heads = next(line for line in markdown.splitlines() if line.startswith("| model |"))
    for name in SETTINGS.keys() - {setting, "model"}:
        assert f"| {name} |" not in heads
    rows = list(csv.DictReader(io.StringIO(to_csv([report]))))
    assert telling([str({**row, "cell_id": ""}) for row in rows], setting) == APART
    table = cell_table([report])
    assert telling([" ".join(row) for row in table["data"]], setting) == APART
    assert set(table["headers"]) - set(CELL_HEADERS) == {setting}


def test_compare_prints_rows_that_differ(setting, tmp_path: Path, capsys):
    cells = two_cells(setting)
    head = to_line(make_header(cells=[cell.request for cell in cells]))
    for name in ("a.jsonl", "b.jsonl"):
        (tmp_path / name).write_bytes(head + b"".join(map(to_line, cells)))
    with pytest.raises(SystemExit):
        main(["compare", str(tmp_path / "a.jsonl"), str(tmp_path / "b.jsonl")])
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("│")]
    rows = [line for line in lines if "ddim" in line]
    assert len(rows) == 6
    for place in (0, 2, 4):  # of the first report, of the second, of both beside each other
        assert telling(rows[place : place + 2], setting) == APART


def test_rows_of_a_comparison_differ_in_each_of_its_tables(setting):
    old, new = (make_report(*two_cells(setting), source=name) for name in ("a", "b"))
    _, _, compared = to_markdown([old, new]).partition("## Comparison")
    assert telling(rows_of(compared), setting) == APART
    _, _, page = to_html([old, new]).partition("<summary>Table</summary>")
    assert (
        telling(
            [row for row in page.partition("</table>")[0].split("\n") if "ddim" in row], setting
        )
        == APART
    )


def test_the_fastest_and_the_slowest_cell_of_a_comparison_are_named_apart(setting):
    cells = two_cells(setting)
    slow = cells[1].model_copy(
        update={"samples": tuple(s.model_copy(update={"wall_s": 9.0}) for s in cells[1].samples)}
    )
    (whole,) = overall([make_report(*cells), make_report(cells[0], slow)])
    assert telling([whole.best_name, whole.worst_name], setting) == APART
    assert whole.worst_name in whole.words()[1]


def test_what_the_doctor_finds_is_named_apart(setting):
    cells = two_cells(setting)
    details = []
    for wrong in range(2):
        own = [
            cell.model_copy(update={"samples": ()}) if place == wrong else cell
            for place, cell in enumerate(cells)
        ]
        found = examine_report(make_report(*own))
        details += [finding.detail for finding in found if "without a sample" in finding.detail]
    assert telling(details, setting) == APART


def test_points_of_the_roofline_and_traces_to_choose_are_named_apart(setting):
    report = make_report(*two_cells(setting, trace=make_trace()))
    assert telling([point.name for point in roofline_numbers([report])], setting) == APART
    assert telling([name for name, _ in trace_choices((report,))], setting) == APART


def test_what_a_run_is_at_is_told_apart(setting):
    cells = two_cells(setting)
    if setting in CAN_ALONE:
        told = [
            describe(Progress(kind="heartbeat", num_cells=2, num_done=0, request=cell.request))
            for cell in cells
        ]
        assert telling(told, setting) == APART
    else:
        assert name_request(cells[0].request) == name_request(cells[1].request)


def test_reports_that_differ_in_a_setting_show_it_in_each_of_their_tables(setting):
    reports = [
        make_report(cell, source=name) for cell, name in zip(two_cells(setting), "ab", strict=True)
    ]
    assert telling(rows_of(to_markdown(reports).partition("## Comparison")[0]), setting) == APART
