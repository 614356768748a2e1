"""A page of reports in Debian's Chromium: charts of many settings on a desk and on a phone."""

from __future__ import annotations

import pytest
from fakes import make_cell, make_report
from visit import PATIENCE_MS, browser, pytestmark

from diffusion_bench.charts.page import to_html
from diffusion_bench.charts.style import PLOT_PX

__all__ = ["browser", "pytestmark"]

CHARTS = ("latency", "throughput", "memory")  # with legends of the same 18 settings
# In pixels: the plot's height, what lies between its axis and the legend, what of the legend lies
# outside the figure, the bar to scroll it, and what lies between the legend and the table's line.
MEASURE = """(name) => {
  const chart = document.getElementById(`chart-${name}`);
  const box = (selector) => chart.querySelector(selector).getBoundingClientRect();
  const [plot, words, legend] = [box(".nsewdrag"), box(".xtitle"), box(".legend .bg")];
  const entries = [...chart.querySelectorAll(".legend .traces")];
  const last = Math.max(...entries.map((entry) => entry.getBoundingClientRect().bottom));
  const svg = box(".main-svg");
  const behind = (part) => chart.compareDocumentPosition(part) & Node.DOCUMENT_POSITION_FOLLOWING;
  const table = [...document.querySelectorAll("details")].find(behind).getBoundingClientRect();
  return {plot: plot.height, gap: legend.top - words.bottom, outside: last - svg.bottom,
          scroll: box(".legend .scrollbar").height, below: table.top - last};
}"""

SETTLED = f"""(name) => {{
  const chart = document.getElementById(`chart-${{name}}`);
  return chart._fullLayout.width === chart.clientWidth
    && Math.abs(({MEASURE})(name).plot - {PLOT_PX}) < 2;
}}"""


@pytest.fixture
def address(tmp_path):
    """Return the page of two reports, each of nine settings with long names."""
    reports = [
        make_report(
            *(make_cell(steps=2, batch=batch, rss_mib=9.0) for batch in range(1, 10)),
            source=f"measured on the machine under the desk, {name}.jsonl",
        )
        for name in ("before", "after")
    ]
    path = tmp_path / "page.html"
    path.write_text(to_html(reports))
    return path.as_uri()


def test_plots_are_equally_high_and_legends_whole_and_close_by_at_every_width(address, browser):
    page = browser.new_context(viewport={"width": 1280, "height": 900}).new_page()
    errors: list[str] = []
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(address)
    for width in (1280, 390, 1280):  # a window that changes, as a phone that is turned
        page.set_viewport_size({"width": width, "height": 900})
        for name in CHARTS:
            page.wait_for_function(SETTLED, arg=name, timeout=PATIENCE_MS / 3)
            found = page.evaluate(MEASURE, name)
            assert 0 <= found["gap"] < 40, (width, name, found)
            assert found["outside"] <= 0, (width, name, found)
            assert found["scroll"] == 0, (width, name, found)
            assert 0 < found["below"] < 60, (width, name, found)
    assert errors == []
