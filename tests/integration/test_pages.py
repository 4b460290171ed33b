"""The built docs in the system's Chromium, as narrow as a telephone."""

from __future__ import annotations

import fcntl
import functools
import os
import re
import shutil
import subprocess
import sys
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
WIDTH = 390
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
#: The variable with the folder of pages that are built already, if they are.
BUILT = "NKIPY_TEST_PAGES"
HAS_PLAYWRIGHT = find_spec("playwright") is not None
#: The first test waits until the pages are built.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]
if CHROMIUM is None or not HAS_PLAYWRIGHT:
    missing = "Chromium" if CHROMIUM is None else "playwright, of the group 'browser'"
    pytestmark.append(pytest.mark.skip(f"NO PAGE WAS OPENED: there is no {missing}"))

#: What of the page is out of sight to the right. A table or a block of code may be, if
#: it can be scrolled by itself; text may not, though the theme scrolls it.
OVERFLOWING = """() => {
  const width = document.documentElement.clientWidth;
  const scrolls = e => e.tagName !== "ARTICLE" && (
    ["auto", "scroll"].includes(getComputedStyle(e).overflowX) ||
    scrolls(e.parentElement));
  const found = [...document.querySelectorAll("article *")].filter(e =>
    e.getBoundingClientRect().right > width + 1 && !scrolls(e.parentElement));
  const page = document.documentElement.scrollWidth - width;
  return found.slice(0, 3).map(e => e.outerHTML.slice(0, 100))
    .concat(page > 0 ? [`the page, by ${page} px`] : []);
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built pages: those that `BUILT` names; or else, of the processes of a run,
    the first one builds them for all."""
    if place := os.environ.get(BUILT):
        return Path(place).resolve(strict=True)
    base = tmp_path_factory.getbasetemp()
    shared = base if base.name.startswith("pytest-") else base.parent
    html, built = shared / "html", shared / "html.built"
    with open(shared / "html.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not built.exists():
            options = ["-q", "-W", "--keep-going", "-d", str(shared / "doctrees")]
            done = subprocess.run(
                [sys.executable, "-m", "sphinx", *options, str(ROOT / "docs"), html],
                capture_output=True,
                text=True,
            )
            assert done.returncode == 0, done.stderr
            built.touch()
    return html


@pytest.fixture(scope="module")
def address(site):
    """Where a server of this process gives the pages."""

    class Handler(SimpleHTTPRequestHandler):
        def log_message(self, format, *args):
            pass

    handler = functools.partial(Handler, directory=str(site))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def browser():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.fixture
def page(browser, address):
    """A page, and in ``page.troubles`` what went wrong while it was open."""
    page = browser.new_page(viewport={"width": WIDTH, "height": 844})
    troubles = page.troubles = []

    def failed(request):
        if request.failure != "net::ERR_ABORTED":  # by leaving the page
            troubles.append(f"{request.url}: {request.failure}")

    def responded(response):
        if response.status >= 400:
            troubles.append(f"{response.url}: {response.status}")

    def requested(request):
        if not request.url.startswith((address, "data:")):
            troubles.append(f"{request.url} is not of these pages")

    def said(message):
        if message.type in ("error", "warning"):
            troubles.append(message.text)

    page.on("console", said)
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("requestfailed", failed)
    page.on("response", responded)
    page.on("request", requested)
    yield page
    page.close()


def test_each_page_fits_a_narrow_screen_and_has_no_errors(site, address, page):
    names = [str(path.relative_to(site)) for path in site.rglob("*.html")]
    assert len(names) > 30
    wrong = {}
    for name in sorted(names):
        page.goto(address + name)
        found = [*page.evaluate(OVERFLOWING), *page.troubles]
        page.troubles.clear()
        if found:
            wrong[name] = found
    assert wrong == {}


def test_what_overflows_is_noticed(page, address):
    page.goto(address)
    assert page.evaluate(OVERFLOWING) == []
    page.evaluate("document.querySelector('article p').style.width = '500px'")
    (wide,) = page.evaluate(OVERFLOWING)
    assert wide.startswith("<p")
    page.evaluate("document.body.style.width = '500px'")
    assert page.evaluate(OVERFLOWING)[-1] == "the page, by 110 px"


def test_an_error_of_the_console_is_noticed(page, address):
    page.goto(address)
    page.evaluate("console.error('of the test')")
    page.evaluate("fetch('no-such-file')")
    page.wait_for_load_state("networkidle")
    assert "of the test" in page.troubles
    assert f"{address}no-such-file: 404" in page.troubles


SEARCHES = [
    ("simulate_jit", "api"),
    ("DeviceTensor from_numpy", "api"),
    ("captures", "user_guide/kernels"),
    ("tolerances", "user_guide/testing"),
    ("elements that a traced boolean mask selects", "tutorials/timeline"),
    ("truth value is not known while the kernel is traced", "user_guide/errors"),
]


@pytest.fixture(params=SEARCHES, ids=lambda search: search[0])
def search(request):
    """What is looked for, and how the address of a page that has it begins."""
    return request.param


def test_search_finds(search, page, address):
    words, where = search
    page.goto(address)
    page.locator("label.nav-overlay-icon, .nav-overlay-icon label").first.click()
    page.get_by_placeholder("Search").fill(words)
    page.keyboard.press("Enter")
    page.locator(".search-summary", has_text=re.compile("found|not match")).wait_for()
    links = page.locator("#search-results ul.search a").all()
    found = [link.get_attribute("href") for link in links]
    assert any(link.startswith(where) for link in found), found
    assert page.troubles == []
