from __future__ import annotations

from pathlib import Path

import pytest
from fakes import make_cell, make_header, make_quality, make_report, make_sweep_cells, make_trace

from diffusion_bench.hardware.machine import MachineInfo
from diffusion_bench.records import DevicesPlan, ImageRequest
from diffusion_bench.reports.schema import DeviceJob, Limit, SharedCell
from diffusion_bench.reports.store import ReportWriter
from diffusion_bench.ui.figures import TITLES, cell_table
from diffusion_bench.ui.outbox import Outbox
from diffusion_bench.ui.reading import NOTHING, Reading, trace_choices
from diffusion_bench.ui.report_files import ReportFolder


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "reports"
    folder.mkdir()
    for name, speed in (("slow.jsonl", 1.0), ("fast.jsonl", 2.0)):
        cells = make_sweep_cells(speed=speed)
        with ReportWriter.create(folder / name, make_header(cells=[c.request for c in cells])) as w:
            for cell in cells:
                w.append(cell)
    return folder


@pytest.fixture
def reading(folder, tmp_path):
    outbox = tmp_path / "outbox"
    outbox.mkdir()
    return Reading(ReportFolder(folder), Outbox(outbox))


def test_every_chart_has_traces_and_a_table_with_the_same_series(reading):
    shown = reading.show(["slow.jsonl"], None)

    assert len(shown.charts) == len(TITLES)
    for chart in shown.charts:
        assert len(chart.figure.data) > 0
        assert len(chart.table["data"]) > 0
        assert all(len(row) == len(chart.table["headers"]) for row in chart.table["data"])


def test_two_reports_are_told_apart_in_words_and_charts(reading):
    shown = reading.show(["slow.jsonl", "fast.jsonl"], [])

    assert "slow.jsonl" in shown.words
    assert "fast.jsonl" in shown.words
    series = {row[0] for row in shown.charts[0].table["data"]}
    assert any("slow.jsonl" in name for name in series)
    assert any("fast.jsonl" in name for name in series)


def test_a_cells_trace_can_be_picked_and_a_made_up_one_cannot(reading):
    key = reading.show(["slow.jsonl"], None).traces[0][1]

    verdict, chart = reading.trace(["slow.jsonl"], None, key)

    assert verdict.startswith(("compute-bound: a step reached", "cannot tell: a step reached"))
    assert len(chart.figure.data) >= 2
    with pytest.raises(ValueError, match="none of the open reports"):
        reading.trace(["slow.jsonl"], None, "0:/etc/passwd")


def test_exports_are_the_three_formats_under_the_reports_name(reading):
    csv, markdown, html = (Path(path) for path in reading.export(["slow.jsonl"], None))

    assert (csv.name, markdown.name, html.name) == ("slow.csv", "slow.md", "slow.html")
    assert "median_s" in csv.read_text()
    assert "| sampler |" in markdown.read_text()
    assert "<html" in html.read_text()


def test_damage_is_said_and_a_report_that_is_none_stops_no_other(reading, folder, tmp_path):
    with (folder / "slow.jsonl").open("a") as file:
        file.write('{"kind": "cell", "torn')
    upload = tmp_path / "upload.jsonl"
    upload.write_text("<script>alert(1)</script>")

    shown = reading.show(["slow.jsonl"], [str(upload)])

    assert "Note: the last line was torn" in shown.words
    assert "Not opened: upload.jsonl" in shown.words
    assert shown.charts[0].figure.data


def test_with_nothing_chosen_no_chart_speaks_of_cells(reading):
    words = {chart.figure.layout.annotations[0].text for chart in reading.show([], []).charts}
    assert words == {"No report is open."}


def test_with_nothing_chosen_the_page_says_what_to_do(reading):
    shown = reading.show(None, None)

    assert shown.words == NOTHING
    assert reading.export([], []) == ()


def test_room_for_charts_is_there_once_a_report_is_open(reading, folder):
    (folder / "broken.jsonl").write_text("no report")
    opened = [
        reading.show(names, None).is_open for names in (None, ["broken.jsonl"], ["slow.jsonl"])
    ]
    assert opened == [False, False, True]


def test_who_has_no_report_opens_the_one_that_comes_with_the_source(reading):
    assert reading.example_file is not None

    shown = reading.show(None, reading.example())

    assert "54 of 54 cells measured" in shown.words
    assert "imported, unverified" in shown.words  # it is none of this machine's
    assert {"ddim", "ddpm"} <= {row[0].split(",")[0] for row in shown.charts[0].table["data"]}
    assert shown.traces


def test_a_failed_cell_is_a_row_with_its_message_and_no_figures():
    failed = make_cell(status="oom", message="out of memory", trace=make_trace(1))

    (row,) = cell_table([make_report(failed)])["data"]

    assert row[4:7] == ["oom", "", ""]
    assert row[-1] == "out of memory"


def test_two_reports_have_a_verdict_and_what_the_doctor_found(reading):
    words = reading.show(["slow.jsonl", "fast.jsonl"], []).words

    assert "fast.jsonl against slow.jsonl: faster" in words
    assert "Doctor: " in words


def here(**changes: object) -> MachineInfo:
    machine = make_header().machine
    seen = {name: getattr(machine, name) for name in MachineInfo.model_fields if name != "gpus"}
    return MachineInfo(**{**seen, **changes})


@pytest.mark.parametrize(
    ("changes", "foreign"),
    [({}, False), ({"os": "newer"}, False), ({"cpu": "Other"}, True), ({"ram_mib": 8e3}, True)],
)
def test_a_report_of_another_machine_is_marked_as_imported(folder, tmp_path, changes, foreign):
    reading = Reading(ReportFolder(folder), Outbox(tmp_path), lambda: here(**changes))

    words = reading.show(["slow.jsonl"], None).words

    assert words.startswith("slow.jsonl (imported, unverified)" if foreign else "slow.jsonl\n")


def test_an_upload_is_imported_even_from_this_machine(folder, tmp_path):
    reading = Reading(ReportFolder(folder), Outbox(tmp_path), here)

    words = reading.show(None, [str(folder / "slow.jsonl")]).words

    assert words.startswith("slow.jsonl (imported, unverified)")


def test_a_search_for_a_limit_is_told_and_had_no_plan(reading, folder):
    cell = make_cell()
    limit = Limit(axis="batch", request=cell.request, largest_fit=8, smallest_misfit=9)
    with ReportWriter.create(folder / "limit.jsonl", make_header()) as writer:
        writer.append(cell)
        writer.append(limit)

    words = reading.show(["limit.jsonl"], None).words

    assert "  1 cells measured\n" in words
    assert "the largest batch that fits is 8 (9 does not fit)" in words


def test_reports_of_several_devices_are_compared_in_words(reading, folder):
    request = ImageRequest(prompt="a cat")
    head = make_header(cells=[request])
    pair = DevicesPlan(names=("cpu", "cpu"), share=("jobs",))
    head = head.model_copy(update={"plan": head.plan.model_copy(update={"devices": pair})})
    for name, slower in (("two.jsonl", 1), ("later.jsonl", 2)):
        ends = tuple(slower * end_s for end_s in (4.5, 5.0, 5.5, 4.9, 5.1, 5.2))
        shared = SharedCell(
            cell_id=head.shared_id(request, "jobs"),
            request=request,
            share="jobs",
            order=0,
            started_utc="2026-01-02T03:05:00Z",
            status="ok",
            jobs=tuple(
                DeviceJob(
                    device="cpu", status="ok", batch=1, seed=0, begin_s=(0.001,) * 6, end_s=ends
                )
                for _ in range(2)
            ),
        )
        with ReportWriter.create(folder / name, head) as writer:
            writer.append(shared)

    words = reading.show(["two.jsonl", "later.jsonl"], None).words

    assert "later.jsonl against two.jsonl: slower (1 slower)" in words
    assert "jobs on 2, later.jsonl against two.jsonl: slower (2.0" in words
    assert words.count("1 of 1 cells measured\n") == 2


def test_the_cells_have_a_fit_and_the_cost_at_a_tariff(reading):
    table = reading.cells(["slow.jsonl"], None, 0.3)

    heads = {"n", "IQR (s)", "fit", "energy (J/image)", "cost of 1000 images"}
    assert heads <= set(table["headers"])
    assert {row[table["headers"].index("fit")] for row in table["data"]} == {
        "fits",
        "out of memory",
    }


def test_quality_is_shown_where_a_report_has_it_and_hidden_where_none_has(reading, folder):
    assert reading.show(["slow.jsonl"], None).quality is None
    cell = make_cell().model_copy(update={"quality": make_quality()})
    with ReportWriter.create(folder / "judged.jsonl", make_header(cells=[cell.request])) as writer:
        writer.append(cell)

    chart = reading.show(["judged.jsonl"], None).quality

    assert chart is not None
    assert chart.table["data"][0][4] == "12.5"
    assert "Frechet" in chart.figure.layout.yaxis.title.text
    assert reading.cells(["judged.jsonl"], None)["headers"][-1] == "quality"
    (_, _, html) = reading.export(["judged.jsonl"], None)
    assert 'id="chart-quality"' in Path(html).read_text()


def test_the_same_cell_of_another_report_is_another_choice():
    """The page draws a trace anew when the choice changes, not when the reports do."""
    one = make_report(make_cell(trace=make_trace()))
    head = one.header.model_copy(update={"report_id": "44556677"})
    ((name, key),) = trace_choices((one,))
    ((same_name, other_key),) = trace_choices((one.model_copy(update={"header": head}),))
    assert name == same_name
    assert key != other_key
