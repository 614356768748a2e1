"""The tab Text to image in Debian's Chromium: preview, cancel, picture, and its settings back."""

from __future__ import annotations

import re

from ui_server import is_free, wait_until
from visit import PATIENCE_MS, PHONE, browser, open_page, pytestmark, reports, sync_api, url, visit

from diffusion_bench.backends.pictures import read_recipe

__all__ = ["browser", "open_page", "pytestmark", "reports", "url", "visit"]


def set_numbers(page, **values):
    for name, value in values.items():
        page.fill(f"#t2i-{name.replace('_', '-')} input", str(value))


def see_a_preview_and_cancel(visit):
    """The window's title says meanwhile how far it is, and to who looks elsewhere that it ended."""
    page = visit.page
    set_numbers(page, steps=1000)
    page.click("#t2i-generate")
    sync_api.expect(page.locator("#t2i-pictures img").first).to_be_visible(timeout=PATIENCE_MS)
    visit.has_text("#t2i-status", r"^Step \d+ of 1000, about \d+ s left\.")
    is_entitled(page, r"^[1-9]\d* % · Diffusion Bench$")
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, writable: true})")
    page.click("#t2i-cancel")
    visit.has_text("#t2i-status", r"^Cancelled\.")
    is_entitled(page, "^Ended · Diffusion Bench$")
    page.evaluate("document.hidden = false; document.dispatchEvent(new Event('visibilitychange'))")
    is_entitled(page, "^Diffusion Bench$")
    wait_until(is_free, "the device is free")


def is_entitled(page, pattern):
    sync_api.expect(page).to_have_title(re.compile(pattern), timeout=PATIENCE_MS)


def draw(visit, folder):
    page = visit.page
    page.fill("#t2i-prompt textarea", "a fox on a green background")
    page.fill("#t2i-negative textarea", "a dog")
    set_numbers(page, steps=3, seed=12, guidance=2.5, width=80, height=48, batch=2)
    page.click("#t2i-generate")
    visit.has_text("#t2i-recipe", "Seed: 12, Size: 80x48")
    pictures = page.locator("#t2i-pictures img")
    sync_api.expect(pictures).to_have_count(2, timeout=PATIENCE_MS)
    path = folder / "second.png"
    path.write_bytes(page.request.get(pictures.nth(1).get_attribute("src")).body())
    return path


def change_everything_and_drop_the_picture_back(visit, path):
    page = visit.page
    page.fill("#t2i-prompt textarea", "a whale")
    page.fill("#t2i-negative textarea", "")
    set_numbers(page, steps=9, seed=3, guidance=1, width=64, height=64, batch=1)
    off = page.locator("#t2i-negative textarea")
    sync_api.expect(off).to_be_disabled(timeout=PATIENCE_MS)
    sync_api.expect(page.locator("#t2i-negative")).to_contain_text("Off: at guidance 1 or less")
    page.locator("#t2i-upload input[type=file]").set_input_files(path)
    visit.has_text("#t2i-prompt", "^a fox on a green background$")
    visit.has_text("#t2i-negative", "^a dog$")
    sync_api.expect(off).to_be_enabled(timeout=PATIENCE_MS)
    restored = {"steps": 3, "seed": 12, "guidance": 2.5, "width": 80, "height": 48, "batch": 2}
    for name, value in restored.items():
        sync_api.expect(page.locator(f"#t2i-{name} input")).to_have_value(str(value))


def draw_again(visit, path):
    page = visit.page
    page.locator("#t2i-session > button").click()
    page.click("#t2i-generate")
    # The same bytes have the same address: that it was drawn again shows in the session only.
    sync_api.expect(page.locator("#t2i-history img")).to_have_count(4, timeout=PATIENCE_MS)
    pictures = page.locator("#t2i-pictures img")
    sync_api.expect(pictures).to_have_count(2)
    again = page.request.get(pictures.nth(1).get_attribute("src")).body()
    assert again == path.read_bytes()


def look_through_the_session(visit, folder):
    page = visit.page
    page.locator("#t2i-history img").first.click()
    visit.has_text("#t2i-recipe", "Seed: 13")
    with page.expect_download() as download:
        page.click("#t2i-pack")
    download.value.save_as(folder / "all.zip")
    assert (folder / "all.zip").read_bytes().startswith(b"PK")
    page.fill("#t2i-steps input", "9")
    page.click("#t2i-again")
    said_in_the_corner(page, "The settings of this picture are in the fields now.")
    sync_api.expect(page.locator("#t2i-steps input")).to_have_value("3")
    page.click("#t2i-go-on")
    said_in_the_corner(page, "It is under Start from a picture now.")
    sync_api.expect(page.locator("#t2i-start")).to_be_visible(timeout=PATIENCE_MS)


def said_in_the_corner(page, words):
    corner = page.locator(".toast-wrap")
    sync_api.expect(corner).to_contain_text(words, timeout=PATIENCE_MS)


def choose_a_word(visit):
    page = visit.page
    page.fill("#t2i-prompt textarea", "a big")
    page.click("#t2i-words input")
    page.keyboard.type("octop")
    page.get_by_role("option", name="octopus (objects)").click()
    visit.has_text("#t2i-prompt", "^a big octopus$")


def test_preview_title_cancel_draw_and_drop_the_picture_back(visit, tmp_path):
    see_a_preview_and_cancel(visit)
    path = draw(visit, tmp_path)
    recipe = read_recipe(path)
    assert (recipe.picture, recipe.request.batch, recipe.alone.seed) == (1, 2, 13)
    change_everything_and_drop_the_picture_back(visit, path)
    draw_again(visit, path)
    look_through_the_session(visit, tmp_path)
    choose_a_word(visit)


def test_a_page_that_is_loaded_anew_or_left_ends_its_job(visit):
    page = visit.page
    for leave in ("location.reload()", "location.href = 'about:blank'"):
        page.wait_for_selector("#t2i-generate")
        set_numbers(page, steps=1000)
        page.click("#t2i-generate")
        visit.has_text("#t2i-status", r"^Step \d+ of 1000")
        assert not is_free()
        page.evaluate(leave)
        wait_until(is_free, f"the device is free after {leave}")
    visit.errors.clear()  # of the streams that were cut off


def test_a_grid_is_drawn_and_saved_as_one_picture(visit):
    page = visit.page
    page.locator("#t2i-compare > button").click()
    visit.fill_opened("#t2i-compare-steps :is(input, textarea)", "1 2")
    page.click("#t2i-compare-draw")

    visit.has_text("#t2i-compare-status", "^4 pictures in ")
    sync_api.expect(page.locator("#t2i-compare-pictures img")).to_have_count(4)
    with page.expect_download() as download:
        page.click("#t2i-compare-sheet")
    assert download.value.suggested_filename == "comparison.png"
    with page.expect_download() as download:
        page.click("#t2i-compare-sweep")
    assert download.value.suggested_filename == "comparison.toml"


def test_on_a_phone_pictures_follow_the_button_and_nothing_is_wider(open_page):
    visit = open_page(viewport=PHONE)
    page = visit.page

    tops = [
        page.locator(f"#t2i-{name}").bounding_box()["y"]
        for name in ("prompt", "generate", "pictures", "status", "model", "steps")
    ]
    assert tops == sorted(tops)
    sides = [page.locator(f"#t2i-{name}").bounding_box()["y"] for name in ("width", "height")]
    assert sides[0] == sides[1]
    for name in ("more", "session", "start-from", "compare"):
        page.locator(f"#t2i-{name} > button").click()
    page.wait_for_timeout(300)
    assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"]
    sync_api.expect(page.get_by_role("button", name=re.compile("^Generate$"))).to_be_visible()
