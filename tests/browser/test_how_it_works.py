"""The tab How it works in Debian's Chromium: pictures in rows, the chart, its table, the files."""

from __future__ import annotations

from pathlib import Path

from PIL import Image
from visit import PATIENCE_MS, PHONE, browser, open_page, pytestmark, reports, sync_api, url, visit

__all__ = ["browser", "open_page", "pytestmark", "reports", "url", "visit"]


def look(visit, name, title, steps=3):
    visit.open("How it works")
    visit.page.fill("#look-steps input", str(steps))
    visit.open(title)
    visit.page.click(f"#look-{name}-show")


def shown(visit, name, row):
    """Return the sides of the pictures of a row, as they are on the page."""
    pictures = visit.page.locator(f"#look-{name}-row-{row} .grid-container img")
    sync_api.expect(pictures.first).to_be_visible(timeout=PATIENCE_MS)
    return [picture.bounding_box()["width"] for picture in pictures.all()]


def tools_over_a_chart(visit):
    """Return whether the tools that hovering calls are shown, where a chart has them."""
    return visit.page.evaluate("""() => {
      const tools = document.createElement("div");
      tools.className = "modebar";
      document.querySelector(".gradio-container").append(tools);
      const {display} = getComputedStyle(tools);
      tools.remove();
      return display;
    }""")


def test_denoising_is_seen_step_by_step_and_saved(visit):
    assert tools_over_a_chart(visit) == "block"
    look(visit, "denoising", "Denoising")
    visit.has_text("#look-denoising-status", "^Both begin with the same noise")
    visit.has_lines("#look-denoising-figure")
    for row in range(1, 7):
        sides = shown(visit, "denoising", row)
        assert len(sides) == 3
        assert min(sides) > 90
    with visit.page.expect_download() as download:
        visit.page.click("#look-denoising-film")
    with Image.open(Path(download.value.path())) as film:
        assert film.n_frames == 3 + 1  # what comes of the steps is the last
    visit.page.click("#look-denoising-fold")
    table = visit.page.locator("#look-denoising-table")
    sync_api.expect(table).to_contain_text("DDPM", timeout=PATIENCE_MS)


def every_tab_is_in_sight(visit):
    tabs = visit.page.locator("#tabs > .tab-wrapper [role=tab]")
    sync_api.expect(tabs).to_have_count(7, timeout=PATIENCE_MS)
    for tab in tabs.all():
        box = tab.bounding_box()
        assert box["x"] >= 0
        assert box["x"] + box["width"] <= PHONE["width"]


def words_do_not_cover_their_pictures(visit):
    cells = visit.page.locator("#look-unet-row-2 .grid-container .thumbnail-item").all()
    assert cells
    for cell in cells:
        picture, words = (cell.locator(part).bounding_box() for part in ("img", ".caption-label"))
        assert words["y"] >= picture["y"] + picture["height"] - 1


def test_the_u_net_fits_on_a_phone_and_words_do_not_cover_its_pictures(open_page):
    visit = open_page(viewport=PHONE, is_mobile=True, has_touch=True)
    every_tab_is_in_sight(visit)
    assert tools_over_a_chart(visit) == "none"
    look(visit, "unet", "U-Net")
    visit.has_text("#look-unet-status", r"million parameters")
    visit.has_lines("#look-unet-figure")
    assert len(shown(visit, "unet", 1)) == 7
    assert min(shown(visit, "unet", 2)) > 90
    assert visit.page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    words_do_not_cover_their_pictures(visit)


def test_speech_is_seen_and_heard(visit):
    visit.open("How it works")
    visit.open("Speech")
    sync_api.expect(visit.page.locator("#look-prompt")).to_be_hidden(timeout=PATIENCE_MS)
    visit.page.fill("#look-speech-steps input", "3")
    visit.page.click("#look-speech-show")
    visit.has_text("#look-speech-status", "^Text and voice alone give the plan")
    visit.has_lines("#look-speech-figure")
    for row in range(1, 6):
        sides = shown(visit, "speech", row)
        assert len(sides) == 3
        assert min(sides) > 180
    for number in range(1, 5):
        player = visit.page.locator(f"#look-speech-sound-{number}")
        sync_api.expect(player).to_be_visible(timeout=PATIENCE_MS)
    with visit.page.expect_download() as download:
        visit.page.click("#look-speech-film")
    with Image.open(Path(download.value.path())) as film:
        assert film.n_frames == 3 + 1  # what comes of the steps is the last
