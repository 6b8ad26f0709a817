"""The page in Chromium, on a real daemon: what each key does, what is seen, and what becomes of the files."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageOps
from selenium.webdriver import ActionChains, Chrome

from tests import pictures
from tests.browser import TELEPHONE, WIDE, chromium, complaints, needs_chromium, running_page, visit
from tests.page_driver import PageDriver
from tests.process.daemon import Daemon, living
from tests.test_contract import put_map

pytestmark = [pytest.mark.process, needs_chromium]

MARKUP = "<img src=x onerror=document.title=1>.jpg"
REORDERED = "holiday\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe.jpg"
CUT_OFF = "cut off.jpg"
SIDES_PX = (960, 640)
BLACK_LEVEL = 6.0
"""Grey levels by which a crop, laid upon its original, may differ on average: it was saved as a JPEG in between."""


def write_album(album: Path) -> None:
    """Write pictures of which six have copies: a mirrored crop, equal bytes, smaller, lighter, odd names."""
    (album / "backup").mkdir()
    (album / "phone").mkdir()
    originals = [
        pictures.save(pictures.photograph(seed, SIDES_PX), album / f"photo-{seed}.jpg", quality=95) for seed in range(8)
    ]
    with Image.open(originals[0]) as image:
        width, height = image.size
        part = ImageOps.mirror(
            image.crop((round(width * 0.12), round(height * 0.1), round(width * 0.96), round(height * 0.92)))
        )
        part.save(album / "phone" / "mirrored.jpg", quality=92)
    shutil.copy2(originals[1], album / "backup" / "photo-1.jpg")
    pictures.resaved(originals[2], album / "phone" / "small.jpg", quality=80)
    pictures.save(pictures.brighter(pictures.load(originals[3])), album / "phone" / "lighter.jpg", quality=90)
    pictures.resaved(originals[4], album / "phone" / MARKUP, quality=80)
    pictures.resaved(originals[5], album / "phone" / REORDERED, quality=80)
    whole = (album / "photo-6.jpg").read_bytes()
    (album / "phone" / CUT_OFF).write_bytes(whole[: len(whole) // 2])
    for path in sorted(album.rglob("*.jpg")):
        os.utime(path, (1e9, 1e9))


GROUPS = 6

AXE = "axe-core@4.14.1"
NPM_TIMEOUT_S = 120.0


@pytest.fixture(scope="module")
def album_daemon() -> Iterator[Daemon]:
    """Give a daemon that knows the album's copies."""
    with living() as daemon:
        write_album(daemon.album)
        daemon.start()
        daemon.settle()
        yield daemon


@pytest.fixture(scope="module")
def address(album_daemon: Daemon) -> Iterator[str]:
    """Give the address of the page beside that daemon."""
    with running_page(album_daemon) as address:
        yield address


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Chrome]:
    """Give a browser for all tests; each has a tab of its own."""
    with chromium(tmp_path_factory.mktemp("browser"), WIDE) as browser:
        yield browser


@pytest.fixture
def page(browser: Chrome, address: str) -> PageDriver:
    """Give the queue in a fresh tab, with all groups there."""
    return opened(browser, address)


@pytest.fixture
def mapped(daemon: Daemon, browser: Chrome) -> Iterator[PageDriver]:
    """Give the queue of a daemon with a map, whose two dimensions are made from a seed."""
    write_album(daemon.album)
    daemon.start()
    daemon.settle()
    assert daemon.stop() == 0
    put_map(daemon.state)
    daemon.start()
    daemon.settle()
    with running_page(daemon) as address:
        yield opened(browser, address)
        # A page that is open asks on and on.
        browser.get("about:blank")


def opened(browser: Chrome, address: str) -> PageDriver:
    """Return the queue in a fresh tab, the only one, with its first groups there."""
    earlier = browser.window_handles
    browser.switch_to.new_window("tab")
    fresh = browser.current_window_handle
    # Each tab holds a stream, and Chromium opens six connections to an address at most.
    for handle in earlier:
        browser.switch_to.window(handle)
        browser.close()
    browser.switch_to.window(fresh)
    visit(browser, address)
    page = PageDriver(browser)
    page.until(lambda: len(page.all(".group:not(.waiting)")) >= 2)
    return page


def group_of(page: PageDriver, name: str) -> int:
    """Go to the group that has a file of this name, and return its number."""
    for number in range(1, GROUPS + 1):
        walk_to(page, number)
        if any(name in path for path in page.texts(".group.current .path")):
            return number
    raise AssertionError(f"{name} is in no group")


def walk_to(page: PageDriver, number: int) -> None:
    """Go to a group by the arrow keys."""

    def has_left(group: int) -> bool:
        return page.group() != group

    while page.group() != number:
        before = page.group()
        page.press("Down" if before < number else "Up")
        page.until(partial(has_left, before))


# -- the queue ---------------------------------------------------------------------------------------------------------


def test_the_queue_shows_what_is_kept_and_why(page: PageDriver) -> None:
    """Each group has its keeper with the reason, whole paths whose differing part stands out, and facts that differ."""
    group_of(page, "small.jpg")
    assert page.fates() == ["Keep", "To the trash"]
    assert "pixels" in page.texts(".group.current .why")[0]
    kept, small = page.texts(".group.current .path")
    assert kept.startswith("/")
    assert kept.endswith("/album/photo-2.jpg")
    assert page.texts(".group.current .path b") == ["photo-2", "phone/small"]
    assert "960 \N{MULTIPLICATION SIGN} 640" in page.texts(".group.current .facts li.better")[0]
    assert small.endswith("/phone/small.jpg")


def test_exact_and_copy_are_told_apart(page: PageDriver) -> None:
    """A group of equal bytes says so, and differs in no fact; a copy says what it is of the original."""
    group_of(page, "backup/photo-1.jpg")
    assert page.texts(".group.current .kind") == ["same bytes"]
    assert page.texts(".group.current .facts li") == []
    group_of(page, "mirrored.jpg")
    assert page.texts(".group.current .kind") == ["copy"]
    assert "mirrored" in page.texts(".group.current .words")[0]


def test_markup_and_reordering_in_names_are_shown_as_text(page: PageDriver) -> None:
    """A name with markup makes no element, and a mark that would turn letters round is shown by its name."""
    group_of(page, MARKUP)
    assert any(path.endswith(MARKUP) for path in page.texts(".group.current .path"))
    assert page.all(".path img") == []
    group_of(page, "gpj.exe")
    assert page.texts(".group.current .path .control") == ["RLO"]
    assert any("holidayRLOgpj.exe" in path for path in page.texts(".group.current .path"))


# -- keys --------------------------------------------------------------------------------------------------------------


def test_arrows_move_and_say_where_they_end(page: PageDriver) -> None:
    """Up and down change the group, left and right the picture; beyond the ends the page says why nothing happens."""
    page.press("Down")
    page.until(lambda: page.group() == 2)
    page.press("Up")
    page.until(lambda: page.group() == 1)
    page.press("Up")
    page.said("This is the first group.")
    page.press("Right")
    page.until(lambda: "chosen" in str(page.all(".group.current .tile")[1].get_attribute("class")))
    page.press("Right")
    page.said("This is the last picture.")


def test_enter_accepts_and_goes_on(page: PageDriver) -> None:
    """Enter puts the group into the plan, with the bytes that it frees, and goes to the next open group."""
    assert "Move 0 files" in page.plan()
    page.press("Enter")
    page.until(lambda: page.group() == 2)
    assert "Move 1 file to the trash" in page.plan()
    page.undo()
    page.said("Taken back: accepted")
    assert page.group() == 1
    assert "Move 0 files" in page.plan()


def test_a_held_enter_decides_on_one_group(page: PageDriver) -> None:
    """The repeats of a held key do nothing, also where a button has the focus."""
    page.hold("Enter")
    page.until(lambda: page.group() == 2)
    assert page.texts(".planbar .marked") == ["1 group marked"]
    page.driver.execute_script("document.querySelector('.group.current footer .main').focus()")
    page.hold("Enter")
    page.until(lambda: page.texts(".planbar .marked") == ["2 groups marked"])


def test_a_number_keeps_that_picture(page: PageDriver) -> None:
    """2 keeps the second picture, so that the first goes; a number without a picture says so."""
    page.press("2")
    page.until(lambda: page.group() == 2)
    page.press("Up")
    page.until(lambda: page.group() == 1)
    assert page.fates() == ["To the trash", "Keep"]
    page.press("9")
    page.said("There is no picture 9 here.")


def test_x_leaves_a_picture_out(page: PageDriver) -> None:
    """X lets the chosen picture stay, and again takes that back."""
    page.press("Right", "x")
    page.until(lambda: page.fates() == ["Keep", "Stays"])
    page.press("x")
    page.until(lambda: page.fates() == ["Keep", "To the trash"])


def test_k_keeps_all(page: PageDriver) -> None:
    """K lets all of a group stay and goes on; nothing enters the plan."""
    page.press("k")
    page.until(lambda: page.group() == 2)
    page.press("Up")
    page.until(lambda: page.fates() == ["Stays", "Stays"])
    assert "Move 0 files" in page.plan()


def test_n_is_remembered_for_good_and_can_be_taken_back(page: PageDriver, album_daemon: Daemon) -> None:
    """N writes the decision at once; Ctrl+Z deletes it."""
    page.press("n")
    page.until(lambda: page.group() == 2)
    page.until(lambda: album_daemon.run("decisions", "list").stdout)
    page.undo()
    page.until(lambda: not album_daemon.run("decisions", "list").stdout)


def test_no_key_acts_in_a_text_field(page: PageDriver) -> None:
    """/ goes to the folder's field, where letters are letters; Escape leaves it."""
    page.press("/")
    field = page.until(lambda: page.driver.execute_script("return document.activeElement.closest('input[type=text]')"))
    page.press("n", "x", "1")
    assert field.get_attribute("value") == "nx1"
    assert page.group() == 1
    page.press("Escape")
    assert page.texts(".planbar .marked") == ["nothing marked"]


def test_a_question_mark_lists_the_keys(page: PageDriver) -> None:
    """? shows every key with what it does; Escape closes the list."""
    page.press("?")
    listed = page.until(lambda: page.texts("dialog .keys kbd"))
    assert {"↑ ↓", "← →", "1 \N{EN DASH} 9", "Enter", "X", "K", "N", "C", "Ctrl Z", "/", "?"} <= set(listed)
    page.press("Escape")
    page.until(lambda: not page.all("dialog"))


# -- the plan ----------------------------------------------------------------------------------------------------------


def test_the_plan_is_applied_by_the_trash_and_undone(page: PageDriver, album_daemon: Daemon) -> None:
    """One button moves what is marked to the trash; Ctrl+Z brings every file back."""
    group_of(page, "small.jpg")
    small = album_daemon.album / "phone" / "small.jpg"
    page.press("Enter")
    page.until(lambda: "Move 1 file to the trash" in page.plan())
    page.click(".planbar .apply")
    page.said("1 file moved to the trash")
    assert not small.exists()
    page.undo()
    page.until(small.exists)


def test_a_rule_keeps_what_lies_below_a_folder(page: PageDriver, album_daemon: Daemon) -> None:
    """A rule marks every open group that has images below the folder and beside it, as one step."""
    page.click(".filters summary")
    fields = page.all(".filters details input[type=text]")
    fields[1].send_keys(str(album_daemon.album / "phone"))
    page.all(".filters details form button")[1].click()
    page.said("5 groups marked")
    assert page.texts(".planbar .marked") == ["5 groups marked"]
    group_of(page, "mirrored.jpg")
    assert page.fates() == ["To the trash", "Keep"]
    page.undo()
    page.until(lambda: page.texts(".planbar .marked") == ["nothing marked"])


def test_marks_outlive_a_reload(page: PageDriver) -> None:
    """What was marked is there after the page was loaded again."""
    page.press("Enter")
    page.until(lambda: page.group() == 2)
    page.driver.refresh()
    page.until(lambda: page.texts(".planbar .marked") == ["1 group marked"])


# -- comparing ---------------------------------------------------------------------------------------------------------


def compare(page: PageDriver, name: str) -> None:
    """Open the comparison of the group of a file, and wait until the copy lies upon the original."""
    group_of(page, name)
    page.press("c")
    page.until(lambda: any("· aligned" in text for text in page.texts(".compare .notes")))
    page.until(lambda: all(ready(page)))


def ready(page: PageDriver) -> list[bool]:
    """Return, for each picture of the comparison, whether it is drawn."""
    script = (
        "return [...document.querySelectorAll('.layer')].map((image) => image.complete && image.naturalWidth > 256)"
    )
    there: list[bool] = page.driver.execute_script(script)
    return there


def test_a_mirrored_crop_lies_upon_its_original(page: PageDriver) -> None:
    """The difference of the two is black within the crop's outline, and is not when they are not aligned."""
    compare(page, "mirrored.jpg")
    assert "aligned, mirrored" in page.texts(".compare .notes")[0]
    page.press("d")
    page.first(".stage.difference")
    aligned = float(np.mean(page.pixels(".stage .pane")))
    assert aligned < BLACK_LEVEL
    assert page.all(".outline polygon")
    page.press("a")
    page.until(lambda: not page.all(".outline polygon"))
    assert float(np.mean(page.pixels(".stage .pane"))) > 3 * aligned


def test_b_flips_in_place(page: PageDriver) -> None:
    """B shows the one and the other picture at the same place; aligned, they hardly differ."""
    compare(page, "mirrored.jpg")
    tags, seen = page.texts(".tag"), page.pixels(".stage .pane")
    page.press("b")
    page.until(lambda: page.texts(".tag") == ["copy"])
    assert tags == ["kept"]
    flipped = page.pixels(".stage .pane")
    middle = np.s_[seen.shape[0] // 3 : -seen.shape[0] // 3, seen.shape[1] // 3 : -seen.shape[1] // 3]
    assert float(np.mean(np.abs(seen[middle] - flipped[middle]))) < BLACK_LEVEL
    assert np.any(seen != flipped)


def test_side_by_side_zooms_and_pans_both(page: PageDriver) -> None:
    """Side by side, + zooms both panes to the same place; 0 shows all again, and - then says why it does not act."""
    compare(page, "small.jpg")
    page.press("s")
    page.first(".stage.side")

    def transforms() -> list[str | None]:
        return [image.get_attribute("style") for image in page.all(".layer")]

    before = transforms()
    page.press("+")
    page.until(lambda: all(now != then for now, then in zip(transforms(), before, strict=True)))
    page.press("0")
    page.until(lambda: transforms() == before)
    page.press("-")
    page.said("All of it is in sight.")
    page.press("p")
    page.until(lambda: transforms() != before)


def test_a_verdict_inside_the_comparison_goes_on(page: PageDriver) -> None:
    """Enter decides and shows the next open group, without leaving the comparison."""
    page.press("c")
    page.first(".compare")
    page.press("Enter")
    page.until(lambda: "group 2 of" in page.texts(".compare .notes")[0])
    page.press("Escape")
    page.until(lambda: not page.all(".compare"))
    assert page.group() == 2
    assert page.texts(".planbar .marked") == ["1 group marked"]


def test_u_says_of_two_that_n_is_meant(page: PageDriver) -> None:
    """A key that cannot act says why: of two pictures there are no others."""
    page.press("c")
    page.first(".compare")
    page.press("u")
    page.said("There are only two")


# -- the other rooms ---------------------------------------------------------------------------------------------------


def test_a_picture_can_be_asked_about(page: PageDriver, album_daemon: Daemon) -> None:
    """A chosen file is answered with its matches, and the answer of an indexed one has an address of its own."""
    page.open("ask")
    page.first("input[type=file]").send_keys(str(album_daemon.album / "phone" / "mirrored.jpg"))
    page.until(lambda: page.all(".match"))
    assert any(path.endswith("/photo-0.jpg") for path in page.texts(".match .path"))
    assert "mirrored" in "".join(page.texts(".match.copy .words"))
    page.click(".asked figcaption a")
    page.until(lambda: "#/ask/" in page.driver.current_url)
    page.until(lambda: page.all(".match.exact"))


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_a_picture_can_be_dropped_and_pasted(page: PageDriver, album_daemon: Daemon, event: str) -> None:
    """What is dropped on the page or pasted into it is answered as what is chosen."""
    page.open("ask")
    page.drop("main.ask", album_daemon.album / "phone" / "small.jpg", event)
    page.until(lambda: page.all(".match.exact"))
    assert any(path.endswith("/photo-2.jpg") for path in page.texts(".match.copy .path"))


def test_an_answer_has_an_address(page: PageDriver, album_daemon: Daemon, address: str, browser: Chrome) -> None:
    """The link of an answer opens in another tab: by the digest alone, and by a digest of nothing it says so."""
    page.open("ask")
    page.first("input[type=file]").send_keys(str(album_daemon.album / "phone" / "small.jpg"))
    link = page.first(".asked figcaption a").get_attribute("href")
    assert link is not None
    room = link.partition("#")[2]
    browser.switch_to.new_window("tab")
    visit(browser, address + room)
    page.until(lambda: page.all(".match.exact"))
    assert any(path.endswith("/small.jpg") for path in page.texts(".match.exact .path"))
    page.open(f"ask/{'0' * 64}")
    page.said("no indexed file has this digest")


def test_what_is_there_of_an_unreadable_file_is_shown(page: PageDriver) -> None:
    """Its upper half is a picture; the reason stands beside it, and the whole path."""
    page.open("state")
    page.until(lambda: any(path.endswith(f"/{CUT_OFF}") for path in page.texts(".errors .path")))
    assert page.texts(".errors .state") == ["truncated"]
    drawn = page.first(".errors .remains img")
    page.until(lambda: page.driver.execute_script("return arguments[0].naturalWidth", drawn))
    shown = page.pixels(".errors .remains img")
    middle = slice(shown.shape[1] // 4, -shown.shape[1] // 4)
    assert np.std(shown[8:20, middle]) > BLACK_LEVEL
    assert np.std(shown[-12:-4, middle]) < BLACK_LEVEL / 2


def test_a_decision_is_taken_back_on_the_page_of_the_state(page: PageDriver, album_daemon: Daemon) -> None:
    """The button beside it deletes it."""
    page.press("n")
    page.until(lambda: album_daemon.run("decisions", "list").stdout)
    page.open("state")
    page.click(".decisions button")
    page.said("may be duplicates again")
    assert not album_daemon.run("decisions", "list").stdout
    page.until(lambda: not page.all(".decisions li"))


def test_a_run_is_taken_back_on_the_page_of_the_state(page: PageDriver, album_daemon: Daemon) -> None:
    """One file of it by the button beside the file, then the rest by the one beside the run."""
    page.press("Enter")
    page.until(lambda: page.group() == 2)
    page.press("Enter")
    page.until(lambda: "Move 2 files to the trash" in page.plan())
    page.click(".planbar .apply")
    page.said("2 files moved to the trash")
    files = list(album_daemon.album.rglob("*.jpg"))
    page.open("state")
    page.first(".runs > li [aria-expanded]").click()
    page.first(".runs .tasks button").click()
    page.said("It came back.")
    assert len(list(album_daemon.album.rglob("*.jpg"))) == len(files) + 1
    page.driver.execute_script("document.querySelector('.runs > li > button:not([aria-expanded])').click()")
    page.said("2 files came back")
    assert len(list(album_daemon.album.rglob("*.jpg"))) == len(files) + 2


def test_an_image_is_found_by_its_name_on_the_map(mapped: PageDriver) -> None:
    """/ goes to the field; words of the path list images, one of which is shown at its place; nonsense is refused."""
    page = mapped
    page.open("map")
    page.first(".plane")
    page.press("/")
    field = page.until(
        lambda: page.driver.execute_script("return document.activeElement.closest('input[type=search]')")
    )
    field.send_keys("PHONE mirr")
    page.press("Enter")
    listed = page.until(lambda: page.texts(".map .card.list li .path"))
    assert [path.rpartition("/")[2] for path in listed] == ["mirrored.jpg"]
    page.first(".map .card.list li a").click()
    page.until(lambda: any(path.endswith("/mirrored.jpg") for path in page.texts(".map .card:not(.list) .path")))
    field.send_keys(" nonsense")
    page.press("Enter")
    page.said("No image has PHONE mirr nonsense in its path.")


def test_the_map_follows_the_hand(mapped: PageDriver) -> None:
    """What is dragged by so many pixels lies so many pixels on, also beyond what was painted, and back as before."""
    page = mapped
    page.open("map")
    plane = page.first(".plane")
    page.press(*"++++++++")
    seen = at_rest(page)
    assert np.std(seen) > BLACK_LEVEL
    way = 290
    for across, down in ((way, 0), (0, way), (-way, 0), (0, -way)):
        before = at_rest(page)
        ActionChains(page.driver).drag_and_drop_by_offset(plane, across, down).perform()
        after = at_rest(page)
        assert apart(np.roll(before, (down, across), (0, 1)), after) < A_LEVEL
        assert apart(np.roll(before, (down, across - 1), (0, 1)), after) > A_LEVEL
    assert apart(at_rest(page), seen) < A_LEVEL


MIDDLE_PX = 300
BAND = (slice(MIDDLE_PX, -MIDDLE_PX), slice(MIDDLE_PX, -MIDDLE_PX))
"""What of the map was in sight before and after it was dragged, and has nothing lying on it."""

A_LEVEL = 0.5
"""Grey levels by which a tile that is drawn in two strips may differ on average from one that is drawn at once."""


def apart(sight: NDArray[np.int16], later: NDArray[np.int16]) -> float:
    """Return by how much two sights of the map differ, in grey levels on average."""
    return float(np.abs(sight[BAND] - later[BAND]).mean())


def at_rest(page: PageDriver) -> NDArray[np.int16]:
    """Return what is seen of the map, once nothing changes any more."""

    def still() -> list[NDArray[np.int16]]:
        before = page.pixels(".plane")
        return [before] if all(np.array_equal(page.pixels(".plane"), before) for _ in range(3)) else []

    return page.until(still)[0]


def test_an_image_is_shown_on_the_map(mapped: PageDriver) -> None:
    """M goes to the map, where the image is looked at; Escape closes it."""
    page = mapped
    group_of(page, "small.jpg")
    page.press("m")
    page.until(lambda: any(path.endswith("/photo-2.jpg") for path in page.texts(".map .card .path")))
    page.press("Escape")
    page.until(lambda: not page.all(".map .card"))


def test_a_copy_in_the_comparison_is_shown_on_the_map(mapped: PageDriver) -> None:
    """M goes to the copy, a link below each of the two to that one."""
    page = mapped
    group_of(page, "small.jpg")
    page.press("c")
    page.until(lambda: len(page.all(".compare .about a")) == 2)
    page.press("m")
    page.until(lambda: any(path.endswith("/small.jpg") for path in page.texts(".map .card .path")))


def looked_at(page: PageDriver, path: str) -> None:
    """Wait until the map shows the image of a file."""
    page.until(lambda: path in page.texts(".map .card:not(.list) .path"))


def test_a_decision_leads_to_the_map(mapped: PageDriver) -> None:
    """Each of the two images of a decision has a link to its place."""
    page = mapped
    group_of(page, "small.jpg")
    page.press("n")
    for number in (0, 1):
        page.open("state")
        page.until(lambda: len(page.all(".decisions .of a")) == 2)
        path = page.texts(".decisions .of .path")[number]
        page.all(".decisions .of a")[number].click()
        looked_at(page, path)


def test_a_run_leads_to_the_map(mapped: PageDriver) -> None:
    """A file in the trash has a link to the image that was kept; one that came back to its own place."""
    page = mapped
    group_of(page, "small.jpg")
    kept = next(path for path in page.texts(".group.current .path") if path.endswith("/photo-2.jpg"))
    page.press("Enter")
    page.until(lambda: "Move 1 file to the trash" in page.plan())
    page.click(".planbar .apply")
    page.said("1 file moved to the trash")
    page.open("state")
    page.click(".runs > li [aria-expanded]")
    page.until(lambda: page.texts(".runs .tasks a") == ["The kept image on the map"])
    page.click(".runs .tasks a")
    looked_at(page, kept)
    page.open("state")
    page.click(".runs > li [aria-expanded]")
    page.click(".runs .tasks button")
    page.said("It came back.")
    page.until(lambda: page.texts(".runs .tasks a") == ["On the map"])


def test_a_line_around_images_marks_their_duplicates(mapped: PageDriver) -> None:
    """The lasso lists what it holds; marking puts the open groups of these into the plan of the queue."""
    page = mapped
    page.open("map")
    page.first(".plane")
    page.press("l")
    page.draw_around_all()
    listed = page.until(lambda: page.texts(".map .card.list li .path"))
    assert any(path.endswith("/mirrored.jpg") for path in listed)
    page.click(".map .card .tools button")
    page.said(f"{GROUPS} groups marked")
    page.open("duplicates")
    page.until(lambda: page.texts(".planbar .marked") == [f"{GROUPS} groups marked"])


def test_alerts_come_by_themselves(daemon: Daemon, browser: Chrome) -> None:
    """A new file that copies an old one appears on the page of the state without being asked for."""
    (old,) = pictures.write_album(daemon.album, 1)
    daemon.start()
    daemon.settle()
    with running_page(daemon) as address:
        browser.switch_to.new_window("tab")
        visit(browser, address)
        page = PageDriver(browser)
        page.open("state")
        page.until(lambda: "Ready" in page.first(".see h2").text.title())
        pictures.resaved(old, daemon.album / "again.jpg", quality=70)
        page.until(lambda: any(path.endswith("/again.jpg") for path in page.texts(".alert .path")))
        # A page that is open asks on and on.
        browser.get("about:blank")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("room", ["duplicates", "ask", "map", "state"])
def test_axe_finds_nothing_serious(page: PageDriver, axe: str, room: str, theme: str) -> None:
    """Roles, labels, contrast and focus are in order, in each room and theme."""
    with page.in_theme(theme):
        page.open(room)
        page.until(lambda: not page.all("main [aria-busy]"))
        assert serious(page, axe) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_what_was_decided(page: PageDriver, axe: str, theme: str) -> None:
    """The same holds for groups with a verdict, whose pictures and words are fainter."""
    with page.in_theme(theme):
        page.press("Enter", "k")
        page.until(lambda: page.all(".group .verdict.kept"))
        assert serious(page, axe) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_dialogs(page: PageDriver, axe: str, theme: str) -> None:
    """The same holds for the comparison and the list of keys."""
    with page.in_theme(theme):
        page.press("c")
        page.first(".compare")
        assert serious(page, axe) == []
        page.press("?")
        page.first("dialog.sheet")
        assert serious(page, axe) == []


@pytest.fixture(scope="module")
def axe(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Give the script of axe-core, which npm installs."""
    if shutil.which("npm") is None:
        pytest.skip("npm is missing")
    folder = tmp_path_factory.mktemp("axe")
    command = ["npm", "install", "--prefix", str(folder), "--no-audit", "--no-fund", "--fetch-retries", "0", AXE]
    done = subprocess.run(command, capture_output=True, text=True, timeout=NPM_TIMEOUT_S, check=False)  # noqa: S603 -- npm, wherever it is
    if done.returncode:
        pytest.skip(f"npm cannot install {AXE}")
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text()


def serious(page: PageDriver, axe: str) -> list[str]:
    """Return what axe-core calls serious or critical."""
    page.driver.execute_script(axe)
    script = "const done = arguments[0]; axe.run().then((result) => done(result.violations))"
    violations = page.driver.execute_async_script(script)
    return [
        f"{found['id']}: {found['nodes'][0]['html']}"
        for found in violations
        if found["impact"] in ("serious", "critical")
    ]


@pytest.mark.parametrize("room", ["duplicates", "ask", "map", "state"])
def test_a_telephone_is_wide_enough(page: PageDriver, room: str) -> None:
    """At 360 pixels nothing reaches beyond the page."""
    with page.of_size(360, 740):
        page.open(room)
        page.until(lambda: not page.all("main [aria-busy]"))
        width = page.driver.execute_script("return document.documentElement.scrollWidth")
    assert width <= 360


def test_a_finger_decides(page: PageDriver) -> None:
    """On a telephone a tap accepts a group, opens the comparison, and a mode of it; two fingers zoom there."""
    with page.of_size(*TELEPHONE):
        page.tap(page.first(".group.current footer .main"))
        page.until(lambda: page.group() == 2)
        page.tap(page.first(".group.current .thumb"))
        page.until(lambda: all(ready(page)) and len(ready(page)) == 2)
        layers = page.all(".compare .layer")
        before = [layer.get_attribute("style") for layer in layers]
        middle = 300.0
        page.touch([(150.0, middle), (200.0, middle)])
        page.touch([(100.0, middle), (280.0, middle)], "touchMove")
        page.touch([])
        page.until(lambda: [layer.get_attribute("style") for layer in layers] != before)


def test_nothing_comes_from_elsewhere(page: PageDriver) -> None:
    """All that the page loads comes from its own address."""
    for room in ("ask", "map", "state"):
        page.open(room)
        page.until(lambda: not page.all("main [aria-busy]"))
    loaded = page.driver.execute_script("return performance.getEntriesByType('resource').map((entry) => entry.name)")
    origin = page.driver.execute_script("return location.origin")
    assert loaded
    assert [name for name in loaded if not name.startswith((origin, f"blob:{origin}"))] == []


def test_nothing_is_refused_by_the_page_s_own_policy(page: PageDriver) -> None:
    """The browser reports no violation of the content security policy and no other fault of the page."""
    page.press("c", "s", "d", "v", "b", "Escape")
    for room in ("ask", "map", "state"):
        page.open(room)
        page.until(lambda: not page.all("main [aria-busy]"))
    faults = [line for line in complaints(page.driver) if "Failed to load resource" not in line]
    assert faults == []
