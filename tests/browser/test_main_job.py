"""The main job in Debian's Chromium: draw, measure, see the charts, open the report again."""

from __future__ import annotations

import re
import shutil

import pytest
from ui_server import served

from diffusion_bench.backends.pictures import read_request
from diffusion_bench.records import BUNDLED_SIDE, ImageRequest

CHROMIUM = shutil.which("chromium")
SWEEP = """name = "browser"
repeats = 2

[axes]
sampler = ["ddim", "ddpm"]
steps = [2, 3]
"""
PATIENCE_MS = 90_000

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture
def address(tmp_path):
    with served(reports=tmp_path / "reports") as page:
        yield page.local_url, tmp_path / "reports"


@pytest.fixture
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM,
            args=["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"],
        )
        yield browser
        browser.close()


class Visit:
    """A page opened with every request that leaves the machine refused and written down."""

    def __init__(self, browser, url, **context):
        self.external: list[str] = []
        self.errors: list[str] = []
        self._url = url
        self._context = browser.new_context(**context)
        self._context.route("**/*", self._let_through)
        self.page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url)
        self.page.wait_for_selector("#t2i-generate")

    def _let_through(self, route):
        if route.request.url.startswith((self._url, "data:", "blob:")):
            route.continue_()
        else:
            self.external.append(route.request.url)
            route.abort()

    def _hear(self, message):
        if message.type == "error":
            self.errors.append(message.text)

    def open(self, tab):
        self.page.get_by_role("tab", name=tab).click()

    def fill_opened(self, selector, text):
        """Fill a field of a part that was opened just now, until it keeps what it is given.

        Gradio builds such a part on its first opening and sets the field to its first value once
        more, which no person is fast enough to see and a test on a busy machine is.
        """
        field = self.page.locator(selector)
        for _ in range(20):
            field.fill(text)
            self.page.wait_for_timeout(500)
            if field.input_value() == text:
                return
        raise AssertionError(f"{selector} does not keep {text!r}")

    def has_text(self, selector, pattern):
        field = self.page.locator(f"{selector} textarea")
        sync_api.expect(field).to_have_value(re.compile(pattern), timeout=PATIENCE_MS)

    def has_lines(self, selector):
        drawn = self.page.locator(f"{selector} .scatterlayer path.js-line").first
        sync_api.expect(drawn).to_be_attached(timeout=PATIENCE_MS)

    def has_bars(self, selector):
        drawn = self.page.locator(f"{selector} .barlayer .point path").first
        sync_api.expect(drawn).to_be_attached(timeout=PATIENCE_MS)


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


def test_draw_measure_and_read_with_no_network(address, browser):
    url, folder = address
    visit = Visit(browser, url)

    draw_a_picture(visit, folder.parent)
    name = run_a_sweep(visit, folder)
    open_the_report(visit, name)
    look_at_the_hardware(visit)

    assert visit.external == []
    assert visit.errors == []


def test_a_phone_needs_no_sideways_scrolling(address, browser):
    url, _ = address
    visit = Visit(browser, url, viewport={"width": 393, "height": 850})

    for tab in ("Text to image", "Benchmark", "Reports", "Tiers", "Hardware"):
        visit.open(tab)
        visit.page.wait_for_timeout(300)
        assert visit.page.evaluate("document.documentElement.scrollWidth") <= 393, tab
