"""The page in Chromium beside a daemon of pictures and texts: whose map is shown, and two texts beside each other."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from selenium.webdriver.support.select import Select

from cbir_daemon.text.medium import TEXTS
from tests.browser import WIDE, chromium, complaints, needs_chromium, running_page, visit
from tests.page_driver import PageDriver
from tests.pictures import photograph, save
from tests.process.daemon import living
from tests.test_contract import put_map
from tests.texts import prose, web_page

pytestmark = [pytest.mark.process, pytest.mark.in_order, needs_chromium]

PICTURES = 5
TEXTS_AND_COPY = 3
WORDS = 300
LESS = 60
"""Words that the web page lacks."""
DRAWN_DEVIATION = 2.0
"""Grey levels by which pixels of a text that is drawn differ at least: nothing is drawn on one colour."""


def write_album(album: Path) -> None:
    """Write five pictures, two texts and a web page of one of them."""
    for seed in range(PICTURES):
        save(photograph(seed), album / f"photo-{seed}.png")
    for seed in range(2):
        (album / f"text-{seed}.txt").write_text(prose(seed, WORDS))
    (album / "copy.html").write_bytes(web_page(prose(1, WORDS - LESS)))


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PageDriver]:
    """Give the page of a daemon with a map of pictures and one of texts."""
    with living() as daemon, chromium(tmp_path_factory.mktemp("browser"), WIDE) as browser:
        daemon.config.write_text('media = ["image", "text"]\n' + daemon.config.read_text())
        write_album(daemon.album)
        daemon.start()
        daemon.settle()
        assert daemon.stop() == 0
        put_map(daemon.state)
        put_map(daemon.state, "text", next(iter(TEXTS.spaces.values())).version)
        daemon.start()
        daemon.settle()
        with running_page(daemon) as address:
            visit(browser, address)
            yield PageDriver(browser)
            # A page that is open asks on and on.
            browser.get("about:blank")


def shown_on_the_map(page: PageDriver) -> set[str]:
    """Draw a line around all that the map shows, and return the names of the files that are listed then."""
    page.click(".map .controls button")
    page.draw_around_all()
    return {path.rpartition("/")[2] for path in page.until(lambda: page.texts(".map .card.list li .path"))}


def test_the_map_of_a_medium_is_chosen(page: PageDriver) -> None:
    """First the map of the pictures is shown; the list has both media, and shows the texts' once they are chosen."""
    page.open("map")
    page.first(f".plane[aria-label^='Map of {PICTURES} images']")
    assert shown_on_the_map(page) == {f"photo-{seed}.png" for seed in range(PICTURES)}
    page.press("Escape")
    choice = Select(page.first(".map .medium select"))
    assert [option.text for option in choice.options] == ["image", "text"]
    choice.select_by_visible_text("text")
    page.first(f".plane[aria-label^='Map of {TEXTS_AND_COPY} images']")
    assert shown_on_the_map(page) == {"text-0.txt", "text-1.txt", "copy.html"}
    page.press("Escape")
    assert page.first(".map .medium select").get_attribute("value") == "text"


def test_two_texts_are_compared(page: PageDriver) -> None:
    """Both are drawn, with their paths and words, and none is laid upon the other, which key A says."""
    page.open("duplicates")
    page.first(".group.current")
    page.press("c")
    page.until(lambda: any("how they lie on each other is not known" in text for text in page.texts(".compare .notes")))
    layers = page.all(".compare .layer")
    assert len(layers) == 2
    page.until(lambda: all(layer.get_property("complete") and layer.get_property("naturalWidth") for layer in layers))
    page.press("s")
    page.first(".stage.side")
    assert page.pixels(".stage").std() > DRAWN_DEVIATION
    assert [path.rpartition("/")[2] for path in page.texts(".compare .where .path")] == ["text-1.txt", "copy.html"]
    lengths = [fact for fact in page.texts(".compare .facts li") if fact.endswith(" words")]
    assert lengths == [f"{WORDS} words", f"{WORDS - LESS} words"]
    page.press("a")
    page.said("How they lie on each other is not known.")
    faults = [line for line in complaints(page.driver) if "Failed to load resource" not in line]
    assert faults == []
