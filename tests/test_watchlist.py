"""A work is found in every content that contains it, whichever of the two came first, and told once."""

from __future__ import annotations

import functools
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import PIL.Image
import pytest

from cbir_daemon.alerts import Policy
from cbir_daemon.config import AlertsConfig
from cbir_daemon.duplicates.watchlist import COMPARED
from cbir_daemon.store import ContainedWork, Gone, NewWork, Work
from tests.pictures import Picture, mirrored, photograph
from tests.rows import EXTRACTOR, digest, indexed, photographed, sql
from tests.worlds import World

NOW = 1_700_000_000.0


def middle(picture: Picture) -> Picture:
    """Return the middle of a picture, half of its width and height."""
    height, width = picture.shape[:2]
    return picture[height // 4 : 3 * height // 4, width // 4 : 3 * width // 4]


def in_another(picture: Picture) -> Picture:
    """Return another picture with this one pasted in, at three quarters of its width."""
    height, width = picture.shape[:2]
    whole = np.asarray(PIL.Image.fromarray(photograph(7, (240, 160))).resize((width * 4 // 3, height * 4 // 3))).copy()
    whole[height // 6 : height // 6 + height, width // 6 : width // 6 + width] = picture
    return whole


def collage(picture: Picture, side: int, place: int) -> Picture:
    """Return pictures in a square, so many along each side, of which one is this one."""
    others = [photograph(50 + number, (240, 160)) for number in range(side * side)]
    others[place] = np.asarray(PIL.Image.fromarray(picture).resize((240, 160)))
    return np.vstack([np.hstack(others[row * side : (row + 1) * side]) for row in range(side)])


class Index(World):
    """An index with a watch list; a content's number is the seed of its picture, and 100 more an edit of it."""

    def __init__(self, folder: Path, *, indexed_before: bool = True) -> None:
        super().__init__(folder, indexed_before=indexed_before)
        self.watchlist = self.new_watchlist()
        self.pairing = self.new_pairing(self.watchlist, Policy(AlertsConfig(), ()).alert_for)

    def add(self, number: int, vector: bytes) -> None:
        """Index a file with a content of its own and look it up."""
        self.apply([indexed(self.album_id, b"%d.jpg" % number, number, vector)])
        self.settle()

    def settle(self) -> None:
        """Look up and decide on what is new."""
        while self.pairing.step():
            pass

    def watch(self, number: int, name: str = "mine") -> tuple[Work, list[bytes]]:
        """Watch for a picture; return the work, and the digests of what it was seen in."""
        added = self.watchlist.add(
            NewWork(digest(number), photographed(number), EXTRACTOR, name, b"/works/mine.tif"), NOW
        )
        assert added is not None
        work, work_matches = added
        return work, [match.digest for match in work_matches]

    def alerted(self) -> list[tuple[bytes, list[ContainedWork]]]:
        """Return file name and works of every alert."""
        return [(alert.path.rpartition(b"/")[2], list(alert.watched)) for alert in self.store.alerts.listed(0, 100)]


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    """An index whose album was indexed before."""
    with closing(Index(tmp_path)) as index:
        yield index


def test_a_new_file_with_a_work_in_it_is_told(index: Index) -> None:
    """As the same bytes, mirrored, as its middle, and inside another picture; a stranger is not."""
    index.watch(1)
    index.add(1, photographed(1))
    index.add(101, photographed(1, mirrored))
    index.add(102, photographed(1, middle))
    index.add(103, photographed(1, in_another))
    index.add(2, photographed(2))
    alerts = index.alerted()
    assert [name for name, _ in alerts] == [b"1.jpg", b"101.jpg", b"102.jpg", b"103.jpg"]
    assert alerts[0][1] == [ContainedWork("mine", "exact", 1.0)]
    assert [(work.name, work.kind) for _, (work,) in alerts[1:]] == [("mine", "copy")] * 3
    assert index.store.works.listed()[0].matches == 4


def test_a_new_work_is_looked_for_in_all_there_is(index: Index) -> None:
    """The caller is told, and nobody else: it is no news to anybody."""
    index.add(1, photographed(1))
    index.add(101, photographed(1, mirrored))
    index.add(2, photographed(2))
    before = index.alerted()
    assert index.watch(1)[1] == [digest(1), digest(101)]
    assert index.watch(3, "other")[1] == []
    assert [work.matches for work in index.store.works.listed()] == [2, 0]
    # Looked up once more, as after an update: it was told by then.
    sql(index.store.path, "UPDATE content SET matched = 0")
    index.settle()
    assert index.alerted() == before


def test_a_first_index_tells_of_works(tmp_path: Path) -> None:
    """Not of its duplicates, but of each file that contains a work, once."""
    with closing(Index(tmp_path, indexed_before=False)) as index:
        index.watch(1)
        first = indexed(index.album_id, b"a.jpg", 101, photographed(1, mirrored))
        index.apply([first, indexed(index.album_id, b"b.jpg", 101, known=True)])
        index.settle()
        assert sorted(name for name, _ in index.alerted()) == [b"a.jpg", b"b.jpg"]


def test_what_is_known_is_not_told_again(index: Index) -> None:
    """Looked up once more, as after an update, a content is no news; a new file with it is."""
    index.watch(1)
    index.add(101, photographed(1, mirrored))
    assert len(index.alerted()) == 1
    assert sql(index.store.path, "SELECT extractor FROM work") == [(EXTRACTOR,)]
    sql(index.store.path, "UPDATE content SET matched = 0")
    index.settle()
    assert len(index.alerted()) == 1
    index.apply([Gone(index.album_id, b"101.jpg")])
    index.add(101, photographed(1, mirrored))
    assert len(index.alerted()) == 2


def test_a_work_is_on_the_list_once(index: Index) -> None:
    """By its bytes; another one of the same name gets a number; what is taken off is not looked for."""
    work, _ = index.watch(1)
    assert index.watchlist.add(NewWork(digest(1), photographed(1), EXTRACTOR, "again", b""), NOW) is None
    second, _ = index.watch(2)
    assert (work.name, second.name) == ("mine", "mine (2)")
    assert index.watchlist.remove(work.id)
    assert not index.watchlist.remove(work.id)
    assert [row.name for row in index.store.works.listed()] == ["mine (2)"]
    index.add(101, photographed(1, mirrored))
    assert index.alerted() == []


def test_the_list_is_there_after_a_restart(index: Index) -> None:
    """Read from the store."""
    index.watch(1)
    again = index.new_watchlist()
    assert again.matches(digest(101), photographed(1, mirrored)) == []
    again.load()
    (match,) = again.matches(digest(101), photographed(1, mirrored))
    assert (match.work_id, match.kind, match.digest) == (1, "copy", digest(101))


def test_of_a_long_list_the_likeliest_are_compared(index: Index) -> None:
    """The right one is among them."""
    for number in range(3 * COMPARED):
        index.watch(number, f"work {number}")
    for number in (0, 17, 35):
        found = index.watchlist.matches(digest(1000), photographed(number, mirrored))
        assert [match.work_id for match in found] == [number + 1]


def test_without_a_list_nothing_is_compared(index: Index) -> None:
    """Who watches for nothing pays nothing."""
    assert index.watchlist.matches(digest(1), photographed(1)) == []


# Parts.


@pytest.mark.parametrize(("side", "place"), [(2, 0), (2, 3), (3, 4)])
def test_a_work_in_a_collage_is_told(index: Index, side: int, place: int) -> None:
    """It fills a quarter or a ninth of the new file."""
    index.watch(1)
    index.add(101, photographed(1, lambda picture: collage(picture, side, place)))
    ((_, (work,)),) = index.alerted()
    assert (work.name, work.kind) == ("mine", "copy")


def test_a_collage_of_others_holds_no_work(index: Index) -> None:
    """Whatever the number of its pictures."""
    index.watch(1)
    index.watch(2, "other")
    for number, side in ((101, 2), (102, 3)):
        index.add(number, photographed(3, functools.partial(collage, side=side, place=1)))
    assert index.alerted() == []


def test_a_new_work_is_looked_for_in_collages_too(index: Index) -> None:
    """In those that the albums hold already."""
    index.add(101, photographed(1, lambda picture: collage(picture, 2, 2)))
    assert index.watch(1)[1] == [digest(101)]
