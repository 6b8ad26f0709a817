"""The second look at real files, read by real workers, in the pass for copies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from cbir_daemon import matching
from cbir_daemon.decode import DecodeLimits, DecodePool, ReadTask
from cbir_daemon.duplicates import Looks, Pairing
from cbir_daemon.duplicates.watchlist import WatchList
from cbir_daemon.records import Facts, FileState
from cbir_daemon.search.searcher import Searcher
from cbir_daemon.store import Indexed, Store
from tests import pictures
from tests.test_matching_look import stepped_aside

WHOLE = pictures.real_photographs()[0]
LIMITS = DecodeLimits(max_pixels=10_000_000, max_file_bytes=10_000_000, timeout_s=30.0)


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    """Give workers that read files."""
    pool = DecodePool(1, LIMITS)
    yield pool
    pool.close()


class Album:
    """An album on disk, indexed, with the pass for copies over it."""

    def __init__(self, folder: Path, pool: DecodePool, *, look: bool = True) -> None:
        self.folder = folder / "album"
        self.folder.mkdir()
        self.pool = pool
        self.store = Store(folder / "index.sqlite")
        self.store.open()
        self.store.albums.add(bytes(self.folder))
        self.searcher = Searcher(self.store)
        watchlist = WatchList(self.store, self.searcher)
        looks = Looks(self.store, pool) if look else None
        self.pairing = Pairing(self.store, self.searcher, watchlist, lambda *_: None, lambda: False, looks)

    def add(self, name: str, picture: pictures.Picture) -> Path:
        """Write a picture and index it."""
        path = pictures.save(picture, self.folder / name, quality=92)
        ((_, facts),) = self.pool.read_files([ReadTask(bytes(path), frozenset())])
        assert isinstance(facts, Facts)
        status = path.stat()
        state = FileState(status.st_size, status.st_mtime_ns, status.st_ino)
        applied = self.store.files.apply([Indexed(1, os.fsencode(name), state, facts)])
        self.searcher.change(applied.added, applied.gone)
        return path

    def pairs(self) -> list[tuple[int, int]]:
        """Return what the pass finds."""
        while self.pairing.step():
            pass
        return [(pair.content_id, pair.other_id) for pair in self.store.pairs.listed()]


@pytest.fixture
def album(tmp_path: Path, pool: DecodePool) -> Iterator[Album]:
    """Give an album without pictures."""
    album = Album(tmp_path, pool)
    yield album
    album.store.close()


def test_a_burst_is_no_pair_and_a_copy_is_one(album: Album) -> None:
    """Of a photograph, a shot a step aside and a smaller, brighter copy, only the copy belongs to it."""
    album.add("whole.jpg", WHOLE)
    album.add("shot.jpg", stepped_aside(WHOLE, 5.0))
    album.add("copy.jpg", pictures.resized(pictures.brighter(WHOLE), 0.8))
    assert album.pairs() == [(1, 3)]


def test_copies_of_one_exposure_are_looked_at_once_each(album: Album, monkeypatch: pytest.MonkeyPatch) -> None:
    """Many copies of one photograph take as many looks as there are copies, not as there are pairs."""
    looks: list[None] = []
    compared = matching.compared

    def counted(*pictures: NDArray[np.uint8], invert: bool) -> matching.Look:
        looks.append(None)
        return compared(pictures[0], pictures[1], pictures[2].astype(np.float32), invert=invert)

    monkeypatch.setattr(matching, "compared", counted)
    for number in range(8):
        album.add(f"{number}.jpg", pictures.brighter(WHOLE, 4.0 * number))
    assert len(album.pairs()) == 8 * 7 // 2
    assert len(looks) < 8


def test_without_looks_the_vectors_decide(tmp_path: Path, pool: DecodePool) -> None:
    """They do not see a parallax of a pixel: `match.look = false` brings bursts back."""
    album = Album(tmp_path, pool, look=False)
    album.add("whole.jpg", WHOLE)
    album.add("shot.jpg", stepped_aside(WHOLE, 5.0))
    assert album.pairs() == [(1, 2)]
    album.store.close()


def test_what_cannot_be_looked_at_stays_a_pair(album: Album) -> None:
    """A file that is gone, or that has been damaged since, says nothing."""
    album.add("whole.jpg", WHOLE)
    album.add("shot.jpg", stepped_aside(WHOLE, 5.0)).unlink()
    album.add("other.jpg", stepped_aside(WHOLE, 9.0)).write_bytes(b"no picture")
    assert (1, 2) in album.pairs()


def test_a_file_rewritten_since_it_was_indexed_says_nothing(album: Album) -> None:
    """It shows another content than the one that is looked up."""
    album.add("whole.jpg", WHOLE)
    path = album.add("copy.jpg", pictures.brighter(WHOLE))
    pictures.save(stepped_aside(WHOLE, 5.0), path, quality=92)
    assert album.pairs() == [(1, 2)]


def test_a_collage_of_two_shots_does_not_make_them_copies(album: Album) -> None:
    """Each is a part of it, which does not make them one exposure."""
    shot = stepped_aside(WHOLE, 5.0)
    album.add("collage.jpg", np.concatenate([shot, WHOLE], axis=1))
    album.add("whole.jpg", WHOLE)
    album.add("shot.jpg", shot)
    assert album.pairs() == [(1, 2), (1, 3)]


def test_a_small_copy_stays_a_pair(album: Album) -> None:
    """Below 220 pixels nothing can be told."""
    album.add("whole.jpg", WHOLE)
    album.add("thumbnail.jpg", pictures.resized(WHOLE, 0.25))
    assert album.pairs() == [(1, 2)]


def test_grey_pictures_are_upright_and_small(pool: DecodePool, tmp_path: Path) -> None:
    """At most as large as was asked, never enlarged; what is no image gives none."""
    path = pictures.save(WHOLE, tmp_path / "whole.jpg")
    grey = pool.read_grey(path, 384)
    assert grey is not None
    assert (grey.width_px, grey.height_px, len(grey.pixels)) == (384, 256, 384 * 256)
    small = pool.read_grey(pictures.save(pictures.resized(WHOLE, 0.2), tmp_path / "small.png"), 384)
    assert small is not None
    assert small.width_px == round(WHOLE.shape[1] * 0.2)
    (tmp_path / "text.jpg").write_bytes(b"no picture")
    assert pool.read_grey(tmp_path / "text.jpg", 384) is None
    assert pool.read_grey(tmp_path / "absent.jpg", 384) is None
    assert np.frombuffer(small.pixels, np.uint8).std() > 10
