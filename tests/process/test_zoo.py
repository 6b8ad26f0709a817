"""Other people's collections of one photograph edited, through the real daemon; skipped where they are not at hand."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.places import ZOO
from tests.process.daemon import Daemon

PDQ = ZOO / "pdq" / "data"
FAMILIES = {
    "edits": (PDQ / "bridge-mods", 12),
    "flips and turns": (PDQ / "reg-test-input" / "dih", 8),
    "colour modes": (PDQ / "misc-images" / "modes", 14),
}
SHOTS = PDQ / "reg-test-input" / "exif-rotn"
ORIENTATIONS = ZOO / "exif_orientation"

pytestmark = [pytest.mark.process, pytest.mark.skipif(not ZOO.is_dir(), reason="no zoo beside the checkout")]


def pictures_of(folder: Path) -> list[Path]:
    """Return the image files of a folder."""
    return sorted(path for path in folder.iterdir() if path.suffix in {".jpg", ".png", ".webp"})


def watched(daemon: Daemon, *folders: Path) -> list[Path]:
    """Start the daemon on copies of folders and return the copies of their pictures, once all are read."""
    copies = []
    for folder in folders:
        target = daemon.album / folder.name
        target.mkdir()
        copies += [Path(shutil.copy(path, target)) for path in pictures_of(folder)]
    daemon.start()
    status = daemon.settle()
    assert status["images"] == len(copies)
    return copies


def same(daemon: Daemon, image: Path) -> dict[str, str]:
    """Return what shows the same as `image`, by path: `exact` or `copy`."""
    with daemon.client() as client:
        matches = client.query(image, limit=100)["matches"]
    return {str(match["path"]): match["kind"] for match in matches if match["kind"] != "similar"}


@pytest.mark.parametrize("name", FAMILIES)
def test_each_edit_finds_the_others(daemon: Daemon, name: str) -> None:
    """Each of a family is a copy of each other, or the very same file."""
    folder, count = FAMILIES[name]
    copies = watched(daemon, folder)
    assert len(copies) == count
    for image in copies:
        assert set(same(daemon, image)) == {str(path) for path in copies}


def test_turned_by_orientation_group_into_two_photographs(daemon: Daemon) -> None:
    """Two photographs in all orientations are two groups of duplicates."""
    copies = watched(daemon, ORIENTATIONS)
    assert len(copies) == 18
    groups = daemon.json("duplicates")["groups"]
    found = sorted(sorted(Path(image["path"]).name for image in group["images"]) for group in groups)
    expected = [sorted(path.name for path in copies if path.name.startswith(kind)) for kind in ("Land", "Port")]
    assert found == expected


def test_shots_by_hand_are_not_copies(daemon: Daemon) -> None:
    """Four shots of one desk from four places are each a copy of nothing but itself."""
    copies = watched(daemon, SHOTS)
    assert len(copies) == 4
    for image in copies:
        assert same(daemon, image) == {str(image): "exact"}
