"""The page as a person sees it, in a real Chromium."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver import Chrome

from tests import pictures
from tests.browser import chromium, complaints, needs_chromium, running_page
from tests.process.daemon import Daemon, living

pytestmark = [pytest.mark.process, needs_chromium]


@pytest.fixture(scope="module")
def album() -> Iterator[Daemon]:
    """Give a daemon that has indexed a few pictures and copies of them."""
    with living() as daemon:
        originals = pictures.write_album(daemon.album, 8)
        for original in originals[:4]:
            pictures.resaved(original, daemon.album / f"small-{original.name}")
        daemon.start()
        daemon.settle()
        yield daemon


@pytest.fixture(scope="module")
def address(album: Daemon) -> Iterator[str]:
    """Give the address of a running page."""
    with running_page(album) as address:
        yield address


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Chrome]:
    """Give a browser."""
    with chromium(tmp_path) as browser:
        yield browser


def test_the_page_opens(browser: Chrome, address: str) -> None:
    """Chromium shows the page, and has nothing to complain of."""
    browser.get(address)
    assert browser.title
    assert [line for line in complaints(browser) if "favicon" not in line] == []
