"""The page by keyboard, by ear, in both themes and on a phone, in Debian's Chromium."""

from __future__ import annotations

import json
from urllib.request import urlopen

import pytest
from visit import (
    PATIENCE_MS,
    PHONE,
    Visit,
    browser,
    open_page,
    pytestmark,
    reports,
    sync_api,
    url,
)

from diffusion_bench.charts.document import Section, document, section_html
from diffusion_bench.charts.style import empty_figure

__all__ = ["browser", "open_page", "pytestmark", "reports", "url"]

# Of the words of each element that a selector finds, against what is opaque behind it (WCAG 2.2).
CONTRASTS = """(selector) => {
  const parts = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c /= 255) <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const luminance = ([r, g, b]) =>
    0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const behind = (element) => {
    for (let each = element; each; each = each.parentElement) {
      const colour = parts(getComputedStyle(each).backgroundColor);
      if (colour.length === 3 || colour[3] === 1) return colour;
    }
    return [255, 255, 255];
  };
  const shown = [...document.querySelectorAll(selector)].filter((one) => one.checkVisibility());
  return shown.map((one) => {
    const style = getComputedStyle(one);
    const [low, high] = [parts(one.closest("svg") ? style.fill : style.color), behind(one)]
      .map(luminance).sort((a, b) => a - b);
    return (high + 0.05) / (low + 0.05);
  });
}"""
# Of the border and the ring of the field that has the focus.
FOCUS_CONTRASTS = """() => {
  const field = document.activeElement, words = document.createElement("i");
  field.parentElement.append(words);
  const style = getComputedStyle(field);
  return [style.borderColor, style.boxShadow.match(/rgb[^)]*[)]/)[0]].map((colour) => {
    words.style.color = colour;
    return (CONTRASTS)("i")[0];
  });
}""".replace("CONTRASTS", CONTRASTS)
# Of the border of what a selector finds.
BORDER_CONTRAST = """(selector) => {
  const box = document.querySelector(selector), words = document.createElement("i");
  box.parentElement.append(words);
  words.style.color = getComputedStyle(box).borderColor;
  return (CONTRASTS)("i").at(-1);
}""".replace("CONTRASTS", CONTRASTS)
BOXES = """() => Object.fromEntries([...document.querySelectorAll(".readout")].map((block) => {
  const box = block.querySelector("textarea");
  return [block.id, [box.disabled, box.readOnly]];
}))"""


@pytest.fixture(scope="module")
def desk(url, browser):
    """One page for the tests that leave nothing behind by which another could be misled."""
    visit = Visit(browser, url, locale="en-US")
    yield visit
    visit.close()
    assert (visit.external, visit.errors) == ([], [])


def test_a_picture_is_asked_for_seen_and_heard_of_without_a_mouse_or_eyes(desk):
    page = desk.page
    desk.open("Text to image")
    prompt, said = page.locator("#t2i-prompt textarea"), page.locator("#announcer[role=status]")
    page.fill("#t2i-steps input", "2")
    page.fill("#t2i-seed input", "7")
    prompt.fill("a fox")
    page.keyboard.press("Control+Enter")
    sync_api.expect(prompt).to_be_focused()
    sync_api.expect(said).to_contain_text(" s on cpu", timeout=PATIENCE_MS)
    picture = page.locator("#t2i-pictures").get_by_role("img", name="a fox, seed 7")
    sync_api.expect(picture).to_be_visible()
    sync_api.expect(page.locator("#t2i-pictures .caption-label")).to_be_hidden()

    page.fill("#t2i-steps input", "0")
    page.keyboard.press("Control+Enter")
    sync_api.expect(said).to_contain_text("Error: steps", timeout=PATIENCE_MS)


def test_a_decimal_comma_is_not_dropped_from_a_number_that_has_a_fraction(desk):
    page = desk.page
    desk.open("Text to image")

    def typed(field, words):
        box = page.locator(f"#{field} input[type=number]")
        box.focus()
        page.keyboard.press("Control+A")
        page.keyboard.type(words)
        return box.input_value()

    assert typed("t2i-guidance", "3,5") == "3.5"
    assert typed("t2i-width", "1,024") == "1024"
    desk.open("Tiers")
    assert typed("tiers-tariff", "0,31") == "0.31"


def test_high_contrast_shows_which_tab_is_open_and_what_is_a_button_or_a_slider(open_page):
    visit = open_page(forced_colors="active")
    visit.page.get_by_text("More settings").click()
    slider = visit.page.locator("input[type=range]").first
    assert slider.evaluate("one => getComputedStyle(one).appearance") == "auto"
    visit.open("Tiers")
    styles = """(one) => {
      const style = getComputedStyle(one);
      return [style.textDecorationLine, style.borderTopWidth];
    }"""
    tabs = visit.page.locator("#tabs > .tab-wrapper [role=tab]:visible")
    lines = {tab.inner_text(): tab.evaluate(styles)[0] for tab in tabs.all()}
    assert [name for name, line in lines.items() if line == "underline"] == ["Tiers"]
    assert visit.page.locator("#tiers-update").evaluate(styles)[1] == "1px"


def test_words_that_are_only_read_have_a_name_and_are_reached_by_keyboard(desk):
    page = desk.page
    for tab in ("Tiers", "Hardware", "Text to image"):
        desk.open(tab)
    boxes = page.evaluate(BOXES)
    assert len(boxes) >= 8
    assert set(map(tuple, boxes.values())) == {(False, True)}

    recipe = page.get_by_role("textbox", name="What made the chosen picture", exact=True)
    page.locator("#t2i-recipe").get_by_text("What made the chosen picture").click()
    sync_api.expect(recipe).to_be_focused()  # and not the button that copies
    for tab, names in (
        ("Tiers", ("Is it a path?", "The evidence", "What it runs")),
        ("Hardware", ("This machine",)),
    ):
        desk.open(tab)
        for name in names:
            named = page.get_by_role("textbox", name=name, exact=True)
            sync_api.expect(named).to_be_visible(timeout=PATIENCE_MS)
    desk.open("Tiers")
    sync_api.expect(page.get_by_role("grid", name="What fits", exact=True)).to_be_visible()


def test_no_box_or_table_of_the_page_is_without_a_name_or_out_of_reach(url):
    with urlopen(f"{url}config") as answer:
        parts = json.load(answer)["components"]
    kinds = ("textbox", "dataframe")
    named = [(part["type"], part["props"]) for part in parts if part["type"] in kinds]
    named = [(kind, props) for kind, props in named if props.get("visible") != "hidden"]
    assert [props["elem_id"] for _, props in named if not props.get("label")] == []

    read = [p for kind, p in named if kind == "textbox" and p.get("interactive") is False]
    assert len(read) >= 15
    assert [p["elem_id"] for p in read if "readout" not in (p.get("elem_classes") or [])] == []


def test_the_tab_key_passes_the_live_chart(desk):
    desk.open("Hardware")
    desk.has_lines("#hardware-plot")
    tools = desk.page.locator("#hardware-plot .modebar").first
    sync_api.expect(tools).to_be_attached()
    sync_api.expect(tools).to_be_hidden()


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_the_focus_and_the_box_that_gives_consent_are_seen(open_page, theme):
    visit = open_page(f"?__theme={theme}")
    page = visit.page
    page.locator("#t2i-negative textarea").focus()
    page.wait_for_timeout(300)  # until it is drawn
    assert min(page.evaluate(FOCUS_CONTRASTS)) >= 3
    for words in (".info-text", "#t2i-generate", "[role=tab].selected"):
        assert min(page.evaluate(CONTRASTS, words)) >= 4.5, words
    visit.open("Hardware")
    visit.has_lines("#hardware-plot")
    assert min(page.evaluate(CONTRASTS, "#hardware-plot svg text")) >= 4.5
    visit.open("Voice cloning")
    box = "#voice-consent input"
    sync_api.expect(page.locator(box)).to_be_visible()
    assert page.evaluate(BORDER_CONTRAST, box) >= 3


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_words_of_a_saved_page_are_told_from_what_is_behind(browser, theme):
    section = Section("latency", "Latency", "", empty_figure("nothing yet"), (["a"], [[1]]))
    page = browser.new_page(color_scheme=theme)
    page.set_content(document("Report", [section_html(section, with_plotly=True)]))
    page.locator("svg text").first.wait_for()
    assert min(page.evaluate(CONTRASTS, "svg text, p, h2, td")) >= 4.5


def test_on_a_phone_the_focus_stays_in_sight_and_a_choice_ends_before_its_arrow(open_page):
    page = open_page(viewport=PHONE, reduced_motion="reduce").page
    page.fill("#t2i-steps input", "2")
    page.locator("#t2i-generate").focus()
    page.keyboard.press("Enter")
    sync_api.expect(page.locator("#announcer")).to_contain_text(" s on", timeout=PATIENCE_MS)
    sync_api.expect(page.locator("#t2i-generate")).to_be_in_viewport()

    field = page.locator("#t2i-model input")
    arrow = page.locator("#t2i-model .icon-wrap").bounding_box()
    padding = field.evaluate("field => parseFloat(getComputedStyle(field).paddingRight)")
    box = field.bounding_box()
    assert box["x"] + box["width"] - padding <= arrow["x"] + 1
    assert field.evaluate("field => getComputedStyle(field).textOverflow") == "ellipsis"


def test_a_button_whose_work_goes_on_looks_so_and_says_so_when_it_is_asked_again(desk):
    page = desk.page
    desk.open("Text to image")
    button, said = page.locator("#t2i-generate"), page.locator("#announcer")
    sync_api.expect(button).to_have_attribute("aria-disabled", "false")
    page.fill("#t2i-steps input", "1000")
    button.click()
    sync_api.expect(button).to_have_attribute("aria-disabled", "true", timeout=PATIENCE_MS)
    sync_api.expect(button).to_have_css("opacity", "0.5")
    page.locator("#t2i-prompt textarea").focus()
    page.keyboard.press("Control+Enter")
    sync_api.expect(said).to_contain_text("still at work. Cancel ends it.")

    page.click("#t2i-cancel")
    sync_api.expect(said).to_contain_text("Cancelled.", timeout=PATIENCE_MS)
    sync_api.expect(button).to_have_attribute("aria-disabled", "false")
    sync_api.expect(button).to_have_css("opacity", "1")
