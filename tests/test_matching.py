"""Vectors in, candidates and verdicts out: every edit is found and named, and nothing else is."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageFilter

from cbir_daemon import matching
from cbir_daemon.collection import Collection, Snapshot
from cbir_daemon.records import Family, Outcome, Transform, Window
from tests.pictures import photograph

Vector = NDArray[np.uint8]
COUNT = 40


def vector_of(picture: Image.Image) -> Vector:
    """Return the 4096 grey numbers of a picture."""
    grey = picture.convert("L").resize((64, 64), Image.Resampling.LANCZOS)
    return np.asarray(grey, dtype=np.uint8).reshape(-1)


def picture_of(seed: int) -> Image.Image:
    """Return a photograph made from a seed."""
    return Image.fromarray(photograph(seed))


@pytest.fixture(scope="module")
def album() -> NDArray[np.uint8]:
    """Forty unrelated photographs as vectors."""
    return np.stack([vector_of(picture_of(seed)) for seed in range(COUNT)])


@pytest.fixture(scope="module")
def snapshot(album: NDArray[np.uint8]) -> Snapshot:
    """Return the forty as a frozen collection; ids start at 100."""
    collection = Collection()
    collection.add(range(100, 100 + COUNT), album)
    return collection.snapshot()


EDITS: dict[str, tuple[Callable[[Image.Image], Image.Image], Transform]] = {
    "unchanged": (lambda picture: picture, Transform()),
    "mirrored": (lambda picture: picture.transpose(Image.Transpose.FLIP_LEFT_RIGHT), Transform(flip=True)),
    "turned 90": (lambda picture: picture.transpose(Image.Transpose.ROTATE_90), Transform(turn=90)),
    "turned 180": (lambda picture: picture.transpose(Image.Transpose.ROTATE_180), Transform(turn=180)),
    "turned 270": (lambda picture: picture.transpose(Image.Transpose.ROTATE_270), Transform(turn=270)),
    "upside down": (
        lambda picture: picture.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        Transform(flip=True, turn=180),
    ),
    "transposed": (lambda picture: picture.transpose(Image.Transpose.TRANSPOSE), Transform(flip=True, turn=90)),
    "transversed": (lambda picture: picture.transpose(Image.Transpose.TRANSVERSE), Transform(flip=True, turn=270)),
    "inverted": (lambda picture: picture.point([255 - i for i in range(256)] * 3), Transform(invert=True)),
    "tilted 5": (lambda picture: picture.rotate(5, Image.Resampling.BICUBIC), Transform(angle=5.0)),
    "tilted -10": (lambda picture: picture.rotate(-10, Image.Resampling.BICUBIC), Transform(angle=-10.0)),
    "cropped": (
        lambda picture: picture.crop((30, 30, picture.width - 30, picture.height - 30)),
        Transform(),
    ),
}


@pytest.mark.parametrize("name", EDITS)
def test_edit_is_found_and_named(name: str, album: NDArray[np.uint8], snapshot: Snapshot) -> None:
    """The original of an edited picture comes first, is a copy, and the edit is reported."""
    edit, expected = EDITS[name]
    query = vector_of(edit(picture_of(7)))
    assert snapshot.candidates(query, 3)[0][0] == 107
    judgement = matching.judge(query, album[[7]])[0]
    assert judgement.is_copy
    found = judgement.transform
    assert (found.flip, found.turn, found.invert) == (expected.flip, expected.turn, expected.invert)
    assert found.angle == pytest.approx(expected.angle, abs=0.5)
    guess = judgement.explanation.guess
    assert (guess.flip, guess.turn, guess.invert) == (expected.flip, expected.turn, expected.invert)


CROPS = {
    "middle half": (0.25, 0.25, 0.75, 0.75),
    "left two thirds": (0.0, 0.0, 0.667, 1.0),
    "bottom half": (0.0, 0.5, 1.0, 1.0),
    "corner": (0.3, 0.3, 1.0, 1.0),
}


@pytest.mark.parametrize("name", CROPS)
def test_overlap_of_a_crop(name: str, album: NDArray[np.uint8], snapshot: Snapshot) -> None:
    """A crop shows nothing but its original, and of that as much as was cut out; the other way round likewise."""
    picture, (left, top, right, bottom) = picture_of(7), CROPS[name]
    sides = picture.width, picture.height
    corners = [round(share * side) for share, side in zip((left, top, right, bottom), sides * 2, strict=True)]
    crop = vector_of(picture.crop((corners[0], corners[1], corners[2], corners[3])))
    area = (right - left) * (bottom - top)
    assert 107 in dict(snapshot.candidates(crop, 5))
    of_crop, of_original = matching.judge(crop, album[[7]])[0], matching.judge(album[7], crop[None])[0]
    assert of_crop.is_copy
    assert of_crop.overlap.query == pytest.approx(1, abs=0.06)
    assert of_crop.overlap.match == pytest.approx(area, abs=0.05)
    assert of_original.is_copy
    assert of_original.overlap.query == pytest.approx(area, abs=0.05)
    assert of_original.overlap.match == pytest.approx(1, abs=0.06)


@pytest.mark.parametrize(("bars", "share"), [((0, 120), 0.571), ((200, 0), 0.545), ((40, 40), 0.686)])
def test_framed_picture_is_found_inside(bars: tuple[int, int], share: float, album: NDArray[np.uint8]) -> None:
    """Bars and borders are no part of the picture: all of the original is in the rest."""
    picture = picture_of(7)
    framed = Image.new("RGB", (picture.width + 2 * bars[0], picture.height + 2 * bars[1]), (0, 0, 0))
    framed.paste(picture, bars)
    judgement = matching.judge(vector_of(framed), album[[7]])[0]
    assert judgement.is_copy
    assert judgement.overlap.query == pytest.approx(share, abs=0.04)
    assert judgement.overlap.match == pytest.approx(1, abs=0.04)


def test_narrow_pictures_between_wide_bars() -> None:
    """A portrait between bars that leave it a quarter of the width is still aligned to the pixel."""
    for seed in range(6):
        portrait = picture_of(seed).resize((240, 480))
        framed = Image.new("RGB", (900, 480), (0, 0, 0))
        framed.paste(portrait, (330, 0))
        judgement = matching.judge(vector_of(framed), vector_of(portrait)[None])[0]
        assert judgement.is_copy
        assert judgement.overlap.query == pytest.approx(0.267, abs=0.02)


def test_edits_combine(album: NDArray[np.uint8]) -> None:
    """A mirrored, turned, tilted negative is called by all four names."""
    picture = picture_of(7).transpose(Image.Transpose.FLIP_LEFT_RIGHT).transpose(Image.Transpose.ROTATE_90)
    query = vector_of(picture.rotate(4, Image.Resampling.BICUBIC).point([255 - level for level in range(256)] * 3))
    judgement = matching.judge(query, album[[7]])[0]
    transform = judgement.transform
    assert judgement.is_copy
    assert (transform.flip, transform.turn, transform.invert) == (True, 90, True)
    assert transform.angle == pytest.approx(4, abs=0.5)


def test_threshold_decides(album: NDArray[np.uint8]) -> None:
    """A threshold of one's own replaces the default, in both directions."""
    query = vector_of(picture_of(7).rotate(3))
    score = matching.judge(query, album[[7]])[0].score
    assert not matching.judge(query, album[[7]], threshold=score + 0.001)[0].is_copy
    assert matching.judge(album[3], album[[7]], threshold=0.0)[0].is_copy


def test_judgements_come_in_order_and_do_not_depend_on_company(album: NDArray[np.uint8]) -> None:
    """Each stored vector is judged for itself; none gives no judgement."""
    together = matching.judge(album[7], album[[3, 7, 12]])
    alone = [matching.judge(album[7], album[[row]])[0] for row in (3, 7, 12)]
    for one, other in zip(together, alone, strict=True):
        assert (one.is_copy, one.transform) == (other.is_copy, other.transform)
        assert one.score == pytest.approx(other.score, abs=2e-3)
    assert matching.judge(album[7], album[:0]) == []


def test_explanation_gives_the_score(album: NDArray[np.uint8]) -> None:
    """The correlation, the cost and the evidence of an explanation make the score, and it says which rule decided."""
    crop = vector_of(picture_of(7).crop((0, 0, 340, 226)).point([255 - level for level in range(256)] * 3))
    copy, other = matching.judge(crop, album[[7, 3]])
    told = copy.explanation
    assert told.outcome is Outcome.COPY
    assert told.evidence_px is not None
    assert told.cost == pytest.approx(1.5 * told.area_ratio * (1 + 500 / told.evidence_px))
    assert told.area_ratio == pytest.approx(480 * 320 / (340 * 226), abs=0.1)
    assert (told.scale_x, told.scale_y) == pytest.approx((340 / 480, 226 / 320), abs=0.02)
    enough = min(1, told.evidence_px / told.evidence_needed_px)
    assert copy.score == pytest.approx((1 - (1 - told.correlation) * told.cost) * enough, abs=1e-3)
    assert other.explanation.outcome in {Outcome.GIVEN_UP, Outcome.BELOW}
    assert (other.explanation.evidence_px is None) == (other.explanation.outcome is Outcome.GIVEN_UP)
    below = matching.judge(crop, album[[7]], threshold=1.0)[0].explanation
    assert (below.outcome, below.threshold) == (Outcome.BELOW, 1.0)
    assert matching.judge(PLAIN["white"], album[[7]])[0].explanation.outcome is Outcome.PLAIN


def test_guess_is_told_by_family_and_windows(album: NDArray[np.uint8]) -> None:
    """Where a crop came from and where a framed picture stands is in the first guess."""
    picture = picture_of(7)
    crop = picture.crop((0, 0, round(0.75 * picture.width), picture.height))
    guess = matching.judge(vector_of(crop), album[[7]])[0].explanation.guess
    assert (guess.family, guess.query_window) == (Family.CROP, Window())
    assert guess.stored_window == Window(0.0, 0.0, 0.75, 1.0)
    framed = Image.new("RGB", (picture.width, picture.height + 240), (0, 0, 0))
    framed.paste(picture, (0, 120))
    guess = matching.judge(vector_of(framed), album[[7]])[0].explanation.guess
    assert guess.family in {Family.CONTENT, Family.BARS, Family.PART}
    assert guess.query_window.top == pytest.approx(0.21, abs=0.08)


PLAIN = {
    "white": np.full(4096, 255, np.uint8),
    "black": np.zeros(4096, np.uint8),
    "faint noise": np.random.default_rng(0).integers(250, 253, 4096, dtype=np.uint8),
}


@pytest.mark.parametrize("name", PLAIN)
def test_plain_vectors_match_nothing(name: str, album: NDArray[np.uint8]) -> None:
    """A plain vector is called so and is no copy of anything, not even of itself."""
    plain = PLAIN[name]
    assert matching.is_plain(plain)
    others = np.concatenate([plain[None], *(other[None] for other in PLAIN.values()), album[:3]])
    assert not any(judgement.is_copy for judgement in matching.judge(plain, others))
    assert not any(judgement.is_copy for judgement in matching.judge(album[0], others[:4]))
    assert not any(matching.is_plain(vector) for vector in album)


@pytest.mark.parametrize("name", ["gradient", "hair on a page", "box"])
def test_too_little_structure_is_no_proof(name: str) -> None:
    """A gradient, a stroke or a single box is nobody's copy under another position or tone."""
    page, other = np.full((64, 64), 240, np.uint8), np.full((64, 64), 240, np.uint8)
    if name == "gradient":
        page[:], other[:] = np.linspace(0, 255, 64), np.linspace(40, 200, 64)[:, None]
    elif name == "hair on a page":
        page[20:22, 30:50], other[40:42, 10:30] = 150, 100
    else:
        page[20:40, 20:44], other[10:50, 14:40] = 40, 60
    assert not matching.judge(page.reshape(-1), other.reshape(1, -1))[0].is_copy


def test_codes_know_neither_brightness_nor_contrast(album: NDArray[np.uint8]) -> None:
    """Codes are unit vectors without a mean, the same for a darker and flatter copy, zero for a flat vector."""
    codes = matching.codes(album)
    assert codes.shape == (COUNT, matching.CODE_SIZE)
    assert codes.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(codes, axis=1), 1, atol=1e-5)
    np.testing.assert_allclose(codes.mean(axis=1), 0, atol=1e-6)
    np.testing.assert_allclose(matching.codes((album // 2 + 20).astype(np.uint8)), codes, atol=0.01)
    assert not matching.codes(PLAIN["white"][None]).any()


def test_likeness_ranks(album: NDArray[np.uint8]) -> None:
    """A vector is wholly like itself, not at all like its negative, and halfway like a flat one."""
    stored = np.stack([album[0], 255 - album[0], PLAIN["white"]])
    np.testing.assert_allclose(matching.likeness(album[0], stored), [1, 0, 0.5], atol=1e-5)


def test_structure_grows_with_detail() -> None:
    """A flat vector has no structure, a photograph more than its blur."""
    picture = picture_of(3)
    vectors = np.stack([PLAIN["white"], vector_of(picture.filter(ImageFilter.GaussianBlur(12))), vector_of(picture)])
    flat, blurred, sharp = matching.structure(vectors)
    assert flat == pytest.approx(0, abs=1e-3)
    assert flat < blurred < sharp


def test_no_copy_among_unrelated(album: NDArray[np.uint8]) -> None:
    """No photograph is a copy of another."""
    for row, query in enumerate(album):
        others = np.delete(album, row, axis=0)[row % 3 :: 3]
        assert not any(judgement.is_copy for judgement in matching.judge(query, others))
