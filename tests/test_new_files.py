"""What a new file shows in a part of itself is told, once, and never becomes a group."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from cbir_daemon.alerts import Policy
from cbir_daemon.config import AlbumConfig, AlertsConfig
from cbir_daemon.decode import DecodeLimits, DecodePool, ReadTask
from cbir_daemon.duplicates import Looks, Pairing, Parts
from cbir_daemon.duplicates.features import FeatureFiller
from cbir_daemon.local_features import is_installed
from cbir_daemon.matching.grey64 import Parallax
from cbir_daemon.pictures import PICTURES
from cbir_daemon.records import Facts, FileState
from cbir_daemon.search.feature_lists import FeatureIndex
from cbir_daemon.search.search import Found
from cbir_daemon.store import Gone, Image, Indexed, NewAlert, NewWork, WorkMatch
from tests import pictures
from tests.test_matching_look import stepped_aside
from tests.worlds import World

WHOLE, STRANGER = pictures.real_photographs()
PAGE, STRANGE_PAGE = pictures.on_a_page(WHOLE), pictures.on_a_page(STRANGER)
LIMITS = DecodeLimits(max_pixels=10_000_000, max_file_bytes=10_000_000, timeout_s=30.0)
NOW = 1_700_000_000.0


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    """Give workers that read files."""
    with closing(DecodePool(1, LIMITS, PICTURES)) as pool:
        yield pool


class Album(World):
    """An album on disk, and the lookup of its new files."""

    def __init__(self, folder: Path, pool: DecodePool) -> None:
        self.root = folder / "album"
        self.root.mkdir()
        super().__init__(folder, (self.root,), indexed_before=False)
        self.pool = pool
        self.watchlist = self.new_watchlist()
        self.looked_inside = 0
        self.index: FeatureIndex | None = None
        self.is_filled = True
        self.pairing = self.started()

    def take_features(self) -> None:
        """Take the local features of all contents, and go on as a daemon with `match.local`."""
        filler = FeatureFiller(self.store, self.pool, lambda: True, asked=True)
        filler.open()
        while filler.step():
            pass
        self.index = filler.index
        self.pairing = self.started()

    def started(self, settings: AlertsConfig | None = None, *albums: AlbumConfig) -> Pairing:
        """Return the lookup as a daemon starts it."""
        policy = Policy(settings or AlertsConfig(), albums)
        looks = Looks(self.store, self.pool, Parallax())
        return self.new_pairing(self.watchlist, policy.alert_for, looks=looks, parts=Counted(self))

    def add(self, name: str, picture: pictures.Picture) -> Path:
        """Write a picture and index it."""
        path = pictures.save(picture, self.root / name, quality=92)
        ((_, facts),) = self.pool.read_files([ReadTask(bytes(path), frozenset())])
        assert isinstance(facts, Facts)
        status = path.stat()
        state = FileState(status.st_size, status.st_mtime_ns, status.st_ino)
        self.apply([Indexed(self.album_id, os.fsencode(path.name), state, facts)])
        return path

    def first(self, name: str, picture: pictures.Picture) -> Path:
        """Index a picture in the first scan of the album, and end that."""
        path = self.add(name, picture)
        self.settle()
        self.finish_first_scan()
        return path

    def settle(self) -> None:
        """Do all there is to do."""
        while self.pairing.step():
            pass
        assert self.pairing.idle

    def alerts(self) -> list[tuple[str, str, list[tuple[str, str, str]], list[str]]]:
        """Return name, kind, matches with words, and works of every alert, after doing all there is to do."""
        self.settle()
        return [
            (
                self.name(alert.path),
                alert.kind,
                [(self.name(match.path), match.kind, match.done) for match in alert.matches],
                [work.name for work in alert.watched],
            )
            for alert in self.store.alerts.listed(0, 100)
        ]

    def name(self, path: bytes) -> str:
        """Return a path below the album."""
        return os.fsdecode(path.rpartition(b"/")[2])


class Counted(Parts):
    """Counts how often it is asked."""

    def __init__(self, album: Album) -> None:
        super().__init__(album.store, album.pool, album.searcher, album.watchlist, album.index, lambda: album.is_filled)
        self.album = album

    def shown(self, image: Image) -> tuple[list[Found], list[WorkMatch]]:
        """Count."""
        self.album.looked_inside += 1
        return super().shown(image)


@pytest.fixture
def album(tmp_path: Path, pool: DecodePool) -> Iterator[Album]:
    """Give an album without pictures."""
    with closing(Album(tmp_path, pool)) as album:
        yield album


def test_a_photograph_inside_a_new_screenshot_is_told(album: Album) -> None:
    """In words that say where it is; the two are no pair, so no group and no plan has them."""
    album.first("whole.jpg", WHOLE)
    album.add("page.jpg", PAGE)
    assert album.alerts() == [
        ("page.jpg", "copy", [("whole.jpg", "copy", "inside a larger picture (17 % of it)")], []),
    ]
    assert album.store.pairs.listed() == []


def test_a_mirrored_one_is_told_as_such(album: Album) -> None:
    """What was done to the photograph is said as of any copy."""
    album.first("whole.jpg", pictures.mirrored(WHOLE))
    album.add("page.jpg", PAGE)
    ((_, _, ((_, _, done),), _),) = album.alerts()
    assert done == "inside a larger picture (17 % of it), mirrored"


def test_strangers_are_not_told(album: Album) -> None:
    """Neither another photograph on the same page, nor another shot of the scene."""
    album.first("page.jpg", STRANGE_PAGE)
    album.add("shot.jpg", stepped_aside(WHOLE, 5.0))
    album.add("new.jpg", PAGE)
    assert album.alerts() == []
    assert album.looked_inside == 2


def test_a_first_index_pays_nothing(album: Album) -> None:
    """Nor does what is a copy as a whole."""
    album.add("page.jpg", PAGE)
    album.first("whole.jpg", WHOLE)
    album.add("again.jpg", pictures.brighter(PAGE))
    assert [name for name, *_ in album.alerts()] == ["again.jpg"]
    assert album.looked_inside == 0


def test_an_older_screenshot_is_not_found_by_what_it_shows(album: Album) -> None:
    """New files are cut into parts; of two that come at once the older one is the original."""
    album.first("page.jpg", PAGE)
    album.add("whole.jpg", WHOLE)
    assert album.alerts() == []
    album.add("second.jpg", STRANGE_PAGE)
    album.add("stranger.jpg", STRANGER)
    assert album.alerts() == []
    assert album.looked_inside == 3


def test_a_file_is_looked_into_once(album: Album) -> None:
    """Also when the daemon ends between the decision on the whole file and the look-up of its parts."""
    album.first("whole.jpg", WHOLE)
    album.add("page.jpg", PAGE)
    album.add("strange.jpg", STRANGE_PAGE)
    while album.store.files.counts().unmatched or album.store.files.counts().alerts_due:
        album.pairing.step()
    assert album.store.files.counts().parts_due == 2
    assert not album.pairing.idle
    album.pairing = album.started()
    assert len(album.alerts()) == 1
    album.pairing = album.started()
    assert len(album.alerts()) == 1
    assert album.looked_inside == 2


def test_what_nobody_would_be_told_is_not_looked_into(album: Album) -> None:
    """An album without alerts; and copies that nobody wants to hear of, unless there are works to watch for."""
    album.first("whole.jpg", WHOLE)
    album.pairing = album.started(AlertsConfig(), AlbumConfig(album.root, alerts=False))
    album.add("page.jpg", PAGE)
    assert album.alerts() == []
    album.pairing = album.started(AlertsConfig(min_kind="exact"))
    album.add("second.jpg", pictures.on_a_page(pictures.turned(WHOLE)))
    assert album.alerts() == []
    album.pairing = album.started(AlertsConfig(min_score=1.0))
    album.add("copy.jpg", pictures.brighter(pictures.cropped(WHOLE)))
    assert album.alerts() == []
    assert album.looked_inside == 0


def test_a_dismissed_pair_raises_no_alert(album: Album) -> None:
    """Whichever part shows it."""
    album.first("whole.jpg", WHOLE)
    album.add("page.jpg", PAGE)
    while album.store.files.counts().unmatched:
        album.pairing.step()
    first, second = (image.content.digest for image in album.store.files.images([1, 2]))
    album.store.decisions.dismiss(first, second, NOW)
    assert album.alerts() == []
    assert album.store.decisions.dismissed_with(first) == {second}
    assert album.store.decisions.dismissed_with(second) == {first}


@pytest.mark.parametrize("change", ["gone", "rewritten", "damaged"])
def test_a_file_that_cannot_be_read_is_passed_over(album: Album, change: str) -> None:
    """It was indexed and is another one by now: that one is a new file again when it is indexed."""
    album.first("whole.jpg", WHOLE)
    path = album.add("page.jpg", PAGE)
    if change == "gone":
        path.unlink()
    elif change == "rewritten":
        pictures.save(STRANGE_PAGE, path, quality=92)
    else:
        path.write_bytes(b"nothing")
    assert album.alerts() == []
    assert album.looked_inside == 1


def test_what_lies_on_a_disk_that_is_away_waits(album: Album) -> None:
    """Nothing is pending meanwhile, and nothing is lost."""
    album.first("whole.jpg", WHOLE)
    album.add("page.jpg", PAGE)
    while album.store.files.counts().alerts_due:
        album.pairing.step()
    album.store.albums.set_state(1, "missing")
    assert album.alerts() == []
    album.store.albums.set_state(1, "watching")
    assert len(album.alerts()) == 1


def test_a_content_that_changed_meanwhile_is_decided_upon_anew(album: Album) -> None:
    """What was found of the one before is not written."""
    album.first("whole.jpg", WHOLE)
    album.add("page.jpg", PAGE)
    while album.store.files.counts().alerts_due:
        album.pairing.step()
    image = album.store.files.image_in_parts()
    assert image is not None
    album.add("page.jpg", STRANGE_PAGE)
    assert album.store.files.image_in_parts() is None
    album.store.alerts.put_in_parts(image, NewAlert(image.path, "copy", ()), (), NOW)
    assert album.store.files.counts().alerts_due == 1
    assert album.alerts() == []
    assert album.looked_inside == 1
    album.store.files.apply([Gone(1, b"page.jpg")])
    assert album.store.files.image_in_parts() is None


@pytest.mark.parametrize("where", ["at its path", "in an album", "nowhere"])
def test_a_work_inside_a_new_screenshot_is_told(album: Album, tmp_path: Path, where: str) -> None:
    """After a look at its file, if there is one."""
    path = pictures.save(WHOLE, tmp_path / "mine.jpg", quality=92)
    facts = album.pool.read_image(path)
    assert facts.vector is not None
    album.first("mine.jpg" if where == "in an album" else "strange.jpg", WHOLE if where == "in an album" else STRANGER)
    if where != "at its path":
        path.unlink()
    album.watchlist.add(NewWork(facts.digest, facts.vector, facts.extractor, "mine", bytes(path)), NOW)
    album.add("page.jpg", PAGE)
    ((name, kind, _, watched),) = album.alerts()
    assert (name, kind, watched) == ("page.jpg", "copy", ["mine"])
    assert [work.matches for work in album.store.works.listed()] == [1 + (where == "in an album")]


@pytest.mark.parametrize("is_work", [False, True])
def test_another_shot_of_a_work_is_not_told(album: Album, tmp_path: Path, is_work: bool) -> None:
    """A later file that has the path of a work says nothing of it."""
    path = pictures.save(WHOLE if is_work else stepped_aside(WHOLE, 5.0), tmp_path / "mine.jpg", quality=92)
    facts = album.pool.read_image(path)
    assert facts.vector is not None
    album.first("strange.jpg", STRANGER)
    album.watchlist.add(NewWork(facts.digest, facts.vector, facts.extractor, "mine", bytes(path)), NOW)
    pictures.save(stepped_aside(WHOLE, 5.0), path, quality=92)
    album.add("page.jpg", PAGE)
    assert [watched for *_, watched in album.alerts()] == ([["mine"]] if is_work else [])


def piece(picture: pictures.Picture, left: float, top: float) -> pictures.Picture:
    """Return a sixth of a picture, which is too little for its vector."""
    height, width = picture.shape[:2]
    return picture[int(top * height) : int((top + 0.4) * height), int(left * width) : int((left + 0.4) * width)]


needs_features = pytest.mark.skipif(not is_installed(), reason="the extra for local features is not installed")


@needs_features
def test_a_piece_in_a_new_file_is_told_by_local_features(album: Album) -> None:
    """Only by them; a piece of another shot, or of a stranger, is not."""
    album.first("whole.jpg", WHOLE)
    album.add("before.jpg", piece(WHOLE, 0.1, 0.3))
    assert album.alerts() == []
    album.take_features()
    album.add("piece.jpg", piece(WHOLE, 0.5, 0.4))
    album.add("shot.jpg", piece(stepped_aside(WHOLE, 9.0), 0.3, 0.5))
    album.add("strange.jpg", piece(STRANGER, 0.2, 0.2))
    assert album.alerts() == [("piece.jpg", "copy", [("whole.jpg", "copy", "crop (16 %)")], [])]
    assert album.looked_inside == 4


@needs_features
def test_new_files_wait_for_the_features_of_what_came_before(album: Album) -> None:
    """They are looked into once, so not too early."""
    album.first("whole.jpg", WHOLE)
    album.take_features()
    album.is_filled = False
    album.add("piece.jpg", piece(WHOLE, 0.1, 0.3))
    while album.pairing.step():
        pass
    assert not album.pairing.idle
    assert album.looked_inside == 0
    album.is_filled = True
    assert [name for name, *_ in album.alerts()] == ["piece.jpg"]


@needs_features
def test_a_dismissed_pair_raises_no_alert_by_local_features(album: Album) -> None:
    """As by parts."""
    album.first("whole.jpg", WHOLE)
    album.take_features()
    album.add("piece.jpg", piece(WHOLE, 0.1, 0.3))
    first, second = (image.content.digest for image in album.store.files.images([1, 2]))
    album.store.decisions.dismiss(first, second, NOW)
    assert album.alerts() == []
    assert album.looked_inside == 1


@needs_features
@pytest.mark.parametrize("where", ["at its path", "in an album", "nowhere"])
def test_a_piece_of_a_work_is_told(album: Album, tmp_path: Path, where: str) -> None:
    """When its file can be read: features find and never decide.  What was taken off the list is not told."""
    path = pictures.save(WHOLE, tmp_path / "mine.jpg", quality=92)
    facts = album.pool.read_image(path)
    assert facts.vector is not None
    album.first("mine.jpg" if where == "in an album" else "strange.jpg", WHOLE if where == "in an album" else STRANGER)
    if where != "at its path":
        path.unlink()
    album.take_features()
    added = NewWork(facts.digest, facts.vector, facts.extractor, "mine", bytes(path))
    work, _ = album.watchlist.add(added, NOW) or (None, ())
    assert work is not None
    album.add("piece.jpg", piece(WHOLE, 0.1, 0.3))
    assert [watched for *_, watched in album.alerts()] == ([] if where == "nowhere" else [["mine"]])
    album.watchlist.remove(work.id)
    album.add("second.jpg", piece(WHOLE, 0.5, 0.4))
    assert not any(watched for name, _, _, watched in album.alerts() if name == "second.jpg")
