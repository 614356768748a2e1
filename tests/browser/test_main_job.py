"""The main job in Debian's Chromium: draw, measure, see the charts, open the report again."""

from __future__ import annotations

import re

from visit import PATIENCE_MS, browser, open_page, pytestmark, reports, sync_api, url, visit

from diffusion_bench.backends.pictures import read_request
from diffusion_bench.records import BUNDLED_SIDE, ImageRequest

__all__ = ["browser", "open_page", "pytestmark", "reports", "url", "visit"]

SWEEP = """name = "browser"
repeats = 2

[axes]
sampler = ["ddim", "ddpm"]
steps = [2, 3]
"""


def draw_a_picture(visit, folder):
    page = visit.page
    page.fill("#t2i-prompt textarea", "a fox on a green background")
    page.fill("#t2i-steps input", "4")
    page.keyboard.press("Control+Enter")
    visit.has_text("#t2i-status", " s on cpu")
    picture = page.locator("#t2i-pictures img").first
    sync_api.expect(picture).to_be_visible()
    shown = picture.evaluate("image => [image.naturalWidth, image.getBoundingClientRect().width]")
    assert shown[0] == BUNDLED_SIDE
    assert shown[1] > 2 * 64
    seed = int(page.locator("#t2i-used-seed textarea").input_value())
    drawn = page.request.get(picture.get_attribute("src"))
    path = folder / "drawn.png"
    path.write_bytes(drawn.body())
    prompt = "a fox on a green background"
    assert read_request(path) == ImageRequest(prompt=prompt, steps=4, seed=seed)


def run_a_sweep(visit, folder):
    page = visit.page
    visit.open("Benchmark")
    visit.has_text("#bench-plan", r"^\d+ cells, ")
    page.fill("#bench-editor textarea", "name = ")
    visit.has_text("#bench-plan", "^Error: .*is no TOML file")
    page.fill("#bench-editor textarea", SWEEP)
    visit.has_text("#bench-plan", "^4 cells, 2 repeats each")
    page.click("#bench-run")
    visit.has_text("#bench-status", "^Done: 4 of 4 cells measured")
    visit.has_lines("#bench-latency")
    visit.has_bars("#bench-throughput")
    visit.has_bars("#bench-memory")
    (report,) = folder.glob("*.jsonl")
    with page.expect_download() as download:
        page.click("#bench-download")
    with open(download.value.path(), "rb") as file:
        assert file.read() == report.read_bytes()
    return report.name


def open_the_report(visit, name):
    page = visit.page
    visit.open("Reports")
    page.click("#reports-chosen input")
    page.get_by_role("option", name=name).click()
    page.keyboard.press("Escape")
    visit.has_text("#reports-words", "4 of 4 cells measured")
    visit.has_lines("#reports-latency")
    visit.has_bars("#reports-memory")
    visit.has_lines("#reports-trace")
    sync_api.expect(page.locator("#reports-html")).to_be_enabled(timeout=PATIENCE_MS)


def look_at_the_hardware(visit):
    visit.open("Hardware")
    visit.has_text("#hardware-card", "CPU: ")
    now = visit.page.locator("#hardware-now")
    sync_api.expect(now).to_contain_text(re.compile(r"CPU\s*\d+\.\d %"), timeout=PATIENCE_MS)
    visit.has_lines("#hardware-plot")


def test_draw_measure_and_read_with_no_network(visit, reports, tmp_path):
    draw_a_picture(visit, tmp_path)
    name = run_a_sweep(visit, reports)
    open_the_report(visit, name)
    look_at_the_hardware(visit)
    assert visit.external == []


def test_a_phone_needs_no_sideways_scrolling(open_page):
    visit = open_page(viewport={"width": 393, "height": 850})

    for tab in ("Text to image", "Benchmark", "Reports", "Tiers", "Hardware"):
        visit.open(tab)
        visit.page.wait_for_timeout(300)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 393, tab
