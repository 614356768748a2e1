"""The HTML page: one file, no network, plotly once, and hostile reports shown as text."""

from __future__ import annotations

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path
from textwrap import dedent

import plotly.graph_objects as go
import pytest
from fakes import make_cell, make_report, make_sweep_cells, make_trace
from playwright.sync_api import expect, sync_playwright

from diffusion_bench.charts import page
from diffusion_bench.charts.page import to_html

ATTACK = '</script><img src="https://evil.example/x" onerror=alert(1)><script>alert(1)</script>'


class Tags(HTMLParser):
    """Every tag of a page with its attributes."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


def test_the_page_holds_plotly_once_and_a_table_for_every_figure():
    page = to_html([make_report(*make_sweep_cells())])
    tags = [tag for tag, _ in Tags(page).found]
    figures = page.count('class="plotly-graph-div"')
    assert figures == 6
    assert tags.count("details") == figures + 1  # and all cells
    assert page.count("plotly.js v") == 1
    assert len(page) < 8_000_000


def test_no_tag_of_the_page_loads_anything():
    page = to_html([make_report(*make_sweep_cells()), make_report(make_cell(), source="b")])
    for tag, attributes in Tags(page).found:
        assert not {"src", "href"} & set(attributes), tag
        assert tag not in ("link", "iframe", "img"), tag


def test_text_of_a_report_is_shown_and_never_run():
    cell = make_cell(
        model=ATTACK, prompt=ATTACK, status="failed", message=ATTACK, trace=make_trace(gpu=ATTACK)
    )
    good = make_cell(model=ATTACK, trace=make_trace(gpu=ATTACK))
    report = make_report(good, cell, source=ATTACK, cpu=ATTACK)
    report = report.model_copy(update={"notes": (ATTACK,)})
    page = to_html([report, make_report(make_cell(), source="b.jsonl")])
    assert "<img" not in page
    assert "<script>alert" not in page
    assert "&lt;img src=" in page


def test_a_page_of_no_reports_and_of_empty_ones_can_be_made():
    assert "No cell" in to_html([])
    assert "No cell" in to_html([make_report()])


@pytest.fixture
def chromium():
    path = shutil.which("chromium")
    if not path:
        pytest.skip("no chromium")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        yield browser
        browser.close()


@pytest.fixture
def exported(tmp_path):
    path = tmp_path / "page.html"
    path.write_text(to_html([make_report(*make_sweep_cells())]), encoding="utf-8")
    return path.as_uri()


@pytest.mark.browser
@pytest.mark.slow
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_draws_with_no_network_on_a_phone(chromium, exported, scheme):
    context = chromium.new_context(
        color_scheme=scheme, viewport={"width": 393, "height": 850}, offline=True
    )
    page = context.new_page()
    asked: list[str] = []
    errors: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.goto(exported)
    expect(page.locator("#chart-latency .scatterlayer .trace")).to_have_count(19)
    expect(page.locator("#chart-memory .bars .point path").first).to_be_visible()
    page.evaluate("document.querySelectorAll('details').forEach(each => each.open = true)")
    wide = page.evaluate("document.documentElement.scrollWidth - innerWidth")
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert errors == []
    assert [url for url in asked if not url.startswith(("file:", "data:", "blob:"))] == []
    assert wide <= 0, "the page scrolls sideways"
    assert colour == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(11, 15, 25)")


@pytest.mark.browser
@pytest.mark.slow
def test_paper_has_the_tables_and_dark_words_whatever_the_screen_shows(chromium, exported):
    page = chromium.new_page(color_scheme="dark", viewport={"width": 720, "height": 900})
    page.goto(exported)
    first, whole = (page.locator("details table").nth(at) for at in (0, -1))
    shown = "one => one.checkVisibility({contentVisibilityAuto: true})"
    assert not first.evaluate(shown)
    page.emulate_media(media="print")
    assert first.evaluate(shown)
    assert not whole.evaluate(shown)  # of all cells, wider than paper
    words = page.locator("#chart-latency svg text").first
    for each in (page.locator("body"), words):
        style = each.evaluate("one => [getComputedStyle(one).fill, getComputedStyle(one).color]")
        assert "rgb(31, 35, 40)" in style
    assert page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0


def test_a_chart_that_is_added_as_its_page_says_is_exported(monkeypatch):
    document = Path(__file__).parents[1] / "docs" / "adding-a-chart.md"
    blocks = re.findall(
        r"^ *```python\n(.*?)^ *```", document.read_text(encoding="utf-8"), re.M | re.S
    )
    (example,) = [block for block in blocks if "Chart(" in block]
    added = eval(
        dedent(example),
        {
            "Chart": page.Chart,
            "CAPTIONS": {"energy": "Joules of each cell."},
            "energy_numbers": lambda reports: [len(report.cells) for report in reports],
            "energy_figure": lambda numbers: go.Figure(go.Bar(y=numbers)),
            "energy_table": lambda numbers: (["cells of it"], [[number] for number in numbers]),
        },
    )
    assert added.name not in [chart.name for chart in page.CHARTS]
    monkeypatch.setattr(page, "CHARTS", (*page.CHARTS, added))
    text = to_html([make_report(make_cell())])
    assert all(words in text for words in (added.title, added.caption, "cells of it"))
    assert added.caption not in to_html([])
