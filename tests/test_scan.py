"""A walk says what is there now: every image file, no link, nothing that is excluded, and what it could not see."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from cbir_daemon import scan
from cbir_daemon.config import WatchConfig
from cbir_daemon.records import FileState
from cbir_daemon.scan import Filter, Found
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


def walk(root: Path, below: bytes = b"", rules: Filter = RULES) -> Found:
    return scan.walk(os.fsencode(root), below, rules)


def test_every_image_file_is_found_with_its_state(tmp_path: Path) -> None:
    """In folders of any depth, whatever their names are made of."""
    names = [b"a.jpg", b"b/c/d.PNG", b"new\nline.jpg", b"\xff\xfe/\xfd.jpg", "Grüße 🏖.jpg".encode(), b"two.dots.jpg"]
    write(tmp_path, *names)
    found = walk(tmp_path)
    assert set(found.files) == set(names)
    assert found.unreadable == ()
    status = (tmp_path / "a.jpg").stat()
    assert found.files[b"a.jpg"] == FileState(status.st_size, status.st_mtime_ns, status.st_ino)


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
        assert set(walk(tmp_path).files) == {b"real.jpg", b"folder.jpg/inside.jpg"}


def test_excluded_names_are_left_out_with_all_below_them(tmp_path: Path) -> None:
    """The defaults: hidden names, thumbnails and wastebaskets of NAS systems."""
    write(tmp_path, ".hidden.jpg", ".git/a.jpg", "@eaDir/a.jpg", "x/#recycle/y/a.jpg", "x/lost+found/a.jpg")
    write(tmp_path, ".Trash-1000/a.jpg", "$RECYCLE.BIN/a.jpg", "x/kept.jpg", "recycle/kept.jpg", "a@eaDir/kept.jpg")
    found = walk(tmp_path)
    assert set(found.files) == {b"x/kept.jpg", b"recycle/kept.jpg", b"a@eaDir/kept.jpg"}


def test_a_walk_and_a_single_look_agree_on_what_is_excluded(tmp_path: Path) -> None:
    """A path is excluded when any folder on its way is, however it was noticed."""
    rules = Filter(("raw*", "trip/draft", "*.tmp.jpg"), SUFFIXES)
    names = ["a.jpg", "raw/a.jpg", "x/rawest/a.jpg", "trip/draft/a.jpg", "other/trip/draft/a.jpg", "a.tmp.jpg"]
    write(tmp_path, *names, "trip/drafts/a.jpg", "Raw/a.jpg")
    found = walk(tmp_path, rules=rules)
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
    assert set(walk(tmp_path, b"trip").files) == {b"trip/b.jpg", b"trip/day/c.jpg"}


@pytest.mark.parametrize("mode", [0o000, 0o444, 0o111])
def test_a_folder_that_cannot_be_read_hides_what_lies_below(open_folder: Path, mode: int) -> None:
    """Closed, or one that gives its names and nothing else, or lets through and does not list."""
    write(open_folder, "a.jpg", "closed/b.jpg", "closed/deep/c.jpg", "closed2/d.jpg")
    (open_folder / "closed").chmod(mode)
    with ordinary_user():
        found = walk(open_folder)
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
    found = walk(root)
    assert (found.files, found.unreadable) == ({}, (b"",))
    assert found.hides(b"a.jpg")


def test_the_state_at_a_path(tmp_path: Path) -> None:
    """None for everything that is no regular file, also below what is no folder."""
    write(tmp_path, "a.jpg")
    (tmp_path / "link.jpg").symlink_to("a.jpg")
    root = os.fsencode(tmp_path)
    assert scan.state_at(root + b"/a.jpg") is not None
    for name in (b"absent.jpg", b"link.jpg", b"", b"a.jpg/below.jpg", b"absent/below.jpg"):
        assert scan.state_at(root + b"/" + name) is None
    assert scan.is_folder(root)
    assert not scan.is_folder(root + b"/a.jpg")
    assert not scan.is_folder(root + b"/absent")


def test_a_state_that_cannot_be_known_is_an_error(open_folder: Path) -> None:
    """It must not be taken for a file that is gone."""
    write(open_folder, "closed/a.jpg")
    (open_folder / "closed").chmod(0)
    with ordinary_user(), pytest.raises(PermissionError):
        scan.state_at(os.fsencode(open_folder) + b"/closed/a.jpg")


def test_an_empty_root_is_told_from_one_with_entries(tmp_path: Path) -> None:
    """Anything counts as an entry; what cannot be listed has none."""
    root = os.fsencode(tmp_path)
    assert not scan.has_entries(root)
    assert not scan.has_entries(root + b"/absent")
    write(tmp_path, ".hidden")
    assert scan.has_entries(root)


def test_paths_are_joined_without_a_stray_slash() -> None:
    """Either part may be empty."""
    assert scan.joined(b"/a", b"b") == b"/a/b"
    assert scan.joined(b"/a", b"") == b"/a"
    assert scan.joined(b"", b"b") == b"b"
