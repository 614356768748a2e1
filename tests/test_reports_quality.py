"""Quality in a report: read back, in every export, in words with intervals, hostile or absent."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from fakes import make_cell, make_quality, make_report, make_spoken_cell, make_voice_quality
from pydantic import ValidationError

from diffusion_bench.charts.page import to_html
from diffusion_bench.records import Estimate, Quality, QualityPlan, Share, VoiceQualityPlan
from diffusion_bench.reports.export import to_csv, to_rows
from diffusion_bench.reports.intervals import wilson_interval
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.quality import in_words
from diffusion_bench.reports.read import UnreadableReport, parse_report
from diffusion_bench.reports.store import to_line
from diffusion_bench.ui.figures import CELL_HEADERS, cell_table

WORDS = (
    "objects 90% (83 to 94, n 100); background 100% (96 to 100, n 100); relation 50% (34 to 66, "
    "n 34); Frechet 12.5 (11 to 14, n 100); caption score 0.8 (0.7 to 0.9, n 100)"
)


def report_with(quality: Quality | None):
    return make_report(make_cell().model_copy(update={"quality": quality}), make_cell(steps=9))


@pytest.mark.parametrize(
    ("right", "n", "low", "high"),
    [  # worked out from Wilson's formula by hand with z = 1.96
        (90, 100, 0.8256, 0.9448),
        (0, 10, 0.0, 0.2775),
        (10, 10, 0.7225, 1.0),
        (1, 1, 0.2065, 1.0),
    ],
)
def test_wilsons_interval(right: int, n: int, low: float, high: float) -> None:
    found = wilson_interval(right, n)
    assert (found.low, found.high) == (pytest.approx(low, abs=1e-4), pytest.approx(high, abs=1e-4))


def test_quality_comes_back_from_the_file_as_it_was_written() -> None:
    report = report_with(make_quality())
    lines = b"".join(to_line(each) for each in (report.header, *report.cells))
    assert parse_report(lines, "a").cells == report.cells


def test_every_export_says_each_figure_with_its_interval_and_number() -> None:
    report = report_with(make_quality())
    assert in_words(make_quality()) == WORDS
    first, second = csv.DictReader(io.StringIO(to_csv([report])))
    assert first["quality"] == WORDS
    assert (first["quality_objects"], first["quality_objects_n"]) == ("0.9", "100")
    assert float(first["quality_objects_low"]) == pytest.approx(0.8256, abs=1e-4)
    assert first["quality_scorer_digest"] == "sha256:00"
    assert first["quality_missing"] == "count: nothing to count; diversity: one of each"
    assert first["quality_count"] == second["quality"] == ""
    assert "objects 90% (83 to 94, n 100)" in to_markdown([report])
    assert "objects 90% (83 to 94, n 100)" in to_html([report])
    table = cell_table([report])
    assert table["headers"][-1] == "quality"
    assert [row[-1] for row in table["data"]] == [WORDS, ""]


def test_quality_of_speech_comes_back_and_is_in_every_export_with_its_units() -> None:
    quality = make_voice_quality(seeds_apart_db=None, missing={"seeds_apart_db": "no two seeds"})
    cell = make_spoken_cell().model_copy(update={"quality": quality})
    report = make_report(cell)
    plan = report.header.plan.model_copy(update={"quality": VoiceQualityPlan(against_steps=100)})
    report = report.model_copy(update={"header": report.header.model_copy(update={"plan": plan})})
    again = parse_report(b"".join(to_line(each) for each in (report.header, *report.cells)), "a")
    assert (again.header, again.cells) == (report.header, report.cells)
    words = (
        "without a warning 88% (53 to 98, n 8); timbre similarity 0.8 (0.1 to 0.9, n 8); pitch "
        "error 0.25 semitones (0.1 to 0.9, n 8); mel distance from 100 steps 0.5 dB (0.1 to 0.9, "
        "n 8)"
    )
    assert in_words(quality) == words
    (row,) = csv.DictReader(io.StringIO(to_csv([report])))
    assert (row["quality"], row["quality_mel_distance_db"]) == (words, "0.5")
    assert (row["quality_candidates"], row["quality_scorer"]) == ("8", "")
    assert row["quality_missing"] == "seeds_apart_db: no two seeds"
    assert words in to_markdown([report])
    assert words in cell_table([report])["data"][0]


def test_a_report_without_quality_has_no_column_of_it() -> None:
    report = report_with(None)
    assert cell_table([report])["headers"] == CELL_HEADERS
    assert "quality" not in to_markdown([report])
    assert "Quality against time" not in to_html([report])
    assert to_rows([report])[0]["quality"] is None


@pytest.mark.parametrize(
    "spoil",
    [
        {"objects": {"right": 11, "n": 10}},
        {"objects": {"right": 0, "n": 0}},
        {"frechet": {"value": 1.0, "low": 3.0, "high": 2.0, "n": 5}},
        {"frechet": {"value": 1e300, "low": 0, "high": 1e300, "n": 5}},
        {"pictures": 10**9},
        {"scorer": "x" * 999},
        {"surprise": 1},
    ],
)
def test_quality_that_cannot_be_is_refused_in_one_line(spoil: dict[str, object]) -> None:
    report = report_with(make_quality())
    raw = json.loads(to_line(report.cells[0]))
    raw["quality"] |= spoil
    header = to_line(report.header)
    line = json.dumps(raw).encode() + b"\n"
    with pytest.raises(UnreadableReport) as refused:
        parse_report(header + line + to_line(report.cells[1]), "a")
    assert "quality" in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_cell_of_quality_that_was_written_by_hand_does_not_run_in_a_spreadsheet() -> None:
    hostile = make_quality().model_copy(update={"scorer": "=1+1", "reference": "+A1"})
    (first, _) = csv.DictReader(io.StringIO(to_csv([report_with(hostile)])))
    assert first["quality_scorer"] == "'=1+1"
    assert first["quality_reference"] == "'+A1"


@pytest.mark.parametrize("values", [{"right": 3, "n": 2}, {"right": -1, "n": 2}])
def test_a_share_is_of_what_there_is(values: dict[str, int]) -> None:
    with pytest.raises(ValidationError):
        Share(**values)


def test_an_interval_holds_together_and_two_pictures_are_the_least() -> None:
    with pytest.raises(ValidationError, match="an interval from 2 to 1"):
        Estimate(value=1.0, low=2.0, high=1.0, n=3)
    with pytest.raises(ValidationError):
        QualityPlan(pictures=1)


def test_old_reports_have_no_quality() -> None:
    for path in sorted((Path(__file__).parent / "data").glob("*.jsonl")):
        report = parse_report(path.read_bytes(), path.name)
        assert report.header.schema_version == 8
        assert all(cell.quality is None for cell in report.cells)
