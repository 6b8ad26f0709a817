"""The page in a real browser, as a person uses it: keys, clicks, and what is seen.

In: a Selenium driver with the page open.  Out: words and pixels.  A test waits until something is seen, never for a
time.
"""

from __future__ import annotations

import io
from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from selenium.common.exceptions import ElementClickInterceptedException, StaleElementReferenceException
from selenium.webdriver import Chrome
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

from tests.patience import PATIENCE_S

T = TypeVar("T")


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
        found = WebDriverWait(self.driver, PATIENCE_S, poll_frequency=0.02).until(lambda _: seen())
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
        """Click the first match, once it lies still: what comes in above it moves it, or draws it anew."""

        def clicked() -> bool:
            try:
                self.first(selector).click()
            except (ElementClickInterceptedException, StaleElementReferenceException):
                return False
            return True

        self.until(clicked)

    def draw_around_all(self) -> None:
        """Draw a line around all that the map shows, once it takes lines."""
        plane = self.first(".plane.lasso")
        half_x, half_y = plane.size["width"] // 2 - 4, plane.size["height"] // 2 - 4
        line = ActionChains(self.driver).move_to_element_with_offset(plane, -half_x, -half_y).click_and_hold()
        for across, down in ((2 * half_x, 0), (0, 2 * half_y), (-2 * half_x, 0)):
            line.move_by_offset(across, down)
        line.release().perform()

    def drop(self, selector: str, file: Path, event: str = "drop") -> None:
        """Drop a file on an element, or paste it there: with `event` "paste"."""
        script = """
            const [target, name, bytes, kind] = arguments, data = new DataTransfer();
            const raw = Uint8Array.from(atob(bytes), (letter) => letter.charCodeAt(0));
            data.items.add(new File([raw], name, { type: "image/jpeg" }));
            const options = { bubbles: true, cancelable: true };
            target.dispatchEvent(kind === "paste" ? new ClipboardEvent(kind, { ...options, clipboardData: data })
                                                  : new DragEvent(kind, { ...options, dataTransfer: data }));
        """
        self.driver.execute_script(
            script, self.first(selector), file.name, b64encode(file.read_bytes()).decode(), event
        )

    def tap(self, element: WebElement) -> None:
        """Touch an element with a finger, and lift it."""
        self.driver.execute_script("arguments[0].scrollIntoView({ block: 'center' })", element)
        script = (
            "const box = arguments[0].getBoundingClientRect(); return [box.x + box.width / 2, box.y + box.height / 2]"
        )
        x, y = self.driver.execute_script(script, element)
        self.touch([(x, y)])
        self.touch([])

    def touch(self, fingers: Sequence[tuple[float, float]], event: str = "touchStart") -> None:
        """Put fingers at points of the page; none lifts them."""
        points = [{"x": x, "y": y, "id": number} for number, (x, y) in enumerate(fingers)]
        self._send("Input.dispatchTouchEvent", {"type": event if points else "touchEnd", "touchPoints": points})

    @contextmanager
    def in_theme(self, theme: str) -> Iterator[None]:
        """Show the page as a browser does that is set to "dark" or "light"."""
        self._send("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": theme}]})
        try:
            yield
        finally:
            self._send("Emulation.setEmulatedMedia", {"features": []})

    @contextmanager
    def of_size(self, width_px: int, height_px: int) -> Iterator[None]:
        """Show the page in a window of another size."""
        size = {"width": width_px, "height": height_px, "deviceScaleFactor": 1, "mobile": width_px < 600}
        self._send("Emulation.setDeviceMetricsOverride", size)
        self._send("Emulation.setTouchEmulationEnabled", {"enabled": size["mobile"]})
        try:
            yield
        finally:
            self._send("Emulation.setTouchEmulationEnabled", {"enabled": False})
            self._send("Emulation.clearDeviceMetricsOverride", {})

    def _send(self, command: str, parameters: dict[str, Any]) -> None:
        self.driver.execute_cdp_cmd(command, parameters)
