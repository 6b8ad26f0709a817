"""The second look at real files, read by real workers, in the pass for copies."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import ExifTags
from PIL import Image as PillowImage

from cbir_daemon.comparison import LookedAt, Trace
from cbir_daemon.decode import DecodeLimits, DecodePool, ReadTask
from cbir_daemon.duplicates import Looks
from cbir_daemon.duplicates.exposures import are_two_moments
from cbir_daemon.kinds import Kind
from cbir_daemon.matching.grey64 import Parallax
from cbir_daemon.medium import SecondLook, Sight
from cbir_daemon.pictures import PICTURES
from cbir_daemon.records import Facts, FileState
from cbir_daemon.store import Gone, Indexed, Pair
from tests import pictures
from tests.test_matching_look import stepped_aside
from tests.worlds import World

WHOLE = pictures.real_photographs()[0]
LIMITS = DecodeLimits(max_pixels=10_000_000, max_file_bytes=10_000_000, timeout_s=30.0)


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    """Give workers that read files."""
    with closing(DecodePool(1, LIMITS, PICTURES)) as pool:
        yield pool


class Album(World):
    """An album on disk, indexed, with the pass for copies over it."""

    def __init__(self, folder: Path, pool: DecodePool, second_look: SecondLook | None) -> None:
        self.root = folder / "album"
        self.root.mkdir()
        super().__init__(folder, (self.root,))
        self.pool = pool
        looks = None if second_look is None else Looks(self.store, pool, second_look)
        self.pairing = self.new_pairing(looks=looks)

    def add(self, name: str, picture: pictures.Picture, *, quality: int = 92, taken: str = "") -> Path:
        """Write a picture and index it."""
        path = self.root / name
        exif = PillowImage.Exif()
        if taken:
            exif.get_ifd(ExifTags.IFD.Exif)[ExifTags.Base.DateTimeOriginal] = taken
        PillowImage.fromarray(picture).save(path, quality=quality, exif=exif)
        return self.index(path)

    def index(self, path: Path) -> Path:
        """Index a file as it is now."""
        ((_, facts),) = self.pool.read_files([ReadTask(bytes(path), frozenset())])
        assert isinstance(facts, Facts)
        status = path.stat()
        state = FileState(status.st_size, status.st_mtime_ns, status.st_ino)
        self.apply([Indexed(self.album_id, os.fsencode(path.name), state, facts)])
        return path

    def pairs(self, kind: Kind = Kind.COPY) -> list[tuple[int, int]]:
        """Return the pairs of a kind that the pass finds."""
        return [ids for ids, (found, _) in sorted(self.seen().items()) if found is kind]

    def seen(self) -> dict[tuple[int, int], tuple[Kind, LookedAt]]:
        """Return what the pass finds, and by what it was told."""
        while self.pairing.step():
            pass
        return {(pair.content_id, pair.other_id): (pair.kind, pair.look) for pair in self.store.pairs.listed()}


@pytest.fixture
def album(tmp_path: Path, pool: DecodePool) -> Iterator[Album]:
    """Give an album without pictures."""
    with closing(Album(tmp_path, pool, Parallax())) as album:
        yield album


def test_a_burst_is_told_from_copies(album: Album) -> None:
    """A shot a step aside is a shot of the photograph and of its smaller, brighter copy."""
    album.add("whole.jpg", WHOLE)
    album.add("shot.jpg", stepped_aside(WHOLE, 5.0))
    album.add("copy.jpg", pictures.resized(pictures.brighter(WHOLE), 0.8))
    by_files = LookedAt.FILES
    assert album.seen() == {(1, 2): (Kind.SHOT, by_files), (1, 3): (Kind.COPY, by_files), (2, 3): (Kind.SHOT, by_files)}
    assert album.store.contents.sharpness([1, 2, 3]).keys() == {1, 2, 3}


def test_what_could_not_be_read_is_looked_at_when_it_is_back(album: Album) -> None:
    """Until then the vectors alone call it a copy."""
    album.add("whole.jpg", WHOLE)
    path = album.add("shot.jpg", stepped_aside(WHOLE, 5.0))
    path.rename(album.root / "aside")
    assert album.seen() == {(1, 2): (Kind.COPY, LookedAt.VECTORS)}
    (album.root / "aside").rename(path)
    assert album.seen() == {(1, 2): (Kind.COPY, LookedAt.VECTORS)}, "nothing says yet that the file is back"
    album.store.files.apply([Gone(1, b"shot.jpg")])
    album.index(path)
    assert album.seen() == {(1, 3): (Kind.SHOT, LookedAt.FILES)}


def test_a_later_version_of_the_look_looks_again(album: Album) -> None:
    """Pairs of an earlier one are forgotten, and their contents looked up once more."""
    album.add("whole.jpg", WHOLE)
    album.add("copy.jpg", pictures.brighter(WHOLE))
    album.pairs()
    album.store.pairs.forget_looks(Parallax.version)
    assert album.store.pairs.listed()
    album.store.pairs.forget_looks(Parallax.version + 1)
    assert not album.store.pairs.listed()
    assert album.pairs() == [(1, 2)]


def test_two_frames_of_a_tripod_are_told_by_the_camera_s_time(album: Album) -> None:
    """Pixels do not tell them; a copy without the time, or edited afterwards, is a copy."""
    album.add("first.jpg", WHOLE, taken="2019:07:14 12:45:01")
    album.add("second.jpg", WHOLE, taken="2019:07:14 12:45:03", quality=91)
    album.add("stripped.jpg", WHOLE, quality=90)
    album.add("smaller.jpg", pictures.resized(WHOLE, 0.8), taken="2019:07:14 12:45:09")
    assert album.pairs(Kind.SHOT) == [(1, 2)]


@pytest.mark.parametrize(
    ("taken", "taken_next", "are_two"),
    [
        ("2019-07-14T12:45:01", "2019-07-14T12:45:02", True),
        ("2019-07-14T12:45:01", "2019-07-14T12:45:01", False),
        ("2019-07-14T12:45:01.250000", "2019-07-14T12:45:01.500000", True),
        ("2019-07-14T12:45:01.250000", "2019-07-14T12:45:01", False),
        ("2019-07-14T12:45:01", "2019-07-14T14:45:01", False),
        ("2019-07-14T12:45:01", "2019-07-14T18:15:01", False),
        ("2019-07-14T12:45:01", "", False),
        (None, "2019-07-14T12:45:01", False),
        ("yesterday", "2019-07-14T12:45:01", False),
    ],
)
def test_two_moments(taken: str | None, taken_next: str | None, are_two: bool) -> None:
    """Fractions count when both have them; a time zone set right, or an unknown time, is no other moment."""
    assert are_two_moments(taken, taken_next) is are_two
    assert are_two_moments(taken_next, taken) is are_two


class CountedLooks(Parallax):
    """The second look, and how often it was taken."""

    def __init__(self) -> None:
        self.count = 0

    def sight(
        self,
        query: NDArray[np.uint8],
        stored: NDArray[np.uint8],
        query_picture: NDArray[np.uint8],
        stored_picture: NDArray[np.uint8],
    ) -> Sight:
        """Look and count."""
        self.count += 1
        return super().sight(query, stored, query_picture, stored_picture)


def test_copies_of_one_exposure_are_looked_at_once_each(tmp_path: Path, pool: DecodePool) -> None:
    """Many copies of one photograph take as many looks as there are copies, not as there are pairs."""
    looks = CountedLooks()
    with closing(Album(tmp_path, pool, looks)) as album:
        for number in range(6):
            album.add(f"{number}.jpg", pictures.brighter(WHOLE, 4.0 * number))
        assert len(album.pairs()) == 6 * 5 // 2
        assert 0 < looks.count < 6


def test_without_looks_the_vectors_decide(tmp_path: Path, pool: DecodePool) -> None:
    """They do not see a parallax of a pixel: `match.look = false` brings bursts back."""
    with closing(Album(tmp_path, pool, None)) as album:
        album.add("whole.jpg", WHOLE)
        album.add("shot.jpg", stepped_aside(WHOLE, 5.0))
        assert album.pairs() == [(1, 2)]


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


def test_colour_pictures_are_upright_and_small(pool: DecodePool, tmp_path: Path) -> None:
    """Three bytes a pixel, red first; what is no image gives none."""
    red = np.zeros((90, 60, 3), np.uint8)
    red[:, :, 0] = 255
    colour = pool.read_colour(pictures.save(red, tmp_path / "red.png"), 45)
    assert colour is not None
    assert (colour.width_px, colour.height_px, colour.pixels) == (30, 45, b"\xff\0\0" * 30 * 45)
    (tmp_path / "text.jpg").write_bytes(b"no picture")
    assert pool.read_colour(tmp_path / "text.jpg", 45) is None


def test_what_was_done_to_a_copy_is_remembered_with_the_pair(album: Album) -> None:
    """Each side has its own, whichever came first."""
    album.add("lettered.jpg", pictures.lettered(WHOLE))
    album.add("whole.jpg", WHOLE)
    album.add("noisy.jpg", pictures.noisy(WHOLE))
    assert album.pairs() == [(1, 2), (1, 3), (2, 3)]
    pairs = album.store.pairs.listed()
    first, second, third = (
        {trace for pair in pairs for trace in _traces_of(pair, content_id)} for content_id in (1, 2, 3)
    )
    assert (first, second, third) == ({Trace.OVERLAY}, set(), {Trace.NOISY})


def _traces_of(pair: Pair, content_id: int) -> tuple[Trace, ...]:
    if content_id == pair.content_id:
        return pair.traces
    return pair.other_traces if content_id == pair.other_id else ()


def test_a_part_of_a_file_has_its_pixels(pool: DecodePool, tmp_path: Path) -> None:
    """Upright, as they are; what the file has not gives none."""
    path = tmp_path / "whole.png"
    PillowImage.fromarray(WHOLE).save(path)
    crop = pool.read_crop(path, (10, 20, 210, 170))
    assert crop is not None
    grey = np.asarray(PillowImage.fromarray(WHOLE).convert("L"))[20:170, 10:210]
    assert np.array_equal(np.frombuffer(crop.pixels, np.uint8).reshape(150, 200), grey)
    exif = PillowImage.Exif()
    exif[ExifTags.Base.Orientation] = 6
    PillowImage.fromarray(np.rot90(WHOLE)).save(tmp_path / "lying.png", exif=exif)
    lying = pool.read_crop(tmp_path / "lying.png", (10, 20, 210, 170))
    assert lying is not None
    assert lying.pixels == crop.pixels
    assert pool.read_crop(path, (10, 20, 20_000, 170)) is None
