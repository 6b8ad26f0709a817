"""A real Chromium that shows the page: Debian's, without a window, driven by Debian's own driver.

In: a running page.  Out: a browser.  Never here: what a test looks for.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from selenium.webdriver import Chrome, ChromeOptions, ChromeService
from selenium.webdriver.support.wait import WebDriverWait

from tests.patience import PATIENCE_S
from tests.process.daemon import Daemon

PROGRAM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
ROOT = 0
WIDE = (1280, 900)
TELEPHONE = (390, 844)

needs_chromium = pytest.mark.skipif(
    PROGRAM is None or DRIVER is None, reason="Debian's chromium and chromium-driver are not installed"
)


@contextmanager
def running_page(daemon: Daemon, *argv: str) -> Iterator[str]:
    """Run `cbir page` beside a daemon that runs, give the address with its secret, and stop it in order."""
    process = daemon.popen("page", "--port", "0", *argv)
    assert process.stdout is not None
    try:
        address = process.stdout.readline().decode().strip()
        assert address, "the page did not start"
        yield address
        process.terminate()
        assert process.wait(PATIENCE_S) == 0
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


@contextmanager
def chromium(home: Path, size: tuple[int, int] = WIDE, *arguments: str) -> Iterator[Chrome]:
    """Give a browser with a profile of its own.

    Parameters
    ----------
    home : Path
        Where the profile and the driver's log lie.
    size : tuple of int
        Width and height of its window.
    *arguments : str
        Further options of Chromium.
    """
    options = ChromeOptions()
    options.binary_location = str(PROGRAM)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    options.add_argument("--headless=new")
    options.add_argument(f"--user-data-dir={home / 'profile'}")
    options.add_argument(f"--window-size={size[0]},{size[1]}")
    for argument in ("--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", *arguments):
        options.add_argument(argument)
    if os.geteuid() == ROOT:
        # Its own sandbox refuses root.
        options.add_argument("--no-sandbox")
    environ = {**os.environ, "HOME": str(home), "SE_OFFLINE": "true"}
    service = ChromeService(str(DRIVER), log_output=subprocess.DEVNULL, env=environ)
    browser = Chrome(options, service)
    try:
        browser.set_script_timeout(PATIENCE_S)
        browser.set_page_load_timeout(PATIENCE_S)
        yield browser
    finally:
        browser.quit()


def visit(browser: Chrome, address: str) -> None:
    """Go to an address, and wait until its scripts have run.

    Notes
    -----
    Chromium's driver now and then takes a new tab for loaded before its document has begun to load.  What a test did to
    the address then came before the page had read its secret there.
    """
    browser.get(address)
    base = address.partition("#")[0]
    loaded = "return document.URL.startsWith(arguments[0]) && document.readyState === 'complete'"
    wait(browser).until(lambda page: page.execute_script(loaded, base))


def wait(browser: Chrome) -> WebDriverWait[Chrome]:
    """Return what waits until something holds in a browser: `wait(browser).until(lambda page: ...)`."""
    return WebDriverWait(browser, PATIENCE_S, poll_frequency=0.05)


def complaints(browser: Chrome) -> list[str]:
    """Return what the page has written into the browser's console, warnings and errors, since the last time."""
    return [
        entry["message"]
        for entry in browser.get_log("browser")  # type: ignore[no-untyped-call]  # so in Selenium
        if entry["level"] in ("SEVERE", "WARNING")
    ]
