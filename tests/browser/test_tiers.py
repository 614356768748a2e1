"""The tab Tiers in Debian's Chromium: the bars, a click on one, another path, what a card runs."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from visit import PATIENCE_MS, browser, open_page, pytestmark, reports, sync_api, url

__all__ = ["browser", "open_page", "pytestmark", "reports", "url"]

OWN_PATH = """[[tier]]
name = "now"
gpu = "RTX 3060 12GB"
ram_gib = 32
cores = 8
"""


@pytest.fixture
def visit(open_page):
    visit = open_page()
    visit.open("Tiers")
    visit.has_bars("#tiers-bars")
    return visit


def click_the_last_bar(visit):
    last_panel = visit.page.locator("#tiers-bars .barlayer").nth(3)
    bar = last_panel.locator(".point path").last
    bar.scroll_into_view_if_needed()
    visit.page.wait_for_function("window.tiersPlot", timeout=PATIENCE_MS)
    box = bar.bounding_box()
    visit.page.mouse.move(box["x"] + 8, box["y"] + box["height"] / 2)
    sync_api.expect(visit.page.locator("#tiers-bars .hoverlayer .hovertext")).to_be_attached(
        timeout=PATIENCE_MS
    )
    visit.page.mouse.click(box["x"] + 8, box["y"] + box["height"] / 2)


def download_the_page(visit):
    with visit.page.expect_download() as download:
        visit.page.click("#tiers-html")
    assert download.value.suggested_filename == "tiers.html"
    return Path(download.value.path()).read_text()


def why(visit):
    """Return what the field about a bar says now."""
    return visit.page.locator("#tiers-why textarea").input_value()


def see_what_fits_and_nothing_of_speech(visit):
    heads = visit.page.locator("#tiers-fits thead").first.locator("th")
    sync_api.expect(heads.filter(has_text="to")).not_to_have_count(0, timeout=PATIENCE_MS)
    boxes = [heads.nth(index).bounding_box() for index in range(7)]  # to the end of the memory
    assert max(box["height"] for box in boxes) < 80  # a letter a line would be twice that
    assert boxes[-1]["x"] + boxes[-1]["width"] < visit.page.viewport_size["width"]
    sync_api.expect(visit.page.locator("#tiers-speech")).to_have_count(0)


def open_the_last_bar(visit):
    click_the_last_bar(visit)
    visit.has_text("#tiers-why", r"^second-year upgrade, .*\n.*flux1-schnell")


def test_what_fits_is_seen_and_a_click_on_a_bar_opens_its_evidence_each_time(visit):
    see_what_fits_and_nothing_of_speech(visit)
    visit.has_text("#tiers-why", "^initial build")
    visit.has_bars("#tiers-vram")
    visit.has_bars("#tiers-gains")
    open_the_last_bar(visit)
    assert "initial build" not in why(visit)
    visit.page.click("#tiers-key input")
    visit.page.get_by_role("option", name="initial build").first.click()
    visit.has_text("#tiers-why", "^initial build")
    open_the_last_bar(visit)  # the same, after another was looked at
    assert "initial build" not in why(visit)


def test_a_path_of_ones_own_is_checked_while_typed_downloaded_and_answered(visit):
    page = visit.page
    assert "second-year upgrade" in download_the_page(visit)  # at the first click
    page.fill("#tiers-path textarea", "[[tier]]\nname = ")
    visit.has_text("#tiers-check", "^Error: the path is no TOML file")
    page.fill("#tiers-path textarea", OWN_PATH)
    visit.has_text("#tiers-check", "^1 tier, prices in USD")
    saved = download_the_page(visit)  # of the fields as they are
    assert "After now (RTX 3060 12GB" in saved
    assert "second-year upgrade" not in saved
    page.click("#tiers-update")
    visit.has_text("#tiers-status", re.escape("After now (RTX 3060 12GB"))
    visit.has_text("#tiers-why", "^now, RTX 3060 12GB")
    visit.has_bars("#tiers-room")
    assert "upgrade" not in why(visit).splitlines()[0]
