"""Local features: how they are found, kept, voted for and aligned, and what comparing the place says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cbir_daemon.decode import DecodePool
from cbir_daemon.duplicates.features import FeatureFiller
from cbir_daemon.local_features import (
    ASKED_SIDE_PX,
    LOCAL,
    STORED_SIDE_PX,
    AskedFeatures,
    StoredFeatures,
    aligned,
    angles,
    scales,
)
from cbir_daemon.matching import within
from cbir_daemon.matching.grey64 import Parallax
from cbir_daemon.medium import Seen
from cbir_daemon.pictures import PICTURES
from cbir_daemon.search.feature_lists import FeatureIndex
from tests import pictures
from tests.test_looks import LIMITS, Album
from tests.test_matching_look import stepped_aside

extraction = pytest.importorskip("cbir_daemon.local_features.extraction")

Grey = NDArray[np.uint8]

CHINA, FLOWER = (np.asarray(Image.fromarray(picture).convert("L")) for picture in pictures.real_photographs())
STRANGERS = 6


def stored(picture: Grey) -> StoredFeatures:
    """Return the features that are kept of a picture."""
    found: StoredFeatures = extraction.stored_features(within(picture, STORED_SIDE_PX))
    return found


def asked(picture: Grey) -> AskedFeatures:
    """Return the features of a query."""
    found: AskedFeatures = extraction.asked_features(within(picture, ASKED_SIDE_PX))
    return found


def turned(picture: Grey, degrees: float) -> Grey:
    """Return a picture turned counter-clockwise, its corners cut off."""
    return np.asarray(Image.fromarray(picture).rotate(degrees, Image.Resampling.BICUBIC))


def cropped(picture: Grey, left: float, top: float, right: float, bottom: float) -> Grey:
    """Return a part of a picture, by shares of its sides."""
    height, width = picture.shape
    return picture[round(top * height) : round(bottom * height), round(left * width) : round(right * width)]


@pytest.fixture(scope="module")
def index() -> FeatureIndex:
    """Give an index of two photographs, 1 and 2, and some made pictures."""
    index = FeatureIndex()
    index.add([(1, stored(CHINA)), (2, stored(FLOWER))])
    made = [np.asarray(Image.fromarray(pictures.photograph(seed)).convert("L")) for seed in range(STRANGERS)]
    for number, picture in enumerate(made):
        index.add([(10 + number, stored(picture))])
    return index


def test_features_come_back_from_their_bytes() -> None:
    """Both kinds are read as they were written."""
    kept, query = stored(CHINA), asked(CHINA)
    assert np.array_equal(StoredFeatures.from_bytes(kept.to_bytes()).features, kept.features)
    read = AskedFeatures.from_bytes(query.to_bytes())
    assert np.array_equal(read.upright, query.upright)
    assert np.array_equal(read.mirrored, query.mirrored)
    assert len(kept.to_bytes()) < 2_500


@pytest.mark.parametrize("data", [b"", b"abc", b"\x40\x01\xf0\x00" + b"x", b"\0\0\0\0", b"\x01\0\x01\0" + b"\xff" * 14])
def test_what_no_picture_has_is_refused(data: bytes) -> None:
    """Bytes of another length, a picture without pixels, and a word that there is not."""
    with pytest.raises(ValueError, match="local features"):
        StoredFeatures.from_bytes(data)


def test_a_query_with_numbers_that_are_none_is_refused() -> None:
    """A worker handles hostile bytes: what is not finite goes no further."""
    query = asked(CHINA)
    broken = query.upright.copy()
    broken["x"][0] = np.nan
    with pytest.raises(ValueError, match="of no picture"):
        AskedFeatures.from_bytes(replace(query, upright=broken).to_bytes())


def test_scales_and_angles_are_kept_to_a_step() -> None:
    """A scale to a sixteenth of a doubling, an angle to a 256th of a turn."""
    kept = stored(CHINA).features
    assert scales(kept["scale"]).min() > 0
    assert np.all((angles(kept["angle"]) >= 0) & (angles(kept["angle"]) < 2 * np.pi))


@pytest.mark.parametrize(
    ("picture", "mirrored"),
    [
        (turned(CHINA, 33), False),
        (cropped(CHINA, 0.3, 0.2, 0.8, 0.7), False),
        (CHINA[:, ::-1], True),
        (np.ascontiguousarray(np.rot90(CHINA)), False),
    ],
    ids=["turned", "cropped", "mirrored", "a quarter turn"],
)
def test_a_changed_picture_is_the_first_candidate_and_aligns(
    index: FeatureIndex, picture: Grey, *, mirrored: bool
) -> None:
    """It has most votes, by the right side, and lies in the content as it was taken from it."""
    query = asked(np.ascontiguousarray(picture))
    first = index.candidates(query, 4)[0]
    assert (first.content_id, first.mirrored) == (1, mirrored)
    alignment = aligned(query, stored(CHINA), mirrored=mirrored)
    assert alignment is not None
    assert alignment.weight > 25
    assert bool(np.linalg.det(alignment.affine[:, :2]) < 0) is mirrored


def test_the_affine_of_a_crop_says_where_it_lies() -> None:
    """The corners of a crop are where it was cut out, to a hundredth of the picture."""
    alignment = aligned(asked(cropped(CHINA, 0.3, 0.2, 0.8, 0.7)), stored(CHINA), mirrored=False)
    assert alignment is not None
    corner = alignment.affine @ [-1, -1, 1]
    assert corner == pytest.approx([2 * 0.3 - 1, 2 * 0.2 - 1], abs=0.02)


def test_another_picture_does_not_align() -> None:
    """Two pictures share no more than chance gives."""
    alignment = aligned(asked(FLOWER), stored(CHINA), mirrored=False)
    assert alignment is None or alignment.weight < 12


def test_a_plain_picture_has_no_features() -> None:
    """Nothing is found, nothing aligns, nothing is voted for."""
    plain = np.full((300, 300), 128, dtype=np.uint8)
    query, kept = asked(plain), stored(plain)
    assert len(kept.features) == len(query.upright) == 0
    assert aligned(query, stored(CHINA), mirrored=False) is None
    index = FeatureIndex()
    index.add([(1, kept)])
    assert index.candidates(asked(CHINA), 4) == []
    assert StoredFeatures.from_bytes(kept.to_bytes()).width_px == STORED_SIDE_PX - 20


def test_a_query_that_gets_no_vote_has_no_candidates(index: FeatureIndex) -> None:
    """None of its features is like any there is."""
    query = asked(CHINA)
    for features in (query.upright, query.mirrored):
        features["code"] = 0
    assert index.candidates(query, 4) == []


def test_new_features_of_a_content_take_the_place_of_old_ones() -> None:
    """Added again, a content is asked by what came last, whether it was sorted in or not."""
    index = FeatureIndex()
    index.add([(1, stored(FLOWER)), (2, stored(FLOWER))])
    index.add([(3, stored(FLOWER))])
    index.add([(3, stored(CHINA))])
    assert index.candidates(asked(CHINA), 1)[0].content_id == 3


def test_long_lists_give_the_votes_of_short_ones() -> None:
    """Compared a word after the other, the candidates are the same, with the same votes."""
    contents = [(1, stored(CHINA)), (2, stored(FLOWER))]
    answers = []
    for most_at_once in (0, 1_000_000):
        index = FeatureIndex(most_at_once)
        index.add(contents)
        answers.append(index.candidates(asked(turned(CHINA, 20)), 4))
    assert answers[0] == answers[1]
    assert answers[0][0].content_id == 1


# -- the look at a place -----------------------------------------------------------------------------------------------

IDENTITY = np.array([[1.0, 0, 0], [0, 1, 0]])


def seen(query: Grey, kept: Grey) -> Seen:
    """Return what two pictures that lie upon each other are."""
    look = Parallax()
    return look.seen_in_place(within(query, look.side_px), within(kept, look.side_px), IDENTITY)[0]


def covered(picture: Grey, by: Grey, share: float) -> Grey:
    """Return a picture with another one in its middle, on a share of its area."""
    height, width = (round(side * share**0.5) for side in picture.shape)
    top, left = (picture.shape[0] - height) // 2, (picture.shape[1] - width) // 2
    whole = picture.copy()
    whole[top : top + height, left : left + width] = np.asarray(Image.fromarray(by).resize((width, height)))
    return whole


def test_what_covers_a_part_leaves_a_copy() -> None:
    """A quarter of another picture on it."""
    assert seen(covered(CHINA, FLOWER, 0.25), CHINA) is Seen.COPY


def test_a_picture_that_is_mostly_covered_is_no_copy() -> None:
    """Six tenths show another one."""
    assert seen(covered(CHINA, FLOWER, 0.6), CHINA) is not Seen.COPY


def test_a_step_aside_is_no_copy() -> None:
    """Near things moved against far ones."""
    aside = stepped_aside(pictures.real_photographs()[0], 2.0)
    assert seen(np.asarray(Image.fromarray(aside).convert("L")), CHINA) is not Seen.COPY


def test_two_pictures_in_one_template_are_no_copies() -> None:
    """All but the framed part agrees, and the framed part has to agree by itself."""
    made = np.asarray(Image.fromarray(pictures.photograph(3)).convert("L"))
    template = np.asarray(Image.fromarray(CHINA))
    first, second = covered(template, FLOWER, 0.2), covered(template, made, 0.2)
    assert seen(first, second) is not Seen.COPY
    assert seen(first, first) is Seen.COPY


# -- the extra ---------------------------------------------------------------------------------------------------------


def test_a_missing_extra_is_a_problem(tmp_path: Path) -> None:
    """Where the library is not there, `cbir status` says what to install, and nothing is taken."""
    hidden = (
        "import importlib.util as u; u.find_spec = lambda name, find=u.find_spec: None if name == 'cv2' else find(name)"
    )
    code = f"""{hidden}
from cbir_daemon.duplicates.features import FeatureFiller
filler = FeatureFiller(None, None, lambda: True, asked=True)
print(filler.enabled, filler.idle, filler.pending, [problem.do for problem in filler.problems()])"""
    command = [sys.executable, "-c", code]
    output = subprocess.run(command, check=True, capture_output=True, text=True, cwd=tmp_path).stdout  # noqa: S603 -- ours
    assert output == """False True 0 ["pip install 'cbir-daemon[local]', then restart"]\n"""


# -- taking them in the background ------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def pool() -> Iterator[DecodePool]:
    """Give a worker that reads files."""
    with closing(DecodePool(1, LIMITS, PICTURES)) as pool:
        yield pool


@pytest.fixture
def album(tmp_path: Path, pool: DecodePool) -> Iterator[Album]:
    """Give an album of the two photographs."""
    with closing(Album(tmp_path, pool, None)) as album:
        for number, picture in enumerate(pictures.real_photographs()):
            album.add(f"{number}.jpg", picture)
        yield album


def filler_of(album: Album, pool: DecodePool) -> FeatureFiller:
    """Return what takes the features of an album, with those that the store has."""
    filler = FeatureFiller(album.store, pool, lambda: True, asked=True)
    filler.open()
    return filler


def test_features_are_taken_once(album: Album, pool: DecodePool) -> None:
    """All are pending, then none; whoever comes later has them from the store."""
    filler = filler_of(album, pool)
    assert (filler.pending, filler.idle, len(filler.index)) == (2, False, 0)
    assert filler.step()
    assert not filler.step()
    assert (filler.pending, filler.idle, len(filler.index)) == (0, True, 2)
    later = filler_of(album, pool)
    assert (later.pending, later.idle, len(later.index)) == (0, True, 2)
    assert later.index.candidates(asked(CHINA), 1)[0].content_id == 1


def test_who_waits_for_features_is_woken_when_all_were_tried(album: Album, pool: DecodePool) -> None:
    """Also when no file could be read; a step that finds nothing to do wakes nobody, itself least of all."""
    for name in ("0.jpg", "1.jpg"):
        (album.root / name).unlink()
    filler = filler_of(album, pool)
    before = album.store.moment
    assert filler.step()
    assert filler.idle
    assert album.store.moment > before
    before = album.store.moment
    assert not filler.step()
    assert album.store.moment == before


def test_a_file_that_is_gone_is_not_waited_for(album: Album, pool: DecodePool) -> None:
    """It is passed over until a restart; the other content has its features."""
    (album.root / "0.jpg").unlink()
    filler = filler_of(album, pool)
    assert filler.step()
    assert (filler.pending, filler.idle, len(filler.index)) == (0, True, 1)
    assert filler_of(album, pool).pending == 1


def test_damaged_features_are_left_out(album: Album, pool: DecodePool) -> None:
    """A row that nothing wrote so harms neither the start nor a query."""
    filler_of(album, pool).step()
    album.store.descriptors.put(LOCAL, {1: b"damaged"})
    assert len(filler_of(album, pool).index) == 1


def test_features_of_an_earlier_version_are_taken_again(album: Album, pool: DecodePool) -> None:
    """They are not asked meanwhile."""
    album.store.descriptors.put(
        replace(LOCAL, version="0"), {1: stored(CHINA).to_bytes(), 2: stored(FLOWER).to_bytes()}
    )
    filler = filler_of(album, pool)
    assert (filler.pending, len(filler.index)) == (2, 0)
    filler.step()
    assert filler.pending == 0
