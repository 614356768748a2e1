"""What the tests in a browser share: Debian's Chromium, the real server, and a page opened in it.

A test file imports the fixtures it asks for. One server and one browser serve all tests of a file,
since to start both takes longer than most of them; each test opens pages of its own.
"""

from __future__ import annotations

import re
import shutil

import pytest
from ui_server import served

CHROMIUM = shutil.which("chromium")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",  # nothing leaves the machine
]
PATIENCE_MS = 90_000
PHONE = {"width": 390, "height": 850}

pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="Debian's chromium is not installed"),
]
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")


@pytest.fixture(scope="module")
def reports(tmp_path_factory):
    return tmp_path_factory.mktemp("served") / "reports"


@pytest.fixture(scope="module")
def url(reports):
    with served(reports=reports) as page:
        yield page.local_url


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture
def open_page(url, browser):
    """Open pages, each as a visitor of its own; in the end none had an error or looked outside."""
    opened = []

    def open_page(query="", **context):
        opened.append(Visit(browser, url, query, **context))
        return opened[-1]

    yield open_page
    for visit in opened:
        visit.close()
    assert [visit.external for visit in opened] == [[]] * len(opened)
    assert [visit.errors for visit in opened] == [[]] * len(opened)


@pytest.fixture
def visit(open_page):
    return open_page()


class Visit:
    """A page, with what it asked of other machines and which errors it told written down."""

    def __init__(self, browser, url, query="", **context):
        self.external: list[str] = []
        self.errors: list[str] = []
        self._url = url
        self._context = browser.new_context(**context)
        self.page = self._context.new_page()
        self.page.set_default_timeout(PATIENCE_MS)
        self.page.on("request", self._see)
        self.page.on("console", self._hear)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.goto(url + query)
        self.page.wait_for_selector("#t2i-generate")

    def close(self):
        self._context.close()

    def _see(self, request):
        if not request.url.startswith((self._url, "data:", "blob:", "about:")):
            self.external.append(request.url)

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
