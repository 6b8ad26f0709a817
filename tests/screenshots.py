"""Draws the pictures of the page that the README shows: `python -m tests.screenshots`.

In: the photograph of a temple that comes with scikit-learn, copies of it, and photographs made by code, in an album of
a real daemon.  Out: `page-queue.png` and `page-compare.png` in the folder of the documents.
"""

from __future__ import annotations

import io
import shutil
from pathlib import Path

from PIL import Image, ImageOps
from selenium.webdriver import Chrome
from sklearn.datasets import load_sample_image

from tests import pictures
from tests.browser import chromium, running_page, visit
from tests.manual import DOCS
from tests.page_driver import PageDriver
from tests.process.daemon import Daemon, living

SIZE_PX = (1180, 640)
COLOURS = 128
SHOWN_AS = "/home/me/Pictures"

NAMED = """
const [from, to] = arguments;
for (const path of document.querySelectorAll(".path")) {
  const texts = document.createTreeWalker(path, NodeFilter.SHOW_TEXT);
  for (let rest = path.textContent.startsWith(from) ? from.length : 0, put = to; rest && texts.nextNode(); put = "") {
    const { data } = texts.currentNode;
    texts.currentNode.data = put + data.slice(rest);
    rest = Math.max(0, rest - data.length);
  }
}
"""
"""Writes another folder in place of that of the album, which is a temporary one.  A path is in several pieces."""


def write_album(album: Path) -> None:
    """Write the temple, two copies of it, and three pairs of photographs."""
    for folder in ("2023", "2024", "Phone/received"):
        (album / folder).mkdir(parents=True)
    temple = Image.fromarray(load_sample_image("china.jpg"))
    temple = temple.resize((3 * temple.width, 3 * temple.height), Image.Resampling.LANCZOS)
    temple.save(album / "2023" / "temple.jpg", quality=92)
    temple.resize((temple.width // 2, temple.height // 2)).save(
        album / "Phone" / "received" / "temple-small.jpg", quality=80
    )
    part = ImageOps.mirror(temple.crop((264, 100, 1800, 1150))).resize((1200, 820))
    part.save(album / "Phone" / "received" / "IMG-20240311-WA0007.jpg", quality=85)
    for path in pictures.write_album(album / "2024", 3):
        shutil.copy2(path, album / "Phone" / path.name)


def shot(browser: Chrome, daemon: Daemon, name: str) -> None:
    """Write what is seen, in few colours."""
    browser.execute_script(NAMED, str(daemon.album), SHOWN_AS)
    with Image.open(io.BytesIO(browser.get_screenshot_as_png())) as seen:
        few = seen.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    few.save(DOCS / name, optimize=True)


def are_drawn(page: PageDriver, selector: str, side_px: int) -> bool:
    """Return whether all pictures that match are there, in more than so many pixels of width."""
    script = "return [...document.querySelectorAll(arguments[0])].map((image) => image.complete && image.naturalWidth)"
    widths = page.driver.execute_script(script, selector)
    return bool(widths) and all(width and width > side_px for width in widths)


def draw() -> None:
    """Draw both pictures."""
    with living() as daemon:
        write_album(daemon.album)
        daemon.start()
        daemon.settle()
        with running_page(daemon) as address, chromium(daemon.home) as browser:
            page = PageDriver(browser)
            with page.of_size(*SIZE_PX):
                visit(browser, address)
                page.until(lambda: any("temple.jpg" in path for path in page.texts(".group.current .path")))
                page.until(lambda: are_drawn(page, ".group.current img", 0))
                shot(browser, daemon, "page-queue.png")
                page.press("Right", "Right", "c", "s")
                page.until(lambda: any("aligned, mirrored" in text for text in page.texts(".compare .notes")))
                page.until(lambda: are_drawn(page, ".layer", 256))
                shot(browser, daemon, "page-compare.png")


if __name__ == "__main__":
    draw()
