"""The page of a report in the system's Chromium."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest

from nki_simulator.tests.test_report import odd_kernel

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
pytestmark = [pytest.mark.slow]
if CHROMIUM is None or find_spec("playwright") is None:
    missing = "Chromium" if CHROMIUM is None else "playwright, of the group 'browser'"
    pytestmark.append(pytest.mark.skip(f"NO PAGE WAS OPENED: there is no {missing}"))


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM)
        yield browser
        browser.close()


@pytest.mark.parametrize("count", [4, 4000])
@pytest.mark.parametrize("width", [390, 1200])
def test_it_opens_by_itself(
    browser: Any, tmp_path: Path, count: int, width: int
) -> None:
    path = tmp_path / "page.html"
    odd_kernel(tmp_path, count).save_page(path)
    page = browser.new_page(viewport={"width": width, "height": 844})
    troubles: list[str] = []
    requested: list[str] = []
    page.on("console", lambda message: troubles.append(message.text))
    page.on("pageerror", lambda error: troubles.append(str(error)))
    page.on("dialog", lambda dialog: troubles.append(dialog.message))
    page.on("request", lambda request: requested.append(request.url))
    page.goto(path.as_uri())
    assert troubles == [] and requested == [path.as_uri()]
    # No wider than the screen: what is wide is scrolled by itself.
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    lanes = page.locator('svg[aria-label="the engines\' lanes"]')
    assert lanes.locator("rect.lane").count() == 4
    for engine in ("vector", "scalar", "gpsimd", "dma"):
        drawn = lanes.locator(f"rect.{engine}")
        assert 0 < drawn.count() <= 600
        assert drawn.first.bounding_box()["height"] > 0
    assert page.locator("path.live").count() == 2
    assert page.locator("table.source tr.timed").count() == 2
    source = page.locator("table.source").inner_text()
    assert "b = a < 3 & a > 2" in source and '<script>alert("in a comment")' in source
    page.close()
