"""A walk says what is there now: every image file, no link, nothing that is excluded, and what it could not see."""

from __future__ import annotations

import os
import shutil
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from cbir_daemon.config import WatchConfig
from cbir_daemon.records import FileState
from cbir_daemon.watching import walk
from cbir_daemon.watching.walk import YOUNG_NS, Filter, Found
from tests.rights import open_folder, ordinary_user

__all__ = ["open_folder"]

SUFFIXES = (".jpg", ".png")
RULES = Filter(WatchConfig().exclude, SUFFIXES)


def write(root: Path, *names: str | bytes) -> None:
    """Make files, and the folders that they lie in."""
    for name in names:
        path = root / os.fsdecode(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def walked(root: Path, below: bytes = b"", rules: Filter = RULES) -> Found:
    return walk.walk(os.fsencode(root), below, rules)


def test_every_image_file_is_found_with_its_state(tmp_path: Path) -> None:
    """In folders of any depth, whatever their names are made of."""
    names = [b"a.jpg", b"b/c/d.PNG", b"new\nline.jpg", b"\xff\xfe/\xfd.jpg", "Grüße 🏖.jpg".encode(), b"two.dots.jpg"]
    write(tmp_path, *names)
    found = walked(tmp_path)
    assert set(found.files) == set(names)
    assert found.unreadable == ()
    status = (tmp_path / "a.jpg").stat()
    assert found.files[b"a.jpg"] == FileState(status.st_size, status.st_mtime_ns, status.st_ino)
    assert found.files[b"a.jpg"].device == status.st_dev


def test_what_is_no_image_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Other suffixes, no suffix, only a suffix, folders with a suffix, links, pipes and sockets."""
    write(tmp_path, "a.txt", "jpg", "a.jpg.part", "folder.jpg/inside.jpg", "folder.jpg/inside.txt", "real.jpg")
    (tmp_path / "link.jpg").symlink_to("real.jpg")
    (tmp_path / "dangling.jpg").symlink_to("nowhere.jpg")
    (tmp_path / "loop").symlink_to(".", target_is_directory=True)
    os.mkfifo(tmp_path / "pipe.jpg")
    with socket.socket(socket.AF_UNIX) as listener:
        # Socket paths end at 107 bytes.
        monkeypatch.chdir(tmp_path)
        listener.bind("socket.jpg")
        assert set(walked(tmp_path).files) == {b"real.jpg", b"folder.jpg/inside.jpg"}


def test_excluded_names_are_left_out_with_all_below_them(tmp_path: Path) -> None:
    """The defaults: hidden names, thumbnails and wastebaskets of NAS systems."""
    write(tmp_path, ".hidden.jpg", ".git/a.jpg", "@eaDir/a.jpg", "x/#recycle/y/a.jpg", "x/lost+found/a.jpg")
    write(tmp_path, ".Trash-1000/a.jpg", "$RECYCLE.BIN/a.jpg", "x/kept.jpg", "recycle/kept.jpg", "a@eaDir/kept.jpg")
    found = walked(tmp_path)
    assert set(found.files) == {b"x/kept.jpg", b"recycle/kept.jpg", b"a@eaDir/kept.jpg"}


def test_a_walk_and_a_single_look_agree_on_what_is_excluded(tmp_path: Path) -> None:
    """A path is excluded when any folder on its way is, however it was noticed."""
    rules = Filter(("raw*", "trip/draft", "*.tmp.jpg"), SUFFIXES)
    names = ["a.jpg", "raw/a.jpg", "x/rawest/a.jpg", "trip/draft/a.jpg", "other/trip/draft/a.jpg", "a.tmp.jpg"]
    write(tmp_path, *names, "trip/drafts/a.jpg", "Raw/a.jpg")
    found = walked(tmp_path, rules=rules)
    assert set(found.files) == {b"a.jpg", b"other/trip/draft/a.jpg", b"trip/drafts/a.jpg", b"Raw/a.jpg"}
    for name in map(os.fsencode, names):
        assert rules.excludes(name) == (name not in found.files)


def test_no_globs_exclude_nothing() -> None:
    """Not even the empty name."""
    rules = Filter((), SUFFIXES)
    assert not rules.excludes(b".git/a.jpg")
    assert not rules.excludes(b"")


@pytest.mark.parametrize(
    ("name", "is_image"),
    [(b"a.jpg", True), (b"b/a.JPG", True), (b".jpg", False), (b"b/.jpg", False), (b"a.jpg/b", False), (b"jpg", False)],
)
def test_an_image_has_a_name_and_a_suffix(name: bytes, is_image: bool) -> None:
    """Of the last part of its path."""
    assert RULES.is_image_name(name) is is_image


def test_a_walk_may_begin_below(tmp_path: Path) -> None:
    """Paths stay relative to the album."""
    write(tmp_path, "a.jpg", "trip/b.jpg", "trip/day/c.jpg", "trip2/d.jpg")
    assert set(walked(tmp_path, b"trip").files) == {b"trip/b.jpg", b"trip/day/c.jpg"}


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_folder_that_cannot_be_read_hides_what_lies_below(open_folder: Path, mode: int) -> None:
    """Closed, or one that gives its names and nothing else, or lets through and does not list."""
    write(open_folder, "a.jpg", "closed/b.jpg", "closed/deep/c.jpg", "closed2/d.jpg")
    (open_folder / "closed").chmod(mode)
    with ordinary_user():
        found = walked(open_folder)
    assert set(found.files) == {b"a.jpg", b"closed2/d.jpg"}
    assert found.unreadable[0] == b"closed"
    assert found.hides(b"closed/b.jpg")
    assert found.hides(b"closed/deep/c.jpg")
    assert not found.hides(b"closed2/d.jpg")
    assert not found.hides(b"closed")


@pytest.mark.parametrize("make", [lambda path: None, Path.touch], ids=["nothing", "a file"])
def test_a_root_that_is_no_folder_hides_everything(tmp_path: Path, make: Callable[[Path], object]) -> None:
    """What lay in it is not known to be gone."""
    root = tmp_path / "album"
    make(root)
    found = walked(root)
    assert (found.files, found.unreadable) == ({}, (b"",))
    assert found.hides(b"a.jpg")


def test_the_state_at_a_path(tmp_path: Path) -> None:
    """None for everything that is no regular file, also below what is no folder."""
    write(tmp_path, "a.jpg")
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    root = os.fsencode(tmp_path)
    assert walk.state_at(root + b"/a.jpg") is not None
    for name in (b"absent.jpg", b"link.jpg", b"", b"a.jpg/below.jpg", b"absent/below.jpg"):
        assert walk.state_at(root + b"/" + name) is None
    assert walk.is_folder(root)
    assert not walk.is_folder(root + b"/a.jpg")
    assert not walk.is_folder(root + b"/absent")


def test_a_state_that_cannot_be_known_is_an_error(open_folder: Path) -> None:
    """It must not be taken for a file that is gone."""
    write(open_folder, "closed/a.jpg")
    (open_folder / "closed").chmod(0)
    with ordinary_user(), pytest.raises(PermissionError):
        walk.state_at(os.fsencode(open_folder) + b"/closed/a.jpg")


def test_an_empty_root_is_told_from_one_with_entries(tmp_path: Path) -> None:
    """Anything counts as an entry; what cannot be listed has none."""
    root = os.fsencode(tmp_path)
    assert not walk.has_entries(root)
    assert not walk.has_entries(root + b"/absent")
    write(tmp_path, ".hidden")
    assert walk.has_entries(root)


def test_paths_are_joined_without_a_stray_slash() -> None:
    """Either part may be empty."""
    assert walk.joined(b"/a", b"b") == b"/a/b"
    assert walk.joined(b"/a", b"") == b"/a"
    assert walk.joined(b"", b"b") == b"b"


# Looking only at folders.

LATER_NS = time.time_ns() + 10 * YOUNG_NS
"""A time at which nothing that a test writes is young any more."""


def settled(root: Path) -> Found:
    """Walk an album in which nothing was written for long."""
    return walk.walk(os.fsencode(root), b"", RULES, now_ns=LATER_NS)


def look(root: Path, before: Found, within: Callable[[bytes], bool] | None = None, now_ns: int = LATER_NS) -> Found:
    return walk.look(os.fsencode(root), before.folders, RULES, within=within, now_ns=now_ns)


def test_where_nothing_came_or_went_nothing_is_listed(tmp_path: Path) -> None:
    """Every folder is known on, and no file is looked at."""
    write(tmp_path, "a.jpg", "trip/b.jpg", "trip/day/c.jpg", "empty/x.txt")
    before = settled(tmp_path)
    assert before.folders.keys() == {b"", b"trip", b"trip/day", b"empty"}
    found = look(tmp_path, before)
    assert (found.files, found.listed, found.unreadable) == ({}, frozenset(), ())
    assert found.folders == before.folders
    assert not found.would_have(b"a.jpg")


def touch(path: Path) -> None:
    """Set a folder's mtime to what it never had: two writes in one tick of the kernel's clock look like one."""
    os.utime(path, ns=(1, path.stat().st_mtime_ns + 1_000_000_000))


def link_folder(root: Path) -> None:
    """Put a link to a folder in its place."""
    (root / "trip/day").rename(root / "day")
    (root / "trip/day").symlink_to("../day")


def file_for_folder(root: Path) -> None:
    """Put a file in the place of a folder."""
    shutil.rmtree(root / "trip/day")
    (root / "trip/day").touch()


CHANGES: dict[str, tuple[Callable[[Path], object], set[bytes], set[bytes]]] = {
    "a new file": (lambda root: write(root, "trip/new.jpg"), {b"trip/new.jpg", b"trip/b.jpg"}, {b"trip"}),
    "a file gone": (lambda root: (root / "trip/b.jpg").unlink(), set(), {b"trip"}),
    "a file renamed": (lambda root: (root / "a.jpg").rename(root / "z.jpg"), {b"z.jpg"}, {b""}),
    "a file replaced": (lambda root: (root / "a.jpg").write_bytes(b"xyz"), {b"a.jpg"}, {b""}),
    "a new folder": (lambda root: write(root, "x/y/z.jpg"), {b"a.jpg", b"x/y/z.jpg"}, {b"", b"x", b"x/y"}),
    "a folder gone": (lambda root: shutil.rmtree(root / "trip"), {b"a.jpg"}, {b"", b"trip", b"trip/day"}),
    "a folder renamed": (
        lambda root: (root / "trip").rename(root / "tour"),
        {b"a.jpg", b"tour/b.jpg", b"tour/day/c.jpg"},
        {b"", b"trip", b"trip/day", b"tour", b"tour/day"},
    ),
    "a folder that is a link now": (
        link_folder,
        {b"a.jpg", b"day/c.jpg", b"trip/b.jpg"},
        {b"", b"day", b"trip", b"trip/day"},
    ),
    "a folder that is a file now": (file_for_folder, {b"trip/b.jpg"}, {b"trip", b"trip/day"}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_look_finds_what_came_and_went(tmp_path: Path, name: str) -> None:
    """Only the folders concerned are listed; of a file in them that is not found it is known that it is gone."""
    write(tmp_path, "a.jpg", "trip/b.jpg", "trip/day/c.jpg")
    before = settled(tmp_path)
    change, files, listed = CHANGES[name]
    change(tmp_path)
    for folder in map(os.fsdecode, listed & before.folders.keys()):
        if (tmp_path / folder).is_dir() and not (tmp_path / folder).is_symlink():
            touch(tmp_path / folder)
    found = look(tmp_path, before)
    assert (set(found.files), found.listed) == (files, frozenset(listed))
    assert found.folders.keys() == settled(tmp_path).folders.keys()
    for path in (b"a.jpg", b"trip/b.jpg", b"trip/day/c.jpg"):
        assert found.would_have(path) is (walk.parent(path) in listed)


def test_a_look_does_not_find_what_was_written_in_place(tmp_path: Path) -> None:
    """Its folder gives no sign of it: a walk is what finds it; but for a folder in which something was just written."""
    write(tmp_path, "old/a.jpg", "young/b.jpg")
    os.utime(tmp_path / "old", ns=(1, 1))
    os.utime(tmp_path / "old" / "a.jpg", ns=(1, 1))
    now_ns = (tmp_path / "young" / "b.jpg").stat().st_mtime_ns + YOUNG_NS - 1
    before = walk.walk(os.fsencode(tmp_path), b"", RULES, now_ns=now_ns)
    for name in ("old/a.jpg", "young/b.jpg"):
        with (tmp_path / name).open("ab") as file:
            file.write(b"more")
    found = look(tmp_path, before, now_ns=LATER_NS)
    assert found.files.keys() == {b"young/b.jpg"}
    # It is young no longer: the next look passes it over.
    assert look(tmp_path, found).listed == frozenset()
    assert {path for path, state in walked(tmp_path).files.items() if state.size_bytes > 1} == {
        b"old/a.jpg",
        b"young/b.jpg",
    }


def test_a_file_of_the_future_makes_no_folder_young_for_ever(tmp_path: Path) -> None:
    """A camera's clock may be wrong by years."""
    write(tmp_path, "a.jpg")
    os.utime(tmp_path / "a.jpg", ns=(1, LATER_NS + 100 * YOUNG_NS))
    assert look(tmp_path, settled(tmp_path)).listed == frozenset()


def test_a_look_may_be_at_some_folders_only(tmp_path: Path) -> None:
    """The others are known on as they were, whatever happened there."""
    write(tmp_path, "a.jpg", "trip/b.jpg", "other/c.jpg")
    before = settled(tmp_path)
    write(tmp_path, "trip/new.jpg", "other/new.jpg", "trip/below/d.jpg")
    found = look(tmp_path, before, within=lambda folder: folder == b"trip")
    assert found.files.keys() == {b"trip/b.jpg", b"trip/new.jpg", b"trip/below/d.jpg"}
    assert found.folders[b"other"] == before.folders[b"other"]
    assert found.folders.keys() == before.folders.keys() | {b"trip/below"}


def test_a_look_knows_what_it_cannot_see(open_folder: Path) -> None:
    """A closed folder hides what lies below it, also from a look, and is tried again by the next one."""
    write(open_folder, "a.jpg", "closed/b.jpg", "closed/deep/c.jpg")
    before = settled(open_folder)
    (open_folder / "closed").chmod(0)
    touch(open_folder / "closed")
    with ordinary_user():
        found = look(open_folder, before)
        assert set(found.unreadable) == {b"closed", b"closed/deep"}
        assert not found.would_have(b"closed/b.jpg")
        assert not found.would_have(b"closed/deep/c.jpg")
    (open_folder / "closed").chmod(0o755)
    found = look(open_folder, found)
    assert found.files.keys() == {b"closed/b.jpg", b"closed/deep/c.jpg"}


@pytest.mark.parametrize(
    "put", [None, Path.touch, lambda path: path.symlink_to("/")], ids=["nothing", "a file", "a link"]
)
def test_a_look_at_a_root_that_is_gone_hides_everything(tmp_path: Path, put: Callable[[Path], object] | None) -> None:
    """As a walk does."""
    root = tmp_path / "album"
    write(root, "a.jpg", "trip/b.jpg")
    before = settled(root)
    shutil.rmtree(root)
    if put is not None:
        put(root)
    for found in (look(root, before), settled(root)):
        assert b"" in found.unreadable
        assert not found.would_have(b"a.jpg")
        assert not found.would_have(b"trip/b.jpg")


def test_the_disk_of_what_is_gone(tmp_path: Path) -> None:
    """Is that of the innermost folder that is there; of an album whose root is not there it is not known."""
    write(tmp_path, "trip/b.jpg")
    found = settled(tmp_path)
    device = tmp_path.stat().st_dev
    for path in (b"x.jpg", b"trip/x.jpg", b"trip/gone/deep/x.jpg"):
        assert found.device_at(path) == device
        assert walk.device_at(os.fsencode(tmp_path) + b"/" + path) == device
    assert settled(tmp_path / "absent").device_at(b"a.jpg") is None
    assert walk.device_at(b"/proc/self/absent") == os.lstat("/proc/self/").st_dev
