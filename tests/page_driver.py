"""The page in a real browser, as a person uses it: keys, clicks, and what is seen.

In: a Selenium driver with the page open.  Out: words and pixels.  A test waits until something is seen, never for a
time.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

T = TypeVar("T")

SEEN_S = 30.0
"""Ends a test that waits for what never comes."""

NAMED = {
    "Enter": Keys.ENTER,
    "Escape": Keys.ESCAPE,
    "Up": Keys.UP,
    "Down": Keys.DOWN,
    "Left": Keys.LEFT,
    "Right": Keys.RIGHT,
}


class PageDriver:
    """What a person sees of the page and does with it.

    Parameters
    ----------
    driver : Chrome
        A browser with the page open.
    """

    def __init__(self, driver: Chrome) -> None:
        self.driver = driver

    # -- seeing --------------------------------------------------------------------------------------------------------

    def all(self, selector: str) -> list[WebElement]:
        """Return what matches, in the order of the document."""
        return self.driver.find_elements(By.CSS_SELECTOR, selector)

    def first(self, selector: str) -> WebElement:
        """Return the first match, waiting until there is one."""
        return self.until(lambda: next(iter(self.all(selector)), None))

    def texts(self, selector: str) -> list[str]:
        """Return the text of each match, also of what is out of sight."""
        script = "return [...document.querySelectorAll(arguments[0])].map((element) => element.textContent)"
        texts: list[str] = self.driver.execute_script(script, selector)
        return texts

    def until(self, seen: Callable[[], T | None]) -> T:
        """Wait until `seen` returns something, and return that."""
        found = WebDriverWait(self.driver, SEEN_S, poll_frequency=0.02).until(lambda _: seen())
        assert found is not None
        return found

    def said(self, words: str) -> None:
        """Wait until the line at the foot of the page holds these words."""
        self.until(lambda: words in "".join(self.texts(".saying")))

    def group(self) -> int:
        """Return the number of the current group, from 1."""
        return int(self.first(".group.current").get_attribute("aria-posinset") or 0)

    def fates(self) -> list[str]:
        """Return what becomes of each picture of the current group."""
        return self.texts(".group.current .fate strong")

    def plan(self) -> str:
        """Return what the button that applies the plan says."""
        return self.first(".planbar .apply").text

    def pixels(self, selector: str) -> NDArray[np.int16]:
        """Return what is seen of an element as (height, width, 3) levels of 0 to 255."""
        with Image.open(io.BytesIO(self.first(selector).screenshot_as_png)) as image:
            return np.asarray(image.convert("RGB"), np.int16)

    # -- doing ---------------------------------------------------------------------------------------------------------

    def open(self, room: str) -> None:
        """Go to a part of the page by its address."""
        self.driver.execute_script("location.hash = arguments[0]", f"#/{room}")

    def press(self, *names: str) -> None:
        """Press and release keys, one after the other."""
        for name in names:
            ActionChains(self.driver).send_keys(NAMED.get(name, name)).perform()

    def undo(self) -> None:
        """Press Ctrl+Z."""
        ActionChains(self.driver).key_down(Keys.CONTROL).send_keys("z").key_up(Keys.CONTROL).perform()

    def hold(self, name: str, repeats: int = 20) -> None:
        """Press a key, hold it for so many repeats, and release it."""
        event = {"key": name, "code": name, "windowsVirtualKeyCode": 13, "text": "\r"}
        for number in range(repeats + 1):
            self._send("Input.dispatchKeyEvent", {"type": "keyDown", "autoRepeat": number > 0, **event})
        self._send("Input.dispatchKeyEvent", {"type": "keyUp", **event})

    def click(self, selector: str) -> None:
        """Click the first match."""
        self.first(selector).click()

    @contextmanager
    def of_size(self, width_px: int, height_px: int) -> Iterator[None]:
        """Show the page in a window of another size."""
        size = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": width_px < 600}
        self._send("Emulation.setDeviceMetricsOverride", size)
        try:
            yield
        finally:
            self._send("Emulation.clearDeviceMetricsOverride", {})

    def _send(self, command: str, parameters: dict[str, Any]) -> None:
        self.driver.execute_cdp_cmd(command, parameters)
