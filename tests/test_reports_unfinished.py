from __future__ import annotations

from fakes import make_header, make_report
from test_reports_doctor import measured_cell

from diffusion_bench.charts.page import to_html
from diffusion_bench.reports.export import describe
from diffusion_bench.reports.markdown import to_markdown
from diffusion_bench.reports.schema import Report
from diffusion_bench.reports.unfinished import unfinished_words


def begun() -> Report:
    cells = [measured_cell(10), measured_cell(20, 1, stop_reason=None)]
    header = make_header(cells=[*(cell.request for cell in cells), measured_cell(40).request])
    return Report(header=header, cells=tuple(cells))


def test_a_report_that_was_begun_says_everywhere_what_it_lacks():
    words = "unfinished: 1 of 3 planned cells are absent and 1 of 2 cells have calls still to come"

    assert unfinished_words(begun()) == words
    assert describe(begun()).endswith(words)
    assert words in to_markdown([begun()])
    assert words in to_html([begun()])


def test_a_finished_report_says_nothing_of_it():
    finished = make_report(measured_cell(10))

    assert unfinished_words(finished) == ""
    assert "unfinished" not in describe(finished)
    assert not describe(finished).endswith(", ")
